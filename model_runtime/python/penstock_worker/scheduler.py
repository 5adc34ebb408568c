"""Who runs predict, and when."""

from __future__ import annotations

import threading
from collections import deque
from typing import Callable, Deque, List, Optional

from . import frames
from .call import AFTER, ALLOWED, OVER, PREPARED, PREPARING, RUNNING, WAITING, Call


class Scheduler:
    """The allowed calls, in the order in which they were allowed, and a count of those in predict.

    Promise: calls start in that order, one as soon as fewer than `limit` run, never more than
    `limit` at a time; STARTED and ENDED are put in the order of what happened. A runner takes calls
    of its own kind: lane threads (at most `limit`, started when needed) the synchronous ones, the
    event loop the asynchronous ones. The runner that ends a call takes the next one in the same
    breath. All decisions are made under `lock`; the functions that were given are called under it
    and must neither wait nor take it, but for start_lane and wake_loop, which are called outside.
    """

    def __init__(
        self,
        limit: int,
        put: Callable[[frames.Frame], None],
        clock: Callable[[], int],
        start_lane: Callable[[], None],
        wake_loop: Callable[[], None],
        expired: Callable[[Call], None],
    ):
        self.lock = threading.Lock()
        self._limit = limit
        self._put = put
        self._clock = clock
        self._start_lane = start_lane
        self._wake_loop = wake_loop
        self._expired = expired
        self._allowed: Deque[Call] = deque()
        self._running = 0
        self._lanes = 0
        self._idle: List[Callable[[], None]] = []

    def allow(self, call: Call, quietly: bool = False) -> None:
        """PREDICT, or INVOKE with GO. quietly: wakes nobody, for the caller is about to take()."""
        with self.lock:
            if call.state != PREPARED and call.state != WAITING:
                return
            call.state = ALLOWED
            self._allowed.append(call)
            wake = None if quietly else self._next_runner()
        if wake is not None:
            wake()

    def take(self, asynchronous: bool, idle: Optional[Callable[[], None]] = None) -> Optional[Call]:
        """The next call for a runner that has none. If there is none, `idle` wakes the runner
        later."""
        with self.lock:
            call = self._take(asynchronous)
            if call is None and idle is not None:
                self._idle.append(idle)
            wake = self._next_runner()
        if wake is not None:
            wake()
        return call

    def switch(self, ended: Call, when: int, asynchronous: bool) -> Optional[Call]:
        """`ended` left predict at `when`; the next call for the runner that ran it."""
        with self.lock:
            ended.state = AFTER
            self._running -= 1
            self._put(frames.ended(ended.id, when))
            call = self._take(asynchronous)
            wake = None
            if self._allowed and self._running < self._limit:
                wake = self._next_runner()
        if wake is not None:
            wake()
        return call

    def prepare(self, call: Call) -> bool:
        """Preprocess is about to begin; False if the call has been taken back."""
        with self.lock:
            if call.state != WAITING:
                return False
            call.state = PREPARING
            return True

    def prepared(self, call: Call, begin: int, end: int) -> bool:
        """Preprocess is over: says READY. False, and no frame, if the call has been cancelled."""
        with self.lock:
            if call.reason:
                return False
            call.state = PREPARED
            self._put(frames.ready(call.id, begin, end))
            return True

    def take_back(self, call: Call) -> bool:
        """CANCEL. True: the call will not run, and the caller says DONE for it. False: it is under
        way."""
        with self.lock:
            if call.state not in (WAITING, PREPARED, ALLOWED):
                return False
            call.state = OVER
            self._drop_taken_back()
            return True

    def _take(self, asynchronous: bool) -> Optional[Call]:
        allowed = self._allowed
        while allowed and self._running < self._limit:
            call = allowed[0]
            if call.state != ALLOWED:
                allowed.popleft()
                continue
            now = self._clock()
            if call.deadline and call.deadline <= now:
                allowed.popleft()
                call.state = OVER
                self._expired(call)
                continue
            if call.asynchronous is not asynchronous:
                return None
            allowed.popleft()
            call.state = RUNNING
            self._running += 1
            started = call.started
            started.begins(now)
            self._put(started)
            return call
        return None

    def _next_runner(self) -> Optional[Callable[[], None]]:
        """What wakes the runner that can start the head now, if it is not on its way already."""
        if not self._allowed or self._running >= self._limit:
            return None
        if self._allowed[0].asynchronous:
            return self._wake_loop
        if self._idle:
            return self._idle.pop()
        if self._lanes < self._limit:
            self._lanes += 1
            return self._start_lane
        return None

    def _drop_taken_back(self) -> None:
        while self._allowed and self._allowed[0].state != ALLOWED:
            self._allowed.popleft()
