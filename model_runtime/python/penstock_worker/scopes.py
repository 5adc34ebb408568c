"""ASGI scopes, as Starlette's objects take them."""

from __future__ import annotations

from typing import Any, Dict
from urllib.parse import unquote

from .call import Call


def scope_of(call: Call, kind: str = "http") -> Dict[str, Any]:
    """The scope of a call, from its meta."""
    meta = call.meta
    path = meta.get("path", "/")
    client = meta.get("client")
    scope: Dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": meta.get("http_version", "1.1"),
        "scheme": meta.get("scheme", "http"),
        "path": unquote(path),
        "raw_path": path.encode("latin-1", "replace"),
        "query_string": meta.get("query", "").encode("latin-1", "replace"),
        "root_path": "",
        "headers": [(name.encode("latin-1"), value.encode("latin-1"))
                    for name, value in meta.get("headers", ())],
        "client": tuple(client) if client else None,
        "server": None,
        "extensions": {},
        "state": {},
    }
    if kind == "http":
        scope["method"] = meta.get("method", "POST")
    return scope
