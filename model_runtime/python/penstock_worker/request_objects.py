"""The request that a model sees: Starlette's Request when that is installed, else a stand-in.

Both read the body from the worker and know about the client's departure at once:
`await request.is_disconnected()`; `await request.state.watch_disconnect()`, which returns when the
client has gone; `with request.state.watch_disconnect() as gone`, where gone is a threading.Event;
and `request.state.is_cancelled()`, which code that is not async can ask too.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from functools import lru_cache
from typing import Any, AsyncIterator, Optional

from .body import Body, body_buffer
from .call import Call
from .scopes import Headers, Parameters, State, Url, client_of, cookies_of, scope_of


async def departure(call: Call) -> bool:
    """Returns True when the call has been cancelled; for any event loop."""
    loop = asyncio.get_running_loop()
    gone = loop.create_future()

    def tell() -> None:
        loop.call_soon_threadsafe(lambda: gone.done() or gone.set_result(True))

    call.watch(tell)
    try:
        return await gone
    finally:
        call.unwatch(tell)


class DisconnectWatch(Coroutine):
    """What request.state.watch_disconnect() returns: to be awaited, or for a `with`, which gives a
    threading.Event that is set when the client has gone."""

    def __init__(self, call: Call):
        self._call = call
        self._awaited: Any = None
        self._gone = threading.Event()

    def __enter__(self) -> threading.Event:
        self._call.watch(self._gone.set)
        return self._gone

    def __exit__(self, *_: Any) -> None:
        self._call.unwatch(self._gone.set)

    def _coroutine(self) -> Any:
        if self._awaited is None:
            self._awaited = departure(self._call)
        return self._awaited

    def __await__(self) -> Any:
        return self._coroutine().__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine().throw(*error)

    def close(self) -> None:
        if self._awaited is not None:
            self._awaited.close()


def state_of(call: Call) -> dict:
    return {
        "watch_disconnect": lambda: DisconnectWatch(call),
        "is_cancelled": lambda: bool(call.reason),
    }


def make_request(call: Call) -> Any:
    scope = scope_of(call)
    scope["state"] = state_of(call)
    return (_starlette_request() or PlainRequest)(call, scope)


class _FromWorker:
    """What both kinds of request have in common."""

    _call: Call
    _source: Body
    _body: bytes

    def _attach(self, call: Call) -> None:
        self._call = call
        self._source = call.body if call.body is not None else b""

    async def body(self) -> bytes:
        if not hasattr(self, "_body"):
            self._body = bytes(body_buffer(self._source))
        return self._body

    async def stream(self) -> AsyncIterator[bytes]:
        body = await self.body()
        if body:
            yield body
        yield b""

    async def is_disconnected(self) -> bool:
        return bool(self._call.reason)

    async def _receive_departure(self) -> dict:
        await departure(self._call)
        return {"type": "http.disconnect"}


@lru_cache(maxsize=None)
def _starlette_request() -> Optional[type]:
    try:
        from starlette.requests import Request
    except ImportError:
        return None

    class ModelRequest(_FromWorker, Request):
        def __init__(self, call: Call, scope: dict):
            Request.__init__(self, scope, self._receive_departure)
            self._attach(call)

    ModelRequest.__name__ = "Request"
    return ModelRequest


class PlainRequest(_FromWorker):
    """What models use of Starlette's Request, without Starlette."""

    def __init__(self, call: Call, scope: dict):
        self._attach(call)
        self.scope = scope
        self.method: str = scope["method"]
        self.headers = Headers(scope["headers"])
        self.url = Url(scope)
        self.query_params = Parameters(scope["query_string"])
        self.path_params: dict = scope["path_params"]
        self.app = scope["app"]
        self.cookies = cookies_of(self.headers)
        self.client = client_of(scope)
        self.state = State(scope["state"])

    async def json(self) -> Any:
        return json.loads(await self.body())
