"""A Python model that fails, and a worker that dies.

Promised: an exception, and sys.exit, in any stage is that request's own 500; a worker that ends, whatever
ended it, costs only what it ran: the rest waits for the next worker; what is
written on the protocol's descriptor ends the worker; a worker that hangs long after a deadline is ended, and
its permit is taken until it is dead. Nothing is left behind: no zombie, descriptor or memory file.

Shown: models that do just that, on request; /proc of the sidecar and its worker.
"""

import json
import os
import signal
from collections import Counter

import pytest

from support.families import children
from support.truss import Served, body_files, descriptors, executable, truss
from support.waiting import equals

CONSTANT = {"error": "Internal Server Error (in model/chainlet)."}

MODEL = """
    import ctypes
    import os
    import sys
    import time
    import stage

    def act(what):
        if what in ("os._exit", "segfault", "kill", "garbage"):
            stage.hold("death")
        if what == "raise":
            raise RuntimeError("on request")
        if what == "sys.exit":
            sys.exit(3)
        if what == "os._exit":
            os._exit(3)
        if what == "segfault":
            ctypes.string_at(0)
        if what == "kill":
            os.kill(os.getpid(), 9)
        if what == "garbage":
            os.write(3, b"\\xff" * 64)
            time.sleep(60)
        if what == "hold":
            stage.hold("end")
        if what == "hang":
            while True:
                time.sleep(0.01)

    class Model:
        def preprocess(self, inputs):
            act(inputs.get("preprocess"))
            return inputs

        def predict(self, inputs):
            stage.note("predict", inputs.get("id"))
            act(inputs.get("predict"))
            return inputs

        def postprocess(self, inputs):
            act(inputs.get("postprocess"))
            return {"id": inputs.get("id")}

        async def completions(self, inputs):
            act(inputs.get("predict"))
            return {"id": inputs.get("id")}
"""


# Counts its runs in a file that is mapped: no other thread gets to run between that and the end.
DIES_AT_ONCE = """
    import mmap
    import os
    import signal
    import time

    class Model:
        def __init__(self):
            with open(os.path.join(os.environ["STAGE_FOLDER"], "runs"), "r+b") as file:
                self.runs = mmap.mmap(file.fileno(), 0)

        def predict(self, inputs):
            self.runs[inputs["id"]] += 1
            if inputs["dies"]:
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(0.005)
            return inputs["id"]
"""


def body(**fields):
    return json.dumps(fields).encode()


@pytest.fixture(params=["direct-h1", "direct-h2"])
def served(request, tmp_path):
    started = Served(truss(tmp_path, MODEL, penstock={"hang_timeout": "300ms"}), request.param)
    yield started
    started.stage.release("end")
    started.wait_idle()


@pytest.mark.parametrize("what", ["raise", "sys.exit"])
def test_an_exception_in_a_stage_is_that_requests_own(served, what):
    worker = served.worker()
    for stage in ("preprocess", "predict", "postprocess"):
        failed = served.fetch(body(**{stage: what}))
        assert (failed.status, failed.json()) == (500, CONSTANT), stage
    failed = served.fetch(body(predict=what), "/v1/completions")
    assert (failed.status, failed.json()["error"]["message"]) == (500, CONSTANT["error"])
    assert served.fetch(body(id=1)).json() == {"id": 1}
    assert served.worker() == worker
    sentence = {"raise": "RuntimeError: on request", "sys.exit": "SystemExit: 3"}[what]
    equals(lambda: len(served.sidecar.logged(f"predict raised {sentence}")), 1)


