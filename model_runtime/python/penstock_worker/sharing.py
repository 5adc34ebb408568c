"""Whether predict lets other threads run."""

from __future__ import annotations

import sys

_PROBES = 8
_SETTLED = 256
_FIRST_PAUSE = 16
_LONGEST_PAUSE = 4096
# Who does not get the interpreter sooner has to have it taken from its holder.
_LATE_NS = int(sys.getswitchinterval() * 1e9) // 2


class Sharing:
    """A predict that waits, or computes outside the interpreter, shares it; one that holds the GIL
    throughout does not, and work that was left to another thread would wait for its end.

    Learned from how long another thread took to run beside predict. Trusted are those where a few
    probes, on which nothing depends, came through in time; whatever comes too late ends the trust
    for a number of calls, which doubles each time. For any thread; a count that is lost does no
    harm.
    """

    __slots__ = ("trusted", "_in_time", "_pause", "_next_pause")

    def __init__(self) -> None:
        self.trusted = False
        self._in_time = 0
        self._pause = 0
        self._next_pause = _FIRST_PAUSE

    def wants_probe(self) -> bool:
        """Of one that is not trusted, once a call."""
        if self._pause:
            self._pause -= 1
            return False
        return True

    def waited(self, nanoseconds: int) -> None:
        """So long it took another thread to run."""
        if nanoseconds > _LATE_NS:
            self.held_up()
            return
        self._in_time += 1
        if self._in_time >= _PROBES:
            self.trusted = True
        if self._in_time >= _SETTLED:
            self._next_pause = _FIRST_PAUSE

    def held_up(self) -> None:
        """Another thread could not run at all, or late."""
        self.trusted = False
        self._in_time = 0
        self._pause = self._next_pause
        self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)
