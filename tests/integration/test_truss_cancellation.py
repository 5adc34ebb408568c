"""A client that leaves a Python model.

Promised: it leaves the gate at once and its request never runs; an async predict is cancelled at its next
await; a generator, sync or not, is closed; a sync predict runs to its end with its token fired, and holds its
permit until then. A request whose deadline passes ends likewise.

Shown: what the model notes, and the gate's own numbers, directly and through the proxy.
"""

import json

import pytest

from support.truss import Served, truss
from support.waiting import equals

every_way = pytest.mark.parametrize("way", Served.WAYS)

MODEL = """
    import asyncio
    import time
    from starlette.requests import Request
    import stage

    class Model:
        def predict(self, inputs, request: Request):
            stage.note("predict", inputs["id"])
            if inputs.get("hold"):
                while not request.state.is_cancelled() and not stage.released("give-up"):
                    time.sleep(0.002)
                stage.note("token", inputs["id"])
                stage.hold("end")
            stage.note("predicted", inputs["id"])
            return inputs["id"]

        async def completions(self, inputs):
            stage.note("predict", inputs["id"])
            try:
                await stage.hold_async("end")
            except asyncio.CancelledError:
                stage.note("cancelled", inputs["id"])
                raise

        def embeddings(self, inputs):
            stage.note("predict", inputs["id"])
            try:
                while True:
                    yield "x" * 100
                    time.sleep(0.002)
            finally:
                stage.note("closed", inputs["id"])

        async def messages(self, inputs):
            stage.note("predict", inputs["id"])
            try:
                while True:
                    yield "x" * 100
                    await asyncio.sleep(0.002)
            finally:
                stage.note("closed", inputs["id"])

        async def responses(self, inputs, request: Request):
            stage.note("predict", inputs["id"])
            watching = asyncio.create_task(request.state.watch_disconnect())
            try:
                await asyncio.shield(watching)
            finally:
                await watching
                stage.note("watched", await request.is_disconnected())
"""


def body(**fields):
    return json.dumps(fields).encode()


@pytest.fixture
def served(tmp_path, way):
    started = Served(truss(tmp_path, MODEL), way)
    yield started
    started.stage.release("end", "give-up")
    started.wait_idle()


@every_way
def test_at_the_gate_it_is_gone_at_once_and_never_runs(served):
    with served.call(body(id="first", hold=1)) as first:
        served.stage.wait("predict", "first")
        with served.call(body(id="leaver")) as leaver, served.call(body(id="stays")) as stays:
            served.wait_gate(2, 1)
            leaver.leave()
            served.wait_gate(1, 1)
            equals(lambda: served.sidecar.metric("penstock_in_flight"), 2)
            served.stage.release("give-up", "end")
            assert first.response().json() == "first" and stays.response().json() == "stays"
    assert {note[1] for note in served.stage.notes("predict")} == {"first", "stays"}


@every_way
def test_a_sync_predict_has_its_token_fired_and_its_permit_until_it_ends(served):
    with served.call(body(id="leaver", hold=1)) as leaver:
        served.stage.wait("predict", "leaver")
        leaver.leave()
        served.stage.wait("token", "leaver")
    with served.call(body(id="next")) as following:
        served.wait_gate(1, 1)
        assert not [note for note in served.stage.notes("predict") if note[1] == "next"]
        served.stage.release("end")
        assert following.response().json() == "next"
    assert [note for note in served.stage.notes() if note[0].startswith("predict")] == [
        ["predict", "leaver"], ["predicted", "leaver"], ["predict", "next"], ["predicted", "next"]]


@every_way
@pytest.mark.parametrize("path, note", [
    ("/v1/completions", "cancelled"), ("/v1/embeddings", "closed"), ("/v1/messages", "closed"),
    ("/v1/responses", "watched")], ids=["async", "generator", "async-generator", "watcher"])
def test_what_can_be_cancelled_is_and_the_next_runs(served, path, note):
    with served.call(body(id="leaver"), path) as leaver:
        served.stage.wait("predict", "leaver")
        if note == "closed":
            assert leaver.data(200)
        leaver.leave()
        served.stage.wait(note, "True" if note == "watched" else "leaver")
    assert served.fetch(body(id="next")).json() == "next"


@pytest.mark.parametrize("way", ["direct-h2", "proxy-h1"])
def test_a_deadline_that_passes_in_predict_cancels_too(served):
    late = served.fetch(body(id="late"), "/v1/completions", [("x-request-timeout-ms", "1500")])
    assert late.status == 504
    served.stage.wait("cancelled", "late")
    assert served.fetch(body(id="next")).json() == "next"
