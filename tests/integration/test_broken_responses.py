"""Responses that had begun and break off at a sidecar, and why.

Promised: each has a reason of its own in the log and in penstock_responses_broken_total. Over HTTP/2 the reset tells
a proxy whether what runs the model failed (INTERNAL_ERROR) or the sidecar gave the response up (CANCEL).

Shown: models and servers that fail in the middle of a stream, in every way there is.
"""

import json
import os
import signal

import pytest

from support.h2_client import H2Client
from support.model_servers import CHAT, post, wait_gate
from support.truss import Served, truss
from support.waiting import SLOWNESS, equals

INTERNAL_ERROR, CANCEL = 2, 8

MODEL = """
    import stage

    class Model:
        def predict(self, inputs):
            yield "half"
            if inputs["then"] == "raise":
                raise RuntimeError("in the middle")
            while not stage.released(inputs["then"]):
                stage.hold("the rest") if inputs["then"] == "silence" else yield_to_others()
                yield "more"

    def yield_to_others():
        import time
        time.sleep(0.01)
"""


def milliseconds(count):
    return str(int(count * SLOWNESS))


def broken(sidecar, reason):
    """The stream has broken off for that reason, and for no other."""
    equals(lambda: sidecar.metric("penstock_responses_broken_total", reason=reason), 1)
    event = sidecar.wait_log("a response broke off", reason=reason, request_id="r-1")
    assert len(sidecar.logged("a response broke off")) == 1, event


@pytest.fixture
def served(tmp_path, then):
    runtime = {"streaming_read_timeout": 1 if then == "silence" else 60}
    started = Served(truss(tmp_path, MODEL, runtime=runtime), "direct-h2")
    yield started
    started.stage.release("the rest", "end")
    started.wait_idle()


def begin(served, then, headers=()):
    call = served.call(json.dumps({"then": then}).encode(), headers=[("x-request-id", "r-1"), *headers])
    assert call.data(4)[:4] == b"half"
    return call


@pytest.mark.parametrize("then, code, reason", [
    ("raise", INTERNAL_ERROR, "stream_failed"),
    ("kill", INTERNAL_ERROR, "worker_lost"),
    ("silence", CANCEL, "stream_stalled"),
    ("cancel", CANCEL, "cancelled"),
    ("deadline", CANCEL, "deadline_exceeded"),
])
def test_a_models_stream(served, then, code, reason):
    headers = {"deadline": [("x-request-timeout-ms", milliseconds(1500))],
               "cancel": [("x-penstock-attempt-id", "a-1")]}.get(then, [])
    with begin(served, then, headers) as call:
        if then == "kill":
            os.kill(served.worker(), signal.SIGKILL)
        if then == "cancel":
            cancelled = served.fetch(b"", "/penstock/cancel", [("x-penstock-attempt-id", "a-1")])
            assert cancelled.status == 202
        call.cut_off()
        assert call.stream.answer.reset == code
    broken(served.sidecar, reason)


@pytest.mark.parametrize("then", ["raise"])
def test_an_exception_in_the_middle_is_logged_with_its_request(served, then):
    with begin(served, then) as call:
        call.cut_off()
    served.sidecar.wait_log("predict raised RuntimeError: in the middle while it streamed", request_id="r-1")


@pytest.mark.parametrize("how", ["connection", "reset", "garbage"])
def test_a_model_servers_answer(server, front, how):
    sidecar = front(server)
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", headers=[("x-request-id", "r-1")])
        request = server.by_id("a")
        request.start(200, [("content-type", "text/event-stream")])
        request.send(b"half")
        stream.data(4)
        reason = "server_connection_lost"
        if how == "connection":
            request.die()
        elif server.speaks == "http1":
            if how == "reset":
                pytest.skip("HTTP/1.1 has no resets")
            request.send_raw(b"no size of a chunk\r\n")
            reason = "server_protocol_error"
        else:
            request.send_raw(b"\0\0\0\7\0\0\0\0\0") if how == "garbage" else request.reset(2)
            reason = "server_protocol_error" if how == "garbage" else "server_reset"
        stream.end()
        assert not stream.complete and stream.answer.reset == INTERNAL_ERROR
    broken(sidecar, reason)
    wait_gate(sidecar, 0, 0)


def test_a_model_server_that_resets_a_request_before_its_answer(replica, front):
    server = replica("h2")
    sidecar = front(server, protocol="h2")
    with H2Client(sidecar.address) as client:
        stream = post(client, "a")
        server.by_id("a").reset(2)
        answer = stream.response()
    assert (answer.status, answer.reason) == (502, "server_reset")
    assert not sidecar.logged("a response broke off")


def test_a_deadline_before_an_answer_that_is_waited_for_is_told(replica, front):
    """on_client_gone: wait. The late response is dropped, and the reply says why."""
    server = replica("h1")
    sidecar = front(server, on_client_gone="wait")
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", CHAT, [("x-request-timeout-ms", milliseconds(1000))])
        request = server.by_id("a")
        equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
        with H2Client(sidecar.address) as other:
            waiter = post(other, "b", CHAT, [("x-request-timeout-ms", milliseconds(1100))])
            assert waiter.response().status == 504, "by then the first one's deadline has passed too"
        request.respond(200, body=b"late")
        answer = stream.response()
    assert (answer.status, answer.reason) == (504, "deadline_exceeded")
