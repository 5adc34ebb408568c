"""A WebSocket that the model serves."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import deque
from typing import Any, Callable, Deque, Optional

from . import errors, frames, websocket_objects
from .answers import Answers
from .body import Body, DescriptorBody, body_buffer
from .call import Call
from .channel import Channel
from .credit import Credit, wake

_ABNORMAL = 1006
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class ClientSocket:
    """The client's side of one WebSocket, as an ASGI server offers it: receive() and send() are for
    the loop, message() and closed() for the reader. Whatever comes first from the model decides:
    close() refuses the client, anything else accepts it."""

    def __init__(self, call: Call, channel: Channel, bound: int):
        self._call = call
        self._channel = channel
        self._credit = Credit(call, bound)
        self._lock = threading.Lock()
        self._incoming: Optional[Deque[Any]] = deque()  # None: DONE follows, and no frame after it
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
            if self._incoming is None:
                _close(item)
                return
            self._incoming.append(item)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            wake(waiter)

    # The loop.

    async def receive(self) -> dict:
        self.accept_by_default()
        while True:
            with self._lock:
                if self._incoming is None:
                    item = None
                    break
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
                "code": self._close_code or _ABNORMAL,
                "reason": self._close_reason,
            }
        opcode, body = item
        data = bytes(body_buffer(body))
        self._put(frames.received(self._call.id, len(data)))
        if opcode == frames.TEXT:
            return {"type": "websocket.receive", "text": data.decode("utf-8", "replace")}
        return {"type": "websocket.receive", "bytes": data}

    async def send(self, message: dict) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self._accept(message.get("subprotocol"), message.get("headers") or ())
        elif kind == "websocket.close":
            code = message.get("code")
            self.close(1000 if code is None else code, message.get("reason") or "")
        elif kind == "websocket.send":
            await self._send(message)
        else:
            raise RuntimeError(f"a WebSocket cannot send {kind}")

    async def _send(self, message: dict) -> None:
        self.accept_by_default()
        text = message.get("text")
        data = text.encode() if text is not None else bytes(message["bytes"])
        taken = not self.over and await self._credit.take_async(frames.send_bytes(len(data)))
        opcode = frames.BINARY if text is None else frames.TEXT
        if self.over or not taken or not self._put(frames.send(self._call.id, opcode, data)):
            raise websocket_objects.disconnect_type()(
                self._close_code or _ABNORMAL, self._close_reason
            )

    def accept_by_default(self) -> None:
        if not self.accepted and not self.over:
            self._accept(None, ())

    def _accept(self, subprotocol: Optional[str], headers: Any) -> None:
        if self.accepted or self.over:
            return
        if subprotocol is not None and not _is_token(subprotocol):
            raise ValueError(f"{subprotocol!r} is not a subprotocol: expected a word of ASCII")
        fields = [[_text(name).lower(), _text(value)] for name, value in headers]
        frame = frames.accept(self._call.id, subprotocol, fields)
        self.accepted = True
        self._put(frame)

    def close(self, code: int, reason: str) -> None:
        if not frames.is_close_code(code):
            raise ValueError(f"{code} is not a close code: expected 1000 to 1014 or 3000 to 4999")
        if not self.over:
            frame = frames.close(self._call.id, code, reason)
            self.over = True
            self._put(frame)

    def _put(self, frame: frames.Frame) -> bool:
        """False, and no frame, once the call is over: the model may have left a task behind."""
        with self._lock:
            if self._incoming is None:
                _close_frame(frame)
                return False
            self._channel.put(frame)
        self._channel.flush()
        return True

    def drop(self) -> None:
        """The end, before DONE: closes what the model has not looked at, and ends its waiting."""
        with self._lock:
            items, self._incoming = self._incoming, None
            waiter, self._waiter = self._waiter, None
        for item in items or ():
            _close(item)
        if waiter is not None:
            wake(waiter)


def _close(item: Any) -> None:
    if item is not None and type(item[1]) is DescriptorBody:
        item[1].close()


def _close_frame(frame: frames.Frame) -> None:
    if type(frame) is tuple:
        os.close(frame[1])


def _is_token(value: Any) -> bool:
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def _text(value: Any) -> str:
    """A name or a value of a header field, which is bytes."""
    return bytes(value).decode("latin-1") if isinstance(value, (bytes, bytearray)) else _latin(value)


def _latin(value: Any) -> str:
    text = str(value)
    text.encode("latin-1")  # raises if it is more
    return text


async def serve(call: Call, answers: Answers, leave: Callable[[], None]) -> None:
    """Runs the model's websocket method for a call, and leave() when it has ended.

    As in Truss the client is accepted without the model's asking: when the model waits for the
    first time. Until then it may accept() with a subprotocol, or close(), which refuses the client.
    """
    socket = call.socket
    asyncio.get_running_loop().call_soon(socket.accept_by_default)
    outcome, kind = frames.SUCCEEDED, frames.KIND_STREAM_ENDED
    failure: Optional[BaseException] = None
    try:
        await call.operation.method.function(websocket_objects.make_websocket(call, socket))
        socket.accept_by_default()
        socket.close(1000, "")
    except websocket_objects.disconnect_type():
        pass
    except BaseException as error:
        if not call.reason:
            failure = error
    if call.reason:
        kind = frames.KIND_CANCELLED
    elif failure is not None:
        answers.note_failure(call, "websocket", failure)
        outcome = frames.MODEL_AT_FAULT
        if socket.accepted:
            socket.close(1011, errors.MODEL_ERROR_MESSAGE)
    answered = socket.accepted or socket.over
    socket.over = True
    leave()
    socket.drop()
    if failure is not None and not answered and not call.reason:
        answers.put_answer(call, errors.model_failed(failure))
    else:
        answers.put_end(call, kind, outcome)
