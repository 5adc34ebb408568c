"""A WebSocket that the model serves.

Promised: Starlette's WebSocket (or a stand-in) over the protocol's frames; accepted without asking,
as Truss does; 1000 when the method returns, 1011 when it fails; it holds a lane meanwhile.
"""

import struct

import pytest

from fake_sidecar import (
    ACCEPT,
    CANCELLED,
    CLOSE,
    DONE,
    ENDED,
    RECEIVED,
    SEND,
    STARTED,
    STREAM_ENDED,
)

IMPORTS = {
    "starlette": "from starlette.websockets import WebSocket, WebSocketDisconnect",
    "none": "WebSocket = object",
}


@pytest.fixture(params=["starlette", "none"])
def websocket(serve, request):
    """websocket(body): a model with that method, with and without Starlette."""

    def make(body, **options):
        if request.param == "none":
            options["python"] = ["/usr/bin/python3", "-S"]
        return serve(
            f"""
import asyncio
{IMPORTS[request.param]}
class Model:
    async def websocket(self, ws: WebSocket):
{body}
""",
            **options,
        )

    return make


def code_of(frame):
    return struct.unpack_from("<H", frame.payload)[0], frame.payload[2:].decode()


def sent(request, count=1):
    frame = request.wait(SEND, count)
    body = frame.payload[1:] if frame.body is None else frame.body
    return body.decode() if frame.payload[0] == 1 else body


def test_echo(websocket):
    sidecar = websocket("""
        while True:
            text = await ws.receive_text()
            if text == "end": return
            await ws.send_text(text + " " + ws.headers["x-a"])
""")
    assert sidecar.loaded()["operations"] == ["websocket"]
    request = sidecar.invoke(b"", operation="websocket", meta={"headers": [["x-a", "b"]]})
    assert request.wait(ACCEPT).json == {"subprotocol": None, "headers": []}
    request.message("héllo")
    assert sent(request) == "héllo b"
    assert struct.unpack("<I", request.wait(RECEIVED).payload)[0] == 6
    request.message("again")
    assert sent(request, 2) == "again b"
    request.message("end")
    assert code_of(request.wait(CLOSE)) == (1000, "")
    done = request.done()
    assert (done.kind, done.outcome) == (STREAM_ENDED, 0)
    kinds = [frame.kind for frame in request.frames]
    assert kinds[0] == STARTED and kinds.index(CLOSE) < kinds.index(ENDED) < kinds.index(DONE)


def test_bytes_and_json_and_large_messages(websocket):
    sidecar = websocket("""
        await ws.send_bytes(await ws.receive_bytes())
        await ws.send_json(await ws.receive_json())
        await ws.send_text(await ws.receive_text())
""")
    request = sidecar.invoke(b"", operation="websocket")
    request.wait(ACCEPT)
    request.message(b"\x00\xff")
    assert sent(request) == b"\x00\xff"
    request.message('{"a": [1]}')
    assert sent(request, 2).replace(" ", "") == '{"a":[1]}'
    request.message("x" * 500_000, by_descriptor=True)
    assert sent(request, 3) == "x" * 500_000
    assert request.wait(SEND, 3).body is not None
    assert request.done().kind == STREAM_ENDED


def test_accept_with_a_subprotocol_and_headers(websocket):
    sidecar = websocket("""
        await ws.accept(subprotocol="chat", headers=[(b"X-A", b"b")])
        await ws.send_text("hello")
""")
    request = sidecar.invoke(b"", operation="websocket")
    assert request.wait(ACCEPT).json == {"subprotocol": "chat", "headers": [["x-a", "b"]]}
    assert request.done().kind == STREAM_ENDED
    assert len([frame for frame in request.frames if frame.kind == ACCEPT]) == 1


def test_accepted_while_the_model_still_works(websocket):
    sidecar = websocket("""
        await asyncio.get_running_loop().run_in_executor(None, wait, "gate")
        await ws.accept()
        await ws.send_text("now")
""")
    sidecar.gate("gate")
    request = sidecar.invoke(b"", operation="websocket")
    request.wait(ACCEPT)
    sidecar.release("gate")
    assert sent(request) == "now"
    assert request.done().kind == STREAM_ENDED


