"""The two worked examples of the product, literally.

Promised: (1) one replica with concurrency target 2 is sent five requests: two reach the container at
once, three wait, and each completion lets exactly one in. (2) With predict concurrency 1 both of two
requests preprocess at once, predict one after the other; the second predict starts when the first ends
and is not delayed by the first's postprocess.

Shown: through a real proxy and a real sidecar with examples/stages. What is asserted about order and
overlap comes from the timestamps that the replica itself took (CLOCK_MONOTONIC).
"""

import pytest

from support.configs import proxy_config
from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body, times
from support.programs import Proxy, Sidecar
from support.waiting import SLOWNESS, equals

# Spans that the replica is asked to take; margins are a share of them.
UNIT_MS = int(500 * max(1, SLOWNESS))
UNIT = UNIT_MS / 1000


@pytest.fixture
def served():
    sidecar = Sidecar(EXAMPLES / "stages")
    return Proxy(proxy_config([sidecar], target=2)), sidecar


def send_in_order(proxy, client, bodies):
    """Sends each when the one before it has been admitted or queued: their order is then certain."""
    streams = []
    for index, body in enumerate(bodies):
        streams.append(client.request(path="/predict", body=body))
        running = min(index + 1, 2)
        proxy.wait_queue(waiting=index + 1 - running, in_flight=running)
    return streams


def test_two_of_five_reach_the_container_at_once_and_each_completion_lets_one_in(served):
    proxy, sidecar = served
    # Preprocess is where requests of one container overlap; unequal spans keep completions apart.
    # Timeline in units: 1: 0-4, 2: 0-6, 3: 4-10, 4: 6-12, 5: 10-12 (+ their sending).
    spans = [4, 6, 6, 6, 2]
    bodies = [stages_body(preprocess_ms=span * UNIT_MS) for span in spans]
    with H2Client(proxy.address) as client:
        streams = send_in_order(proxy, client, bodies)
        # The proxy has sent both; the second may be on its way.
        equals(lambda: sidecar.metric("penstock_in_flight"), 2)
        answers = [stream.response(60) for stream in streams]
    assert [answer.status for answer in answers] == [200] * 5
    assert all(answer.json()["replica_in_flight"] <= 2 for answer in answers)
    entered = [times(answer, "preprocess")[0] for answer in answers]
    left = [times(answer, "postprocess")[1] for answer in answers]
    # Of the first two, which ran at once, either may have taken its time first.
    order = [max(entered[:2]), *entered[2:]]
    assert order == sorted(order), "they entered in the order in which they came"
    assert max(entered[:2]) < min(left[:2]), "the first two were in the container together"
    # Never more than two: the n-th enters only after n - 2 have left ...
    departures = sorted(left)
    for index in (2, 3, 4):
        assert entered[index] >= departures[index - 2]
    # ... and each departure lets one in at once, long before the next departure.
    for index in (2, 3, 4):
        assert entered[index] - departures[index - 2] < UNIT
    proxy.wait_empty()
    assert proxy.metric("penstock_cluster_limit_exceeded_total", cluster="m") == 0


def test_the_second_predict_starts_when_the_first_ends_and_not_after_its_postprocess(served):
    proxy, _ = served
    first = stages_body(preprocess_ms=2 * UNIT_MS, predict_ms=4 * UNIT_MS,
                        postprocess_ms=8 * UNIT_MS)
    second = stages_body(preprocess_ms=4 * UNIT_MS, predict_ms=2 * UNIT_MS)
    with H2Client(proxy.address) as client:
        streams = [client.request(path="/predict", body=body) for body in (first, second)]
        one, two = (stream.response(60) for stream in streams)
    assert one.status == two.status == 200
    # Both preprocess at once.
    assert times(one, "preprocess")[0] < times(two, "preprocess")[1]
    assert times(two, "preprocess")[0] < times(one, "preprocess")[1]
    # The second was ready while the first was in predict; it waited, and not longer than that.
    assert times(two, "preprocess")[1] < times(one, "predict")[1], "the scene as it was meant"
    assert one.json()["predict_in_flight"] == two.json()["predict_in_flight"] == 1
    gap = times(two, "predict")[0] - times(one, "predict")[1]
    assert 0 <= gap < UNIT / 2
    # The first's postprocess ran beside it.
    assert times(one, "postprocess")[0] < times(two, "predict")[1]
    assert times(two, "predict")[1] < times(one, "postprocess")[1]
