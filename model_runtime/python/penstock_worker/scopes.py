"""ASGI scopes, as Starlette's objects take them, and small readers of them for where it is
missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple
from urllib.parse import parse_qsl, quote, unquote

from .call import Call
from .client_address import forwarded

_MODEL_PATH = re.compile(r"/v1/models/(?P<model_name>[^/]+):predict(_binary)?")


class State:
    """Attributes of the model's own choice."""

    def __init__(self, values: Dict[str, Any]):
        self.__dict__.update(values)


class App:
    """What models use of the application: its state, one for all requests of this process."""

    def __init__(self) -> None:
        self.state = State({})


_app = App()


def scope_of(call: Call, kind: str = "http") -> Dict[str, Any]:
    """The scope of a call, from its meta."""
    meta = call.meta
    path = meta.get("path", "/")
    client, server = meta.get("client"), meta.get("server")
    scope: Dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": meta.get("http_version", "1.1"),
        "scheme": meta.get("scheme", "http"),
        "path": unquote(path),
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": meta.get("query", "").encode("latin-1", "replace"),
        "root_path": "",
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in meta.get("headers", ())
        ],
        "client": tuple(client) if client else None,
        "server": tuple(server) if server else None,
        "app": _app,
        "path_params": _path_params(path),
        "extensions": {},
        "state": {},
    }
    scope.update(forwarded(scope["headers"], scope["client"]))
    if kind == "http":
        scope["method"] = meta.get("method", "POST")
    else:
        scope["scheme"] = {"http": "ws", "https": "wss"}.get(scope["scheme"], scope["scheme"])
    return scope


def _path_params(path: str) -> Dict[str, str]:
    """As of Truss's routes."""
    found = _MODEL_PATH.fullmatch(path)
    return {"model_name": unquote(found["model_name"])} if found else {}


class Headers(Mapping):
    """Header fields by name in any case; where a name comes twice, the first one."""

    def __init__(self, raw: List[Tuple[bytes, bytes]]):
        self.raw = raw

    def getlist(self, name: str) -> List[str]:
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.raw if key == wanted]

    def __getitem__(self, name: str) -> str:
        values = self.getlist(name)
        if not values:
            raise KeyError(name)
        return values[0]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key.decode("latin-1") for key, _ in self.raw))

    def __len__(self) -> int:
        return len({key for key, _ in self.raw})


class Parameters(Mapping):
    """The query's parameters; where a name comes twice, the last one."""

    def __init__(self, query: bytes):
        self._items = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        self._values = dict(self._items)

    def getlist(self, name: str) -> List[str]:
        return [value for key, value in self._items if key == name]

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Address(NamedTuple):
    """Of a client, as Starlette has it."""

    host: str
    port: int


class Url:
    """The URL of a request; str(url) is all of it."""

    def __init__(self, scope: Dict[str, Any]):
        self.scheme: str = scope["scheme"]
        self.path: str = scope["path"]
        self.query: str = scope["query_string"].decode("latin-1")
        self.netloc = Headers(scope["headers"]).get("host", "")

    def __str__(self) -> str:
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.netloc}{quote(self.path)}{query}"


def client_of(scope: Dict[str, Any]) -> Optional[Address]:
    return Address(*scope["client"]) if scope["client"] else None


def cookies_of(headers: Headers) -> Dict[str, str]:
    pairs = (pair.strip().partition("=") for pair in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs if name}
