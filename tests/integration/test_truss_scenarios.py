"""What users of Truss rely on about concurrency, restated; directly and through the proxy.

Promised: at most predict_concurrency requests are in predict, on every route; who waits too long does not
run; a generator holds its permit until it has ended, and no longer, whoever reads; postprocess holds none; a
stream that fails gives its permit back; a slow load or predict does not keep liveness from answering; SIGTERM
lets finish what was admitted; slow preprocessing does not delay who is ready.

Shown: models that note what they do and hold until the test lets them go on.
"""

import json
import os
import signal
from contextlib import ExitStack

import pytest

from support.truss import Served, truss
from support.waiting import equals

every_way = pytest.mark.parametrize("way", Served.WAYS)

STAGES = """
    import stage

    class Model:
        def preprocess(self, inputs):
            stage.note("preprocess", inputs["id"])
            if inputs.get("hold") == "preprocess":
                stage.hold("preprocess")
            return inputs

        def predict(self, inputs):
            stage.note("predict", inputs["id"])
            if inputs.get("hold") == "predict":
                stage.hold("predict")
            stage.note("predicted", inputs["id"])
            return inputs

        def postprocess(self, inputs):
            stage.note("postprocess", inputs["id"])
            if inputs.get("hold") == "postprocess":
                stage.hold("postprocess")
            return {"id": inputs["id"]}
"""

STREAM = """
    import stage

    class Model:
        def predict(self, inputs):
            stage.note("predict", inputs["id"])
            for number in range(5):
                if number == inputs.get("fail_at"):
                    stage.hold("failure")
                    raise RuntimeError("in the middle")
                if number == 1 and "hold" in inputs:
                    stage.hold("stream")
                yield f"{number}"
            stage.note("generated", inputs["id"])
"""


def body(**fields):
    return json.dumps(fields).encode()


def together(notes, begin, end):
    """The most that were between begin and end at a time."""
    now = most = 0
    for word, *_ in notes:
        now += (word == begin) - (word == end)
        most = max(most, now)
    return most


@every_way
def test_limit_two_two_succeed_and_the_third_whose_time_is_up_does_not_run(tmp_path, way):
    served = Served(truss(tmp_path, STAGES, runtime={"predict_concurrency": 2}), way)
    with served.call(body(id="a", hold="predict")) as a, served.call(body(id="b", hold="predict")) as b:
        served.wait_gate(0, 2)
        late = served.fetch(body(id="late"), headers=[("x-request-timeout-ms", "200")])
        assert late.status == 504
        with served.call(body(id="gone")) as gone:
            served.wait_gate(1, 2)
            gone.leave()
            served.wait_gate(0, 2)
        served.stage.release("predict")
        assert a.response().json() == {"id": "a"} and b.response().json() == {"id": "b"}
    served.wait_idle()
    assert {note[1] for note in served.stage.notes("predict")} == {"a", "b"}


@every_way
def test_limit_two_a_stream_holds_its_permit_until_it_is_generated_though_nobody_reads(tmp_path, way):
    served = Served(truss(tmp_path, STREAM, runtime={"predict_concurrency": 2}), way)
    with served.call(body(id=1, hold=1)) as one, served.call(body(id=2, hold=1)) as two:
        served.wait_gate(0, 2)
        for number in (1, 2):
            served.stage.wait("predict", number)
        with served.call(body(id=3)) as three:
            served.wait_gate(1, 2)
            assert not [note for note in served.stage.notes("predict") if note[1] == "3"]
            served.stage.release("stream")
            assert three.response().body == b"01234"
        assert served.fetch(body(id=4)).body == b"01234", "while the first two are still unread"
        assert one.response().body == two.response().body == b"01234"
    served.wait_idle()
    assert together(served.stage.notes(), "predict", "generated") == 2


GENERATOR = STAGES.replace('return {"id": inputs["id"]}', 'yield str(inputs["id"])')


@every_way
@pytest.mark.parametrize("source", [STAGES, GENERATOR], ids=["plain", "generator"])
def test_limit_one_postprocess_holds_no_permit(tmp_path, way, source):
    served = Served(truss(tmp_path, source), way)
    with served.call(body(id=1, hold="postprocess")) as one:
        served.stage.wait("postprocess", 1)
        with served.call(body(id=2, hold="postprocess")) as two:
            served.stage.wait("postprocess", 2)
            served.wait_gate(0, 0)
            served.stage.release("postprocess")
            assert one.response().status == two.response().status == 200
    served.wait_idle()


@every_way
def test_a_stream_that_fails_frees_its_permit_and_the_next_gets_all(tmp_path, way):
    served = Served(truss(tmp_path, STREAM), way)
    with served.call(body(id=1, fail_at=3)) as failing:
        assert failing.data(3) == b"012"
        with served.call(body(id=2)) as following:
            served.wait_gate(1, 1)
            served.stage.release("failure")
            failing.cut_off()
            assert following.response().body == b"01234"
    served.wait_idle()