CONTENT = """
    import stage
    from starlette.exceptions import HTTPException
    from starlette.responses import Response, StreamingResponse

    class Model:
        def predict(self, inputs):
            kind = inputs.get("kind")
            if kind == "hold":
                stage.note("holds")
                stage.hold("end")
            if kind == "voice":
                raise ValueError("unknown voice: " + inputs["voice"])
            if kind == "long":
                raise ValueError(chr(0x1F600) * 1_000_000)
            if kind == "response":
                return Response(b"x", status_code=inputs["status"])
            if kind == "stream":
                return StreamingResponse(iter([b"x"]), status_code=inputs["status"])
            if kind == "exception":
                raise HTTPException(inputs["status"], "d")
            if kind == "fields":
                return Response(b"x", headers={"x-a": "v" * 2_000_000})
            if kind == "name":
                return Response(b"x", headers={"x-name": chr(0xE9)})
            return "ran"
"""


@pytest.mark.parametrize("way", ["direct-h1", "direct-h2", "proxy-h2"])
def test_content_costs_its_own_request_and_no_other(tmp_path, way):
    served = Served(truss(tmp_path, CONTENT, runtime={"predict_concurrency": 2}), way)
    worker = served.worker()
    with served.call(body(kind="hold")) as other:
        served.stage.wait("holds")
        bodies = [b'{"kind": "voice", "voice": "\\ud800"}', body(kind="long"), body(kind="fields")]
        bodies += [body(kind=kind, status=status) for kind in ("response", "stream", "exception")
                   for status in (0, 101, 199, 600, 999, 70_000, -5)]
        for content in bodies:
            failed = served.fetch(content)
            assert (failed.status, failed.json()) == (500, CONSTANT), content
        errors = lambda: sum(event.get("level") == "error" for event in served.sidecar.events)  # noqa: E731
        equals(errors, len(bodies), "a line for each")
        served.stage.release("end")
        assert other.response().json() == "ran"
    assert served.worker() == worker
    assert served.sidecar.metric("penstock_worker_restarts_total") == 0
    served.sidecar.wait_log("predict raised ValueError: unknown voice: \\ud800")
    named = served.fetch(body(kind="name")).header("x-name")
    assert named in ("\u00e9", b"\xe9"), "the byte that Starlette writes"


@pytest.mark.parametrize("what", ["os._exit", "segfault", "kill", "garbage"])
def test_a_worker_that_ends_costs_only_what_it_ran(served, what):
    worker = served.worker()
    with served.call(body(id="runs", predict="hold")) as running:
        served.stage.wait("predict", "runs")
        with served.call(body(id="dies", predict=what)) as dying:
            served.wait_gate(1, 1)
            served.stage.release("end")
            assert running.response().json() == {"id": "runs"}
            served.stage.release("death")
            died = dying.response()
    assert died.status in (500, 502), died
    assert died.header("x-baseten-error-source") == "04"
    equals(lambda: served.get("/health/ready").status, 200)
    assert served.fetch(body(id="next")).json() == {"id": "next"}
    assert served.worker() != worker
    assert served.sidecar.metric("penstock_worker_restarts_total") == 1
    assert [note for note in served.stage.notes("predict") if note[1] == "dies"] == [["predict", "dies"]]
    if what == "garbage":
        served.sidecar.wait_log("the model's worker broke the protocol and is killed")


def test_who_only_waits_when_the_worker_is_killed_is_run_by_the_next(served):
    """Of the one with a preprocess the model has run something already: nobody knows what."""
    with served.call(body(id="runs", predict="hold")) as running:
        served.stage.wait("predict", "runs")
        prepared = served.call(body(id="prepared"))
        served.wait_gate(1, 1)
        waiting = [served.call(body(id=number), "/v1/completions") for number in range(3)]
        served.wait_gate(4, 1)
        os.kill(served.worker(), signal.SIGKILL)
        assert running.response().status == prepared.response().status == 502
        for number, call in enumerate(waiting):
            assert call.response().json() == {"id": number}
            call.client.close()
    prepared.client.close()
    assert served.stage.notes("predict") == [["predict", "runs"]]


QUICK = """
    import os
    import stage

    class Model:
        def predict(self, inputs):
            if inputs["id"] == "dies":
                stage.note("dies")
                os._exit(3)
            return inputs["id"]
"""


