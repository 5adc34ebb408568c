"""How this process's C library keeps memory."""

from __future__ import annotations

import os

_M_ARENA_MAX = -8  # glibc's malloc.h


def use_one_arena() -> None:
    """All threads allocate from one arena, so that what a large body leaves free serves the next
    one, whichever thread reads it. With one for each thread a worker grows to twice its size. A
    user's own setting holds. Before the first thread."""
    if "MALLOC_ARENA_MAX" in os.environ or "arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (ImportError, OSError, AttributeError):
        pass  # a C library that has no arenas
