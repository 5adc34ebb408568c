"""The predict gate, through a real sidecar: order, deadline, cancel, and who holds a permit.

Promised: at most predict_concurrency requests are in predict; they enter in the order in which their
preprocessing ended; a waiter whose deadline passes, or whose client goes, leaves at once and never runs
predict; preprocess and postprocess hold no permit, and a flood of slow preprocessing does not delay a
request that is in predict or past it.

Shown: examples/stages, whose answers carry the replica's own timestamps, and the sidecar's metrics.
"""

import pytest

from support.h2_client import H2Client
from support.models import EXAMPLES, remove, stages_body, stages_model, times
from support.programs import Sidecar
from support.waiting import SLOWNESS, equals

UNIT_MS = int(100 * max(1, SLOWNESS))


def predict(client, headers=(), **fields):
    return client.request(path="/predict", headers=headers, body=stages_body(**fields))


@pytest.fixture
def sidecar():
    return Sidecar(EXAMPLES / "stages")


def test_predict_runs_in_the_order_in_which_preprocessing_ended(sidecar):
    with H2Client(sidecar.address) as client:
        blocker = predict(client, predict_ms=20 * UNIT_MS)
        equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
        spans = {"late": 5, "early": 1, "middle": 3}
        streams = {name: predict(client, preprocess_ms=span * UNIT_MS, predict_ms=10, echo=name)
                   for name, span in spans.items()}
        equals(lambda: sidecar.metric("penstock_gate_waiting"), 3, timeout=20)
        answers = {name: stream.response() for name, stream in streams.items()}
        blocked_until = times(blocker.response(), "predict")[1]
    order = sorted(answers, key=lambda name: times(answers[name], "predict")[0])
    assert order == ["early", "middle", "late"]
    ends = [times(answers[name], "predict") for name in order]
    assert blocked_until <= ends[0][0]
    assert all(before[1] <= after[0] for before, after in zip(ends, ends[1:]))
    assert all(answer.json()["predict_in_flight"] == 1 for answer in answers.values())


@pytest.mark.parametrize("lanes", [2, 3])
def test_as_many_as_the_predict_concurrency_are_in_predict(lanes, tmp_path):
    model = stages_model(lanes, tmp_path)
    sidecar = Sidecar(model)
    with H2Client(sidecar.address) as client:
        streams = [predict(client, predict_ms=2 * UNIT_MS) for _ in range(2 * lanes + 1)]
        equals(lambda: sidecar.metric("penstock_gate_in_predict"), lanes)
        answers = [stream.response() for stream in streams]
    remove(model)
    spans = [times(answer, "predict") for answer in answers]
    together = max(sum(start <= at < end for start, end in spans) for at, _ in spans)
    assert together == lanes
    assert max(answer.json()["predict_in_flight"] for answer in answers) == lanes


def test_a_waiter_whose_deadline_passes_leaves_without_predict(sidecar):
    with H2Client(sidecar.address) as client:
        blocker = predict(client, predict_ms=20 * UNIT_MS)
        equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
        hurried = predict(client, [("x-request-timeout-ms", str(2 * UNIT_MS))])
        answer = hurried.response()
        assert (answer.status, answer.reason) == (504, "deadline_exceeded")
        assert not blocker.ended, "it was answered while the blocker still ran"
        assert sidecar.metric("penstock_gate_waiting") == 0
        assert blocker.response().status == 200
        assert predict(client).response().status == 200
    equals(lambda: sidecar.metric("penstock_in_flight"), 0)


@pytest.mark.parametrize("how", ["reset", "connection"])
def test_a_waiter_whose_client_goes_leaves_at_once(sidecar, how):
    with H2Client(sidecar.address) as client:
        blocker = predict(client, predict_ms=20 * UNIT_MS)
        equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
        other = H2Client(sidecar.address)
        leaver = predict(other, predict_ms=40 * UNIT_MS)
        stayer = predict(client)
        equals(lambda: sidecar.metric("penstock_gate_waiting"), 2)
        if how == "reset":
            leaver.reset()
        other.close(abrupt=True) if how == "connection" else None
        equals(lambda: sidecar.metric("penstock_gate_waiting"), 1)
        equals(lambda: sidecar.metric("penstock_in_flight"), 2)
        assert not blocker.ended
        ended = times(blocker.response(), "predict")[1]
        # Long before the leaver would have been through.
        assert times(stayer.response(), "predict")[0] - ended < 10 * UNIT_MS / 1000
        other.close()


def test_preprocess_and_postprocess_hold_no_permit(sidecar):
    with H2Client(sidecar.address) as client:
        before = [predict(client, preprocess_ms=5 * UNIT_MS) for _ in range(4)]
        equals(lambda: sidecar.metric("penstock_in_flight"), 4)
        assert sidecar.metric("penstock_gate_in_predict") == 0
        quick = predict(client).response()
        assert not any(stream.ended for stream in before)
        after = predict(client, postprocess_ms=5 * UNIT_MS)
        equals(lambda: sidecar.metric("penstock_in_flight"), 5)
        assert predict(client).response().status == quick.status == 200
        assert not after.ended, "the other passed predict during its postprocess"
        for stream in before + [after]:
            assert stream.response().status == 200


def test_a_flood_of_slow_preprocessing_does_not_delay_who_is_in_predict(sidecar):
    with H2Client(sidecar.address) as client, H2Client(sidecar.address) as flood:
        one = predict(client, predict_ms=4 * UNIT_MS, postprocess_ms=10)
        two = predict(client, predict_ms=UNIT_MS, postprocess_ms=10)
        equals(lambda: sidecar.metric("penstock_gate_waiting"), 1)
        streams = [predict(flood, preprocess_ms=3 * UNIT_MS) for _ in range(100)]
        first, second = one.response(), two.response()
        for answer in (first, second):
            assert times(answer, "postprocess")[0] - times(answer, "predict")[1] < 2 * UNIT_MS / 1000
        assert times(second, "predict")[0] - times(first, "predict")[1] < 2 * UNIT_MS / 1000
        for stream in streams:
            assert stream.response(60).status == 200


def test_the_gate_measures_itself(sidecar):
    with H2Client(sidecar.address) as client:
        streams = [predict(client, predict_ms=UNIT_MS // 2) for _ in range(6)]
        for stream in streams:
            assert stream.response().status == 200
    busy = 6 * (UNIT_MS // 2) / 1000
    # The last to be counted, perhaps a little after its answer.
    for stage in ("preprocess", "predict", "postprocess"):
        equals(lambda: sidecar.metric("penstock_stage_seconds_count", stage=stage), 6)  # noqa: B023
    assert busy <= sidecar.metric("penstock_gate_busy_seconds_total") < 3 * busy
    assert 0 < sidecar.metric("penstock_gate_busy_share") <= 1
    assert sidecar.metric("penstock_gate_gap_seconds_count") >= 5
    assert sidecar.metric("penstock_stage_seconds_sum", stage="predict") >= busy
