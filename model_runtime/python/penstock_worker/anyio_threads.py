"""Lets the model's synchronous code use anyio.from_thread, as in the worker threads of anyio's own
in which Truss runs it: libraries that are asynchronous inside have their synchronous face so."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from typing import Any, Callable, Dict, List, Tuple

_MODULES = ("anyio._core._eventloop", "anyio._backends._asyncio")
_PATIENCE_SECONDS = 5.0

# What anyio keeps in a worker thread of its own that belongs to the event loop.
_kept: List[Tuple[threading.local, Dict[str, Any]]] = []
_joined = threading.local()


def learn(wait_for: Callable[..., Any]) -> None:
    """Looks at one of anyio's worker threads, for join(). wait_for(coroutine, seconds) runs it on
    the event loop. Where anyio is not installed, or is one that does not keep such things, nothing
    happens; a model does without."""
    try:
        if importlib.util.find_spec("anyio") is None:
            return
        to_thread = importlib.import_module("anyio.to_thread")
        wait_for(to_thread.run_sync(_look), _PATIENCE_SECONDS)
    except Exception:
        _kept.clear()


def _look() -> None:
    for name in _MODULES:
        space = getattr(sys.modules.get(name), "threadlocals", None)
        if not isinstance(space, threading.local):
            continue
        values = dict(space.__dict__)
        if "current_cancel_scope" in values:
            values["current_cancel_scope"] = None  # that of this look, which is over
        if values:
            _kept.append((space, values))


def join() -> None:
    """Makes the calling thread, which must not be the event loop's, one that anyio knows."""
    if _kept and not hasattr(_joined, "done"):
        _joined.done = True
        for space, values in _kept:
            space.__dict__.update(values)
