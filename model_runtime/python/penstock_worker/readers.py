"""Who reads the socket."""

from __future__ import annotations

import threading
import time
from typing import Callable

from .channel import Channel

_PERIOD_SECONDS = 0.002
_QUIET_PERIODS = 25


class Readers:
    """Two threads in two roles. The reader waits for frames, and when `due` is set after it has
    handled some, it runs `work` itself: to hand a predict of microseconds to another thread costs
    more than the predict. The watcher, awake only while such work goes on, notices work that takes
    longer than a period or two: it flushes what waits to be written and becomes the reader; the one
    that is stuck becomes the watcher when it gets free. `due` may be set while `may_work` is true,
    by the reader's thread. run() is for one of the two threads, and does not return."""

    def __init__(
        self,
        channel: Channel,
        handle: Callable[[int, int, int, bytes], None],
        failed: Callable[[BaseException], None],
    ):
        self._channel = channel
        self._handle = handle
        self._failed = failed
        self._lock = threading.Lock()
        self._reign = (
            0  # counts the changes of reader: each knows by it whether it still is the reader
        )
        self._turn = 0  # odd while work runs; never the same again
        self._alarm = threading.Event()
        self._awake = False
        self._two = False
        self.may_work = True  # there is a watcher
        self.due = False
        self.work: Callable[[], None] = lambda: None

    def run(self) -> None:
        try:
            self._read(0)
            self._alternate()
        except BaseException as error:
            self._failed(error)

    def _alternate(self) -> None:
        try:
            while True:
                self._read(self._watch())
        except BaseException as error:
            self._failed(error)

    def _read(self, reign: int) -> None:
        """Returns when the other thread has become the reader."""
        receive, handle = self._channel.receive, self._handle
        while True:
            receive(handle)
            if self.due:
                self.due = False
                self._turn += 1
                if not self._awake:
                    self._wake_watcher()
                self.work()
                with self._lock:
                    if self._reign != reign:
                        return
                    self._turn += 1

    def _wake_watcher(self) -> None:
        self._awake = True
        self._alarm.set()
        if not self._two:
            self._two = True
            threading.Thread(target=self._alternate, name="reader-2", daemon=True).start()

    def _watch(self) -> int:
        """Returns when this thread has become the reader, with the number of its reign."""
        self.may_work = True
        while True:
            self._alarm.wait()
            self._alarm.clear()
            seen, quiet = self._turn, 0
            while quiet < _QUIET_PERIODS or self._turn & 1:
                time.sleep(_PERIOD_SECONDS)
                quiet = quiet + 1 if self._turn == seen else 0
                if quiet and seen & 1 and self._take_over(seen):
                    return self._reign
                seen = self._turn
            self._awake = False
            if self._turn != seen:  # work began, and found the watcher awake
                self._awake = True
                self._alarm.set()

    def _take_over(self, turn: int) -> bool:
        with self._lock:
            if self._turn != turn:
                return False
            self._turn += 1
            self._reign += 1
            self._awake = self.may_work = False
        self._channel.flush()
        return True
