"""msgpack to Python values, without the msgpack package. A large array is a view of the body."""

from __future__ import annotations

from struct import Struct
from typing import Any, Callable, Dict, Tuple

from .msgpack_values import from_map

_VIEW_BYTES = 64 * 1024
_MOST_DEPTH = 512
_U8, _U16, _U32, _U64 = Struct(">B"), Struct(">H"), Struct(">I"), Struct(">Q")
_NUMBERS: Dict[int, Struct] = {
    0xCA: Struct(">f"),
    0xCB: Struct(">d"),
    0xCC: _U8,
    0xCD: _U16,
    0xCE: _U32,
    0xCF: _U64,
    0xD0: Struct(">b"),
    0xD1: Struct(">h"),
    0xD2: Struct(">i"),
    0xD3: Struct(">q"),
}
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_LENGTHS: Dict[int, Tuple[str, Struct]] = {
    0xC4: ("bin", _U8),
    0xC5: ("bin", _U16),
    0xC6: ("bin", _U32),
    0xC7: ("ext", _U8),
    0xC8: ("ext", _U16),
    0xC9: ("ext", _U32),
    0xD9: ("str", _U8),
    0xDA: ("str", _U16),
    0xDB: ("str", _U32),
    0xDC: ("array", _U16),
    0xDD: ("array", _U32),
    0xDE: ("map", _U16),
    0xDF: ("map", _U32),
}


class BudgetSpent(Exception):
    """There are more objects than this reader was to read."""


class Reader:
    """Reads one value. budget bounds the number of objects, 0 does not."""

    def __init__(self, data: Any, budget: int = 0):
        self._data = memoryview(data)
        self._at = 0
        self._left = budget or -1

    def read(self) -> Any:
        value = _settled(self._value(0))
        if self._at != len(self._data):
            raise ValueError("there are bytes after the value")
        return value

    def _take(self, size: int) -> memoryview:
        begin, end = self._at, self._at + size
        if end > len(self._data):
            raise ValueError("the value is cut short")
        self._at = end
        return self._data[begin:end]

    def _number(self, form: Struct) -> Any:
        return form.unpack(self._take(form.size))[0]

    def _value(self, depth: int) -> Any:
        if self._left == 0:
            raise BudgetSpent
        self._left -= 1
        tag = self._take(1)[0]
        if tag < 0x80:
            return tag
        if tag >= 0xE0:
            return tag - 256
        if tag < 0x90:
            return self._map(tag & 15, depth)
        if tag < 0xA0:
            return self._array(tag & 15, depth)
        if tag < 0xC0:
            return self._str(tag & 31, depth)
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _NUMBERS:
            return self._number(_NUMBERS[tag])
        if tag in _LENGTHS:
            kind, form = _LENGTHS[tag]
            return _KINDS[kind](self, self._number(form), depth)
        if 0xD4 <= tag <= 0xD8:
            return self._ext(1 << (tag - 0xD4), depth)
        raise ValueError(f"0x{tag:02x} begins no value")

    def _str(self, size: int, _: int) -> str:
        return str(self._take(size), "utf-8")

    def _bin(self, size: int, _: int) -> Any:
        data = self._take(size)
        return data if size >= _VIEW_BYTES else bytes(data)

    def _ext(self, size: int, _: int) -> Any:
        kind = self._number(_NUMBERS[0xD0])
        data = bytes(self._take(size))
        try:
            from msgpack import ExtType, Timestamp
        except ImportError:
            raise ValueError("an extension type, but msgpack is not installed") from None
        return Timestamp.from_bytes(data) if kind == -1 else ExtType(kind, data)

    def _array(self, count: int, depth: int) -> list:
        self._check(count, depth)
        return [_settled(self._value(depth + 1)) for _ in range(count)]

    def _map(self, count: int, depth: int) -> Any:
        self._check(2 * count, depth)
        found: Dict[Any, Any] = {}
        for _ in range(count):
            key = _settled(self._value(depth + 1))
            if not isinstance(key, (str, bytes)):
                raise ValueError(f"a key of a map is a {type(key).__name__}")
            value = self._value(depth + 1)
            found[key] = value if key == b"data" else _settled(value)
        made = from_map(found)
        if made is found and b"data" in found:
            found[b"data"] = _settled(found[b"data"])
        return made

    def _check(self, count: int, depth: int) -> None:
        if count > len(self._data) - self._at:
            raise ValueError("the value is cut short")
        if depth >= _MOST_DEPTH:
            raise ValueError("nested too deep")


# Not in the reader: bound methods there would be a cycle, which keeps the body alive.
_KINDS: Dict[str, Callable[[Reader, int, int], Any]] = {
    "bin": Reader._bin,
    "ext": Reader._ext,
    "str": Reader._str,
    "array": Reader._array,
    "map": Reader._map,
}


def _settled(value: Any) -> Any:
    return bytes(value) if type(value) is memoryview else value
