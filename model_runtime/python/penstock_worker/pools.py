"""Threads for the synchronous stages that are not predict."""

from __future__ import annotations

import threading
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Callable

from . import anyio_threads
from .errors import own_mistake


class Pool:
    """Runs jobs in the order of their submission on at most `size` threads, started when needed and
    kept. submit() is for any thread, never waits, and returns whether a thread begins with the job
    at once. A job runs in a copy of its submitter's contextvars, and must not raise."""

    def __init__(self, name: str, size: int):
        self._name = name
        self._size = size
        self._jobs: SimpleQueue = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0  # threads that wait for a job, less the jobs on their way to them

    def submit(self, job: Callable[..., None], *arguments: Any) -> bool:
        with self._lock:
            self._free -= 1
            free = self._free >= 0
            start = not free and self._threads < self._size
            if start:
                self._threads += 1
                self._free += 1
        self._jobs.put((copy_context(), job, arguments))
        if start:
            threading.Thread(target=self._run, name=f"{self._name}", daemon=True).start()
        return free or start

    def _run(self) -> None:
        anyio_threads.join()
        while True:
            context, job, arguments = self._jobs.get()
            try:
                context.run(job, *arguments)
            except BaseException as error:
                own_mistake(error)
            context = job = arguments = None
            with self._lock:
                self._free += 1