LOADS = """
    import stage

    class Model:
        def load(self):
            stage.note("load")
            stage.hold("load")

        def predict(self, inputs):
            stage.note("predict")
            stage.hold("predict")
            return "done"
"""


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_liveness_answers_all_through_a_load_and_a_predict(tmp_path, protocol):
    served = Served(truss(tmp_path, LOADS), f"direct-{protocol}", ready=False)
    served.stage.wait("load")
    for path in ("/", "/health/live"):
        assert served.get(path).status == 200
    for path in ("/v1/models/t", "/v1/models/t/loaded", "/ping", "/health/ready"):
        assert served.get(path).status == 503, path
    early = served.fetch()
    assert early.status == 503
    assert early.json() == {"error": "Model with name model is not ready."}
    assert early.header("x-baseten-error-code") == "600"
    served.stage.release("load")
    equals(lambda: served.get("/v1/models/t").status, 200)
    with served.call() as running:
        served.stage.wait("predict")
        for path in ("/", "/v1/models/t", "/v1/models/t/loaded", "/ping", "/health/ready"):
            assert served.get(path).status == 200, path
        served.stage.release("predict")
        assert running.response().json() == "done"


@every_way
def test_sigterm_lets_what_runs_and_what_waits_complete(tmp_path, way):
    served = Served(truss(tmp_path, STAGES), way)
    with served.call(body(id=1, hold="predict")) as one, served.call(body(id=2, hold="predict")) as two:
        served.wait_gate(1, 1)
        served.sidecar.signal(signal.SIGTERM)
        served.sidecar.wait_log("draining")
        served.stage.release("predict")
        assert {one.response().json()["id"], two.response().json()["id"]} == {1, 2}
    assert served.sidecar.wait() == 0


@every_way
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_what_is_meant_for_the_service_reaches_the_worker_too_and_costs_nothing(tmp_path, way, number):
    """systemd's KillMode=control-group and `tini -g` signal the sidecar and its worker at once."""
    served = Served(truss(tmp_path, STAGES), way)
    worker = served.worker()
    with served.call(body(id=1, hold="predict")) as one, served.call(body(id=2, hold="predict")) as two:
        served.wait_gate(1, 1)
        os.kill(worker, number)
        if number == signal.SIGTERM:
            served.sidecar.signal(number)
            served.sidecar.wait_log("draining")
        served.stage.release("predict")
        assert {one.response().json()["id"], two.response().json()["id"]} == {1, 2}
    if number != signal.SIGTERM:
        assert served.worker() == worker
        served.sidecar.signal(signal.SIGTERM)
    assert served.sidecar.wait() == 0
    assert not served.sidecar.logged("the model's worker ended", level="error")


OPENAI = """
    import stage

    class Model:
        def _run(self, inputs):
            stage.note("begin")
            stage.hold("all")
            stage.note("end")
            return {"ran": inputs["id"]}

        predict = chat_completions = _run

        async def completions(self, inputs):
            stage.note("begin")
            await stage.hold_async("all")
            stage.note("end")
            return {"ran": inputs["id"]}

        embeddings = messages = responses = completions
"""
ROUTES = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/responses",
          "/invocations", "/v1/models/t:predict"]


@every_way
def test_every_inference_route_obeys_the_limit(tmp_path, way):
    served = Served(truss(tmp_path, OPENAI, runtime={"predict_concurrency": 2}), way)
    calls = [served.call(body(id=path), path) for path in ROUTES]
    served.wait_gate(len(ROUTES) - 2, 2)
    served.stage.wait("begin", count=2)
    served.stage.release("all")
    assert [call.response().json() for call in calls] == [{"ran": path} for path in ROUTES]
    for call in calls:
        call.client.close()
    served.wait_idle()
    assert together(served.stage.notes(), "begin", "end") == 2


@pytest.mark.parametrize("way", ["direct-h2", "proxy-h2"])
def test_a_hundred_slow_preprocesses_do_not_delay_who_is_ready(tmp_path, way):
    served = Served(truss(tmp_path, STAGES), way)
    with ExitStack() as calls:
        first = calls.enter_context(served.call(body(id="first", hold="predict")))
        served.wait_gate(0, 1)
        second = calls.enter_context(served.call(body(id="second")))
        served.wait_gate(1, 1)
        slow = [served.call(body(id=number, hold="preprocess")) for number in range(100)]
        equals(lambda: served.sidecar.metric("penstock_in_flight"), 102)
        equals(lambda: len(served.stage.notes("preprocess")), 34, "32 threads preprocess")
        served.stage.release("predict")
        assert first.response().status == second.response().status == 200
        assert len(served.stage.notes("postprocess")) == 2, "none of the slow ones has gone on"
        served.stage.release("preprocess")
        for call in slow:
            assert call.response(60).status == 200
            call.client.close()
    served.wait_idle()
    assert together(served.stage.notes(), "predict", "predicted") == 1
