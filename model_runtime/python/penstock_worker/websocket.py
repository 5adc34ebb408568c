"""A WebSocket that the model serves."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any, Callable, Deque, Optional

from . import errors, frames, websocket_objects
from .answers import Answers
from .body import Body, DescriptorBody, body_buffer
from .call import Call
from .channel import Channel
from .credit import Credit

_ABNORMAL = 1006


class ClientSocket:
    """The client's side of one WebSocket, as an ASGI server offers it: receive() and send() are for
    the loop, message() and closed() for the reader. Whatever comes first from the model decides:
    close() refuses the client, anything else accepts it."""

    def __init__(self, call: Call, channel: Channel, bound: int):
        self._call = call
        self._channel = channel
        self._credit = Credit(call, bound)
        self._lock = threading.Lock()
        self._incoming: Deque[Any] = deque()
        self._waiter: Any = None
        self.accepted = False
        self.over = False  # the client has ended it, or CLOSE is put
        self._close_code: Optional[int] = None
        self._close_reason = ""

    # The reader.

    def message(self, opcode: int, body: Body) -> None:
        self._deliver((opcode, body))

    def closed(self, code: int, reason: str) -> None:
        self._close_code, self._close_reason = code, reason
        self.over = True
        self._deliver(None)

    def _deliver(self, item: Any) -> None:
        with self._lock:
            self._incoming.append(item)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.get_loop().call_soon_threadsafe(lambda: waiter.done() or waiter.set_result(None))

    # The loop.

    async def receive(self) -> dict:
        self.accept_by_default()
        while True:
            with self._lock:
                if self._incoming:
                    item = self._incoming[0]
                    if item is not None:  # the end stays in the queue: it is told again
                        self._incoming.popleft()
                    break
                self._waiter = waiter = asyncio.get_running_loop().create_future()
            await waiter
        if item is None:
            return {
                "type": "websocket.disconnect",
                "code": self._close_code,
                "reason": self._close_reason,
            }
        opcode, body = item
        data = bytes(body_buffer(body))
        self._channel.send(frames.received(self._call.id, len(data)))
        if opcode == frames.TEXT:
            return {"type": "websocket.receive", "text": data.decode("utf-8", "replace")}
        return {"type": "websocket.receive", "bytes": data}

    async def send(self, message: dict) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message.get("subprotocol"), message.get("headers") or ())
        elif kind == "websocket.close":
            self.close(message.get("code", 1000), message.get("reason") or "")
        elif kind == "websocket.send":
            await self._send(message)
        else:
            raise RuntimeError(f"a WebSocket cannot send {kind}")

    async def _send(self, message: dict) -> None:
        self.accept_by_default()
        text = message.get("text")
        data = text.encode() if text is not None else bytes(message["bytes"])
        taken = not self.over and await self._credit.take_async(len(data))
        if self.over or not taken:
            raise websocket_objects.disconnect_type()(
                self._close_code or _ABNORMAL, self._close_reason
            )
        self._channel.send(
            frames.send(self._call.id, frames.BINARY if text is None else frames.TEXT, data)
        )

    def accept_by_default(self) -> None:
        if not self.accepted and not self.over:
            self._accept(None, ())

    def _accept(self, subprotocol: Optional[str], headers: Any) -> None:
        if self.accepted or self.over:
            return
        self.accepted = True
        fields = [[_text(name).lower(), _text(value)] for name, value in headers]
        self._channel.send(frames.accept(self._call.id, subprotocol, fields))

    def close(self, code: int, reason: str) -> None:
        if not self.over:
            self.over = True
            self._channel.put(frames.close(self._call.id, code, reason))
            self._channel.flush()

    def drop(self) -> None:
        """Closes what the model has not looked at."""
        with self._lock:
            items, self._incoming = self._incoming, deque()
        for item in items:
            if item is not None and type(item[1]) is DescriptorBody:
                item[1].close()


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


async def serve(call: Call, answers: Answers, leave: Callable[[], None]) -> None:
    """Runs the model's websocket method for a call, and leave() when it has ended.

    As in Truss the client is accepted without the model's asking: when the model waits for the
    first time. Until then it may accept() with a subprotocol, or close(), which refuses the client.
    """
    socket = call.socket
    asyncio.get_running_loop().call_soon(socket.accept_by_default)
    outcome, kind = frames.SUCCEEDED, frames.KIND_STREAM_ENDED
    try:
        await call.operation.method.function(websocket_objects.make_websocket(call, socket))
        socket.accept_by_default()
        socket.close(1000, "")
    except websocket_objects.disconnect_type():
        pass
    except BaseException as error:
        if not call.reason:
            answers.note_failure(call, "websocket", error)
            outcome = frames.MODEL_AT_FAULT
            socket.close(1011, errors.MODEL_ERROR_MESSAGE)
    if call.reason:
        kind = frames.KIND_CANCELLED
    socket.over = True
    leave()
    socket.drop()
    answers.put_end(call, kind, outcome)
