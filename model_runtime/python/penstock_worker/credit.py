"""How much of a response is under way."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from .call import Call


class Credit:
    """At most `bound` bytes of a call are under way that the sidecar has not credited; one message
    larger than that goes alone. take() is for a thread, take_async() for the loop; both are False,
    at once, when the call has been cancelled. credit() is for the reader."""

    def __init__(self, call: Call, bound: int):
        self._call = call
        self._bound = bound
        self._under_way = 0
        self._changed = threading.Condition(threading.Lock())
        self._waiters: list = []
        call.credit = self
        call.watch(self._wake)

    def credit(self, size: int) -> None:
        with self._changed:
            self._under_way -= size
        self._wake()

    def _wake(self) -> None:
        with self._changed:
            waiters, self._waiters = self._waiters, []
            self._changed.notify_all()
        for waiter in waiters:
            wake(waiter)

    def _fits(self, size: int) -> bool:
        if self._under_way and self._under_way + size > self._bound:
            return False
        self._under_way += size
        return True

    def take(self, size: int) -> bool:
        with self._changed:
            while not self._call.reason and not self._fits(size):
                self._changed.wait()
        return not self._call.reason

    async def take_async(self, size: int) -> bool:
        while not self._call.reason:
            with self._changed:
                if self._fits(size):
                    break
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
            await waiter
        return not self._call.reason


def wake(waiter: Any) -> None:
    """Lets the task go on that awaits this future; for any thread."""
    try:
        waiter.get_loop().call_soon_threadsafe(_resolve, waiter)
    except RuntimeError:
        pass  # an event loop of the model's, which has been closed


def _resolve(waiter: Any) -> None:
    if not waiter.done():
        waiter.set_result(None)
