"""Asks the model whether it is healthy."""

from __future__ import annotations

from typing import Any, Optional

from . import frames
from .arguments import Method
from .channel import Channel
from .errors import describe
from .event_loop import EventLoop
from .journal import Journal
from .pools import Pool


class Health:
    """Answers HEALTH: by the truth of what is_healthy returns; an exception is not healthy. A sync
    is_healthy runs on a thread of its own, one question at a time."""

    def __init__(
        self, method: Optional[Method], channel: Channel, loop: EventLoop, journal: Journal
    ):
        self._method = method
        self._channel = channel
        self._loop = loop
        self._journal = journal
        self._pool = Pool("health", 1)

    def ask(self, number: int) -> None:
        if self._method is None:
            self._channel.send(frames.healthy(number, True))
        elif self._method.is_async:
            self._loop.spawn(self._ask_async(number))
        else:
            self._pool.submit(self._ask_sync, number)

    def _ask_sync(self, number: int) -> None:
        try:
            result = self._method.function()
            if hasattr(result, "__await__"):
                result = self._loop.wait_for(result)
            healthy = bool(result)
        except BaseException as error:
            healthy = self._failed(error)
        self._channel.send(frames.healthy(number, healthy))

    async def _ask_async(self, number: int) -> None:
        try:
            healthy = bool(await self._method.function())
        except BaseException as error:
            healthy = self._failed(error)
        self._channel.send(frames.healthy(number, healthy))

    def _failed(self, error: Any) -> bool:
        self._journal.failure(f"is_healthy raised {describe(error)}", error)
        return False
