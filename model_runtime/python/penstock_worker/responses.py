"""Starlette's Response objects that a model returns."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, List, Optional

from . import errors, frames
from .call import Call
from .errors import Answer
from .scopes import scope_of
from .streams import Stream


def is_response(value: Any) -> bool:
    module = sys.modules.get("starlette.responses")
    return module is not None and isinstance(value, module.Response)


def is_streaming(value: Any) -> bool:
    """Whether value is a response that has to be run: it streams, or has a background task."""
    if not is_response(value):
        return False
    plain = sys.modules["starlette.responses"].Response.__call__
    return type(value).__call__ is not plain or getattr(value, "background", None) is not None


def _headers(raw: Any, status: int) -> bytes:
    """Header fields for the wire: the sidecar writes the length itself."""
    fields: List[List[str]] = [
        [name.decode("latin-1").lower(), value.decode("latin-1")] for name, value in raw
    ]
    fields = [field for field in fields if field[0] != "content-length"]
    if status >= 300:
        names = {name for name, _ in errors.error_headers(700)}
        fields = [field for field in fields if field[0] not in names] + errors.error_headers(700)
    return json.dumps(fields, separators=(",", ":")).encode()


def _status(value: Any) -> int:
    status = int(value)
    if not errors.is_final_status(status):
        raise errors.DefinitionError(f"{status} is not the status of a response: expected 200 to 599")
    return status


def _outcome(status: int) -> int:
    if status >= 500:
        return frames.MODEL_AT_FAULT
    return frames.REQUEST_AT_FAULT if status >= 400 else frames.SUCCEEDED


def whole(response: Any) -> Answer:
    """The answer of a response with a body."""
    status = _status(response.status_code)
    return _outcome(status), status, _headers(response.raw_headers, status), bytes(response.body)


class _Run:
    """One response that is run as the application it is, its messages turned into frames."""

    def __init__(self, call: Call, stream: Stream, leave: Any):
        self._call = call
        self._stream = stream
        self._leave = leave
        self._body = b""
        self.ended = False

    async def receive(self) -> dict:
        """All of the body has been read; what is left to come is the client's departure."""
        left = asyncio.get_running_loop().create_future()
        loop = left.get_loop()

        def gone() -> None:
            loop.call_soon_threadsafe(lambda: left.done() or left.set_result(None))

        self._call.watch(gone)
        try:
            await left
        finally:
            self._call.unwatch(gone)
        return {"type": "http.disconnect"}

    async def send(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            status = _status(message["status"])
            self._stream.headers = _headers(message.get("headers", ()), status)
            self._stream.status = status
        elif message["type"] == "http.response.body" and not self.ended:
            body = message.get("body", b"")
            if message.get("more_body"):
                if body and not await self._stream.send_async(body):
                    raise OSError("the client has gone")
                return
            if body and self._stream.begun:
                await self._stream.send_async(body)
            elif body:
                self._body = bytes(body)
            self.end(None)

    def end(self, failure: Optional[BaseException]) -> None:
        """The response is over, though its background task may go on."""
        self.ended = True
        if self._leave is not None:
            self._leave()
        self._stream.finish(failure, self._body, _outcome(self._stream.status))


async def run(response: Any, call: Call, stream: Stream, leave: Any) -> None:
    """Runs the response to its end, and its background task after DONE."""
    one = _Run(call, stream, leave)
    failure: Optional[BaseException] = None
    try:
        await response(scope_of(call), one.receive, one.send)
    except BaseException as error:
        failure = error
    if not one.ended:
        one.end(failure or RuntimeError("the response ended before its body was complete"))
    elif failure is not None and not issubclass(type(failure), asyncio.CancelledError):
        stream.background_failed(failure)