def test_close_before_accept_refuses(websocket):
    sidecar = websocket("        await ws.close(code=1008, reason='no')\n")
    request = sidecar.invoke(b"", operation="websocket")
    assert code_of(request.wait(CLOSE)) == (1008, "no")
    assert request.done().kind == STREAM_ENDED and not request.has(ACCEPT)


def test_close_with_a_code_of_the_models_own(websocket):
    sidecar = websocket("        await ws.receive_text()\n        await ws.close(code=4001)\n")
    request = sidecar.invoke(b"", operation="websocket")
    request.wait(ACCEPT)
    request.message("x")
    assert code_of(request.wait(CLOSE)) == (4001, "")
    assert request.done().outcome == 0
    assert len([frame for frame in request.frames if frame.kind == CLOSE]) == 1


def test_an_exception_closes_with_1011(websocket):
    sidecar = websocket("        await ws.receive_text()\n        raise ValueError('broken')\n")
    request = sidecar.invoke(b"", operation="websocket")
    request.wait(ACCEPT)
    request.message("x")
    assert code_of(request.wait(CLOSE)) == (1011, "Internal Server Error (in model/chainlet).")
    done = request.done()
    assert (done.kind, done.outcome) == (STREAM_ENDED, 2)
    assert sidecar.logs()[0]["message"] == "websocket raised ValueError: broken"


def test_the_client_leaves(websocket):
    sidecar = websocket("""
        try:
            await ws.receive_text()
        except Exception as error:
            say(f"{type(error).__name__} {error.code}")
            raise
""")
    request = sidecar.invoke(b"", operation="websocket")
    request.wait(ACCEPT)
    request.closed(1001, "away")
    done = request.done()
    assert (done.kind, done.outcome) == (STREAM_ENDED, 0)
    sidecar.wait_line("Disconnect 1001")
    assert not request.has(CLOSE) and not sidecar.logs()


def test_iterating_ends_with_the_client_and_sending_to_it_fails(websocket):
    sidecar = websocket("""
        async for text in ws.iter_text():
            say(f"got {text}")
        try:
            await ws.send_text("too late")
        except Exception as error:
            say(type(error).__name__)
            raise
""")
    request = sidecar.invoke(b"", operation="websocket")
    request.wait(ACCEPT)
    request.message("one")
    request.closed(1000)
    assert request.done().kind == STREAM_ENDED
    sidecar.wait_line("got one")
    assert not request.has(SEND)


def test_sending_waits_for_credit(websocket):
    sidecar = websocket(
        """
        for i in range(4):
            await ws.send_text("x" * 100)
            say(f"sent {i}")
""",
        stream_buffer=250,
    )
    request = sidecar.invoke(b"", operation="websocket")
    request.wait(SEND, 2)
    sidecar.wait_line("sent 1")
    sidecar.settle()
    assert len([frame for frame in request.frames if frame.kind == SEND]) == 2
    request.credit(200)
    request.wait(SEND, 4)
    assert request.done().kind == STREAM_ENDED


def test_empty_messages_take_credit_too(websocket):
    sidecar = websocket(
        """
        for _ in range(1000):
            await ws.send_bytes(b"")
""",
        stream_buffer=20,
    )
    request = sidecar.invoke(b"", operation="websocket")
    request.wait(SEND, 10)
    sidecar.settle()
    assert len([frame for frame in request.frames if frame.kind == SEND]) == 10
    request.credit(6)
    request.wait(SEND, 13)
    sidecar.settle()
    assert len([frame for frame in request.frames if frame.kind == SEND]) == 13


def test_a_cancelled_websocket_holds_its_lane_to_its_end(websocket):
    sidecar = websocket("""
        try:
            await ws.receive_text()
        finally:
            say("left")
""")
    request = sidecar.invoke(b"", operation="websocket")
    second = sidecar.invoke(b"", operation="websocket")
    request.wait(ACCEPT)
    assert not second.has(STARTED)
    request.cancel(3)
    assert request.done().kind == CANCELLED
    sidecar.wait_line("left")
    second.wait(ACCEPT)
    second.closed()
    assert second.done().kind == STREAM_ENDED
