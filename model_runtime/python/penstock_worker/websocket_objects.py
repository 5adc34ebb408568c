"""The object that a model's websocket method gets: Starlette's WebSocket, else a stand-in."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, AsyncIterator, Optional

from .call import Call
from .request_objects import state_of
from .scopes import Headers, Parameters, State, Url, client_of, cookies_of, scope_of


class PlainDisconnect(Exception):
    """The client has ended the WebSocket, where Starlette is not installed."""

    def __init__(self, code: int = 1000, reason: Optional[str] = None):
        super().__init__(f"{code} {reason or ''}".strip())
        self.code = code
        self.reason = reason or ""


@lru_cache(maxsize=None)
def disconnect_type() -> Any:
    try:
        from starlette.websockets import WebSocketDisconnect
    except ImportError:
        return PlainDisconnect
    return WebSocketDisconnect


@lru_cache(maxsize=None)
def _starlette_websocket() -> Optional[type]:
    try:
        from starlette.websockets import WebSocket, WebSocketState
    except ImportError:
        return None

    class ModelWebSocket(WebSocket):
        """Connected from the start; accept() only says with which subprotocol and headers."""

        def __init__(self, scope: dict, socket: Any):
            super().__init__(scope, socket.receive, socket.send)
            self.client_state = self.application_state = WebSocketState.CONNECTED

        async def accept(self, subprotocol: Optional[str] = None, headers: Any = None) -> None:
            await self._send(
                {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}
            )

    ModelWebSocket.__name__ = "WebSocket"
    return ModelWebSocket


def make_websocket(call: Call, socket: Any) -> Any:
    scope = scope_of(call, "websocket")
    scope["state"] = state_of(call)
    scope["subprotocols"] = [
        each.strip()
        for each in Headers(scope["headers"]).get("sec-websocket-protocol", "").split(",")
        if each.strip()
    ]
    return (_starlette_websocket() or PlainWebSocket)(scope, socket)


class PlainWebSocket:
    """What models use of Starlette's WebSocket, without Starlette."""

    def __init__(self, scope: dict, socket: Any):
        self.scope = scope
        self.headers = Headers(scope["headers"])
        self.url = Url(scope)
        self.query_params = Parameters(scope["query_string"])
        self.path_params: dict = scope["path_params"]
        self.app = scope["app"]
        self.cookies = cookies_of(self.headers)
        self.client = client_of(scope)
        self.state = State(scope["state"])
        self.receive = socket.receive
        self.send = socket.send

    async def accept(self, subprotocol: Optional[str] = None, headers: Any = None) -> None:
        await self.send(
            {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}
        )

    async def close(self, code: int = 1000, reason: Optional[str] = None) -> None:
        await self.send({"type": "websocket.close", "code": code, "reason": reason})

    async def _receive(self) -> dict:
        message = await self.receive()
        if message["type"] == "websocket.disconnect":
            raise PlainDisconnect(message["code"], message["reason"])
        return message

    async def receive_text(self) -> str:
        return (await self._receive())["text"]

    async def receive_bytes(self) -> bytes:
        return (await self._receive())["bytes"]

    async def receive_json(self, mode: str = "text") -> Any:
        return json.loads((await self._receive())["text" if mode == "text" else "bytes"])

    async def send_text(self, data: str) -> None:
        await self.send({"type": "websocket.send", "text": data})

    async def send_bytes(self, data: bytes) -> None:
        await self.send({"type": "websocket.send", "bytes": data})

    async def send_json(self, data: Any, mode: str = "text") -> None:
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
        if mode == "text":
            await self.send_text(text)
        else:
            await self.send_bytes(text.encode())

    async def iter_text(self) -> AsyncIterator[str]:
        try:
            while True:
                yield await self.receive_text()
        except PlainDisconnect:
            pass

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield await self.receive_bytes()
        except PlainDisconnect:
            pass

    async def iter_json(self) -> AsyncIterator[Any]:
        try:
            while True:
                yield await self.receive_json()
        except PlainDisconnect:
            pass
