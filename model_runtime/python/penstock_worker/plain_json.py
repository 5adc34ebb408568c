"""JSON that every parser reads, of values whose text is the model's or a client's.

What JSON cannot carry is replaced: a lone surrogate by its escape, NaN and infinity by null, a date
by its ISO form, any other object by its text, and what is nested too deep by its absence.
"""

from __future__ import annotations

import json
import math
from typing import Any

_MOST_DEPTH = 64
_LARGEST_INTEGER = 1 << 64

_encode_strictly = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def encode(value: Any) -> bytes:
    try:
        return _encode_strictly(value).encode()
    except Exception:
        return _encode_strictly(_plain(value, _MOST_DEPTH)).encode()


def clean(text: str) -> str:
    """text as UTF-8 can carry it."""
    return text.encode("utf-8", "backslashreplace").decode()


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _LARGEST_INTEGER else _text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return clean(value)
    if depth == 0:
        return None
    if isinstance(value, dict):
        return {_text(key): _plain(each, depth - 1) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each, depth - 1) for each in value]
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return clean(value)
    try:
        return clean(value.isoformat() if hasattr(value, "isoformat") else str(value))
    except Exception:
        return type(value).__name__
