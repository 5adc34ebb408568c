"""What a stage returned: a value, or something that has to be run to become one."""

from __future__ import annotations

import inspect
from types import GeneratorType
from typing import Any

from . import responses

PLAIN = frozenset((dict, list, str, bytes, int, float, bool, type(None)))

VALUE, GENERATOR, ASYNC_GENERATOR, AWAITABLE, STREAMING = range(5)
# Those that only the event loop can run.
FOR_LOOP = frozenset((ASYNC_GENERATOR, AWAITABLE, STREAMING))

_SMALL_TEXT = 4096
_SMALL_NODES = 64


def shape_of(result: Any) -> int:
    """May run code of the model's, for a proxy is what it stands for: raises what that raises."""
    kind = type(result)
    if kind in PLAIN:
        return VALUE
    if kind is GeneratorType:
        return GENERATOR
    if inspect.isasyncgen(result):
        return ASYNC_GENERATOR
    if inspect.isawaitable(result):
        return AWAITABLE
    return STREAMING if responses.is_streaming(result) else VALUE


def is_small(value: Any) -> bool:
    """Whether encoding value costs less than handing it to another thread."""
    try:
        return _weigh(value, _SMALL_NODES) > 0
    except RuntimeError:  # another thread changes it
        return False


def _weigh(value: Any, left: int) -> int:
    kind = type(value)
    if kind is str or kind is bytes:
        return left - 1 if len(value) <= _SMALL_TEXT else 0
    if kind is dict:
        value = value.values()
    elif kind is not list and kind is not tuple:
        return left - 1 if kind in (int, float, bool, type(None)) else 0
    left -= 1 + len(value)
    for each in value:
        if left <= 0:
            return 0
        if type(each) not in (int, float, bool):
            left = _weigh(each, left)
    return left
