"""The one event loop, on its own thread, that runs everything asynchronous of the model."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable, Coroutine, Optional, Set

from .call import Call
from .errors import own_mistake


class EventLoop:
    """Started when first used. call() and spawn() are for any thread. What they run has a copy of
    the caller's contextvars, as have tasks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._tasks: Set[asyncio.Task] = set()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = asyncio.new_event_loop()
                    threading.Thread(
                        target=self._run, args=(loop,), name="event-loop", daemon=True
                    ).start()
                    self._loop = loop
        return self._loop

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Runs function on the loop, soon."""
        self.loop.call_soon_threadsafe(function, *arguments)

    def spawn(self, coroutine: Coroutine) -> None:
        """Runs the coroutine as a task of the loop."""
        self.call(self._spawn, coroutine)

    def create_task(self, coroutine: Coroutine) -> asyncio.Task:
        """spawn() for the loop's own thread. The loop keeps only weak references to its tasks."""
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            own_mistake(error)

    def _spawn(self, coroutine: Coroutine) -> None:
        self.create_task(coroutine)

    def cancel_with(self, call: Call, task: asyncio.Task) -> None:
        """Cancels the task when the call is cancelled; on the loop's own thread."""

        def cancel() -> None:
            self.call(task.cancel)

        call.watch(cancel)
        task.add_done_callback(lambda _: call.unwatch(cancel))

    def wait_for(self, coroutine: Coroutine, seconds: Optional[float] = None) -> Any:
        """Runs the coroutine on the loop and waits for its result; not for the loop's own
        thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                # A task of the model's own called sys.exit; that ends the task, not the worker.
                continue