@pytest.mark.parametrize("way", ["direct-h1", "direct-h2"])
def test_what_a_worker_dies_of_is_not_run_again_however_short_predict_is(tmp_path, way):
    served = Served(truss(tmp_path, QUICK), way)
    for number in range(50):
        assert served.fetch(body(id=number)).json() == number
    assert served.fetch(body(id="dies")).status == 502
    equals(lambda: served.get("/health/ready").status, 200)
    assert served.stage.notes() == [["dies"]]
    assert served.sidecar.metric("penstock_worker_restarts_total") == 1


LOADS_AGAIN_WHEN_TOLD = """
    import stage

    class Model:
        def load(self):
            stage.note("load")
            with open(stage.FOLDER + "/notes") as notes:
                again = len(notes.readlines()) > 1
            if again:
                stage.hold("load")

        def predict(self, inputs):
            return inputs
"""


@pytest.mark.parametrize("way", ["direct-h1", "direct-h2"])
def test_while_there_is_no_worker_it_is_unready_and_who_comes_waits_for_the_next(tmp_path, way):
    served = Served(truss(tmp_path, LOADS_AGAIN_WHEN_TOLD), way)
    os.kill(served.worker(), signal.SIGKILL)
    served.sidecar.wait_log("the model's worker ended")
    with served.call(body(id="early")) as early:
        assert served.get("/v1/models/t").status == 503
        assert served.get("/health/ready").status == 503
        assert served.get("/").status == 200
        served.stage.release("load")
        assert early.response().json() == {"id": "early"}
    equals(lambda: served.get("/v1/models/t").status, 200)


def test_a_hang_beyond_the_deadline_ends_the_worker_and_holds_the_permit_until_it_is_dead(served):
    worker = served.worker()
    with served.call(body(id="hangs", predict="hang"), headers=[("x-request-timeout-ms", "1500")]) as call:
        served.stage.wait("predict", "hangs")
        with served.call(body(id="next"), "/v1/completions") as following:
            served.wait_gate(1, 1)
            served.sidecar.wait_log("a request runs long after its deadline: its worker is ended", pid=worker)
            assert call.response().status == 504
            answer = following.response()
    assert executable(worker) is None, "the next one ran in another process, after this one's end"
    assert answer.json() == {"id": "next"}


def test_deaths_leave_nothing_behind(served):
    def run_once():
        for size in (10, 200_000):
            assert served.fetch(body(id="x" * size)).status == 200
        lost = served.call(body(id="y" * 200_000, predict="hold"))
        served.stage.wait("predict", "y" * 200_000)
        os.kill(served.worker(), signal.SIGKILL)
        assert lost.response().status in (500, 502)
        lost.client.close()
        equals(lambda: served.get("/health/ready").status, 200)
        (served.stage.folder / "notes").unlink()
        served.wait_idle()
        return Counter(descriptors(served.sidecar.pid)), Counter(descriptors(served.worker()))

    first = run_once()

    run_once()
    more = lambda: [Counter(descriptors(pid)) - before  # noqa: E731
                    for pid, before in zip((served.sidecar.pid, served.worker()), first)]
    equals(more, [Counter(), Counter()], "as many descriptors as after the first time")
    assert not body_files(served.sidecar.pid) and not body_files(served.worker())
    equals(lambda: children(served.sidecar.pid), [served.worker()], "no zombie")


@pytest.mark.parametrize("concurrency", [1, 2])
def test_what_ends_its_worker_at_once_is_not_run_again(tmp_path, concurrency):
    count, fatal = 60, 40
    runs = tmp_path / "stage" / "runs"
    runs.parent.mkdir()
    runs.write_bytes(bytes(count))
    served = Served(truss(tmp_path, DIES_AT_ONCE, runtime={"predict_concurrency": concurrency}))
    calls = [served.call(body(id=index, dies=index == fatal)) for index in range(count)]
    answers = [call.response() for call in calls]
    for call in calls:
        call.client.close()
    assert answers[fatal].status == 502
    assert {answer.status for answer in answers} == {200, 502}
    assert set(runs.read_bytes()) == {1}
    served.wait_idle()
