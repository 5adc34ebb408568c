"""One request under way in the worker, and the token that says that nobody wants its result."""

from __future__ import annotations

import json
import threading
from contextvars import Context, copy_context
from typing import Any, Callable, Dict, List, Optional

from . import frames
from .body import Body, DescriptorBody

# What a call is doing. The scheduler's lock guards the changes that cancelling may race with.
WAITING = 0  # nothing of the model's has run
PREPARING = 1  # decoding and preprocess
PREPARED = 2  # said READY
ALLOWED = 3  # in the scheduler's queue
RUNNING = 4  # in predict
AFTER = 5  # postprocess, encoding
OVER = 6  # DONE is sent, or about to be


class Call:
    """Everything about one request. Written by the thread that works on it; the sidecar's frames
    come in by cancel(), from the reader's thread.

    All of the model's code for a request runs in the request's own contextvars context. A stage
    begins in `context`, which is entered once. Work that continues elsewhere does so in a copy, as
    Pool and EventLoop make them of their caller's; keep_context() stores one for the next stage.
    """

    __slots__ = (
        "id",
        "operation",
        "asynchronous",
        "deadline",
        "binary",
        "gather",
        "meta_bytes",
        "body",
        "state",
        "prepared",
        "inputs",
        "decoded",
        "reason",
        "task",
        "credit",
        "socket",
        "started",
        "context",
        "_request",
        "_meta",
        "_watchers",
        "__weakref__",
    )

    def __init__(
        self,
        number: int,
        operation: Any,
        deadline: int,
        binary: bool,
        gather: bool,
        meta_bytes: bytes,
        body: Body,
    ):
        self.id = number
        self.operation = operation
        self.asynchronous: bool = operation.asynchronous
        self.deadline = deadline
        self.binary = binary
        self.gather = gather
        self.meta_bytes = meta_bytes
        self.body: Optional[Body] = body
        self.state = WAITING
        self.prepared = False  # some of the model's code has run
        self.inputs: Any = None
        self.decoded = False
        self.reason = 0  # of CANCEL
        self.task: Any = None
        self.credit: Any = None
        self.socket: Any = None
        self.started = frames.started(number)
        self.context: Any = Context()
        self._request: Any = None
        self._meta: Optional[Dict[str, Any]] = None
        self._watchers: Optional[List[Callable[[], None]]] = None

    def keep_context(self) -> None:
        """What the stage that ends here has set is there for the next one."""
        self.context = copy_context()

    @property
    def meta(self) -> Dict[str, Any]:
        if self._meta is None:
            self._meta = json.loads(self.meta_bytes) if self.meta_bytes else {}
        return self._meta

    def request(self) -> Any:
        """The request object that the model sees: one a call."""
        if self._request is None:
            self._request = _make_request(self)
        return self._request

    @property
    def has_request(self) -> bool:
        return self._request is not None

    def cancel(self, reason: int) -> None:
        """Fires the token: is_disconnected() is true from now on, and whoever watches is called."""
        with _watching:
            self.reason = reason
            watchers, self._watchers = self._watchers, None
        for watcher in watchers or ():
            try:
                watcher()
            except RuntimeError:
                pass  # it waited in an event loop of the model's, which has been closed

    def watch(self, watcher: Callable[[], None]) -> None:
        """Calls watcher once when the call is cancelled: at once if it already is."""
        with _watching:
            if not self.reason:
                if self._watchers is None:
                    self._watchers = []
                self._watchers.append(watcher)
                return
        watcher()

    def unwatch(self, watcher: Callable[[], None]) -> None:
        with _watching:
            if self._watchers is not None and watcher in self._watchers:
                self._watchers.remove(watcher)

    def release(self) -> None:
        """The call is over: lets go of what it holds, and of what holds it."""
        self.drop_body()
        self.inputs = self.task = self.credit = self.socket = self._request = None
        self.context = None
        with _watching:
            self._watchers = None

    def drop_body(self) -> None:
        body, self.body = self.body, None
        if type(body) is DescriptorBody:
            body.close()


_watching = threading.Lock()


def _make_request(call: Call) -> Any:
    from . import request_objects  # which knows calls itself

    return request_objects.make_request(call)
