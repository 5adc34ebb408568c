"""Waiting for conditions. Nothing in these tests sleeps for a span and hopes.

PENSTOCK_TEST_SLOWNESS stretches every bound (sanitizer builds, loaded machines); it never changes
what is asserted.
"""

import os
import time

SLOWNESS = float(os.environ.get("PENSTOCK_TEST_SLOWNESS", "1"))

# How long a test waits for what must come. It costs nothing where it comes: a busy machine may be late.
PATIENCE_S = 30


def patience(seconds):
    """A bound on how long to wait for something that should come."""
    return seconds * SLOWNESS


def eventually(condition, what="", timeout=PATIENCE_S):
    """Waits until condition() is true and returns its value; fails after `timeout` (stretched)."""
    deadline = time.monotonic() + patience(timeout)
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            name = what or getattr(condition, "__doc__", None) or "the condition"
            raise AssertionError(f"not within {patience(timeout):g} s: {name} (last: {value!r})")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


def equals(read, expected, what="", timeout=PATIENCE_S):
    """Waits until read() gives `expected`; the failure shows what it gave instead."""
    last = []

    def reached():
        last[:] = [read()]
        return last[0] == expected

    try:
        eventually(reached, what, timeout)
    except AssertionError as error:
        raise AssertionError(f"{error}: expected {expected!r}, last saw {last[0]!r}") from None


def settled(read, times=20, timeout=PATIENCE_S):
    """Waits until read() gives the same so many times in a row, 10 ms apart, and returns it."""
    seen = []

    def same():
        seen.append(read())
        time.sleep(0.01)
        return len(seen) >= times and len(set(seen[-times:])) == 1

    eventually(same, "it stays the same", timeout)
    return seen[-1]
