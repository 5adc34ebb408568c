"""Python values to msgpack, without the msgpack package."""

from __future__ import annotations

from struct import Struct
from typing import Any, List

from .msgpack_reader import BudgetSpent
from .msgpack_values import extension_of, to_map

_APART_BYTES = 16 * 1024
_MOST_DEPTH = 512
_DOUBLE = Struct(">Bd")
_INTEGERS = (  # (from, to, form, tag)
    (0, 0xFF, Struct(">BB"), 0xCC),
    (0, 0xFFFF, Struct(">BH"), 0xCD),
    (0, 0xFFFFFFFF, Struct(">BI"), 0xCE),
    (0, 0xFFFFFFFFFFFFFFFF, Struct(">BQ"), 0xCF),
    (-0x80, -1, Struct(">Bb"), 0xD0),
    (-0x8000, -1, Struct(">Bh"), 0xD1),
    (-0x80000000, -1, Struct(">Bi"), 0xD2),
    (-0x8000000000000000, -1, Struct(">Bq"), 0xD3),
)


class Writer:
    """write() gives the value's bytes as a list of buffers, large ones not copied. budget bounds
    the number of objects, 0 does not."""

    def __init__(self, budget: int = 0):
        self._left = budget or -1
        self._pieces: List[Any] = []
        self._small = bytearray()

    def write(self, value: Any) -> List[Any]:
        self._value(value, 0)
        self._flush()
        return self._pieces

    def _flush(self) -> None:
        if self._small:
            self._pieces.append(self._small)
            self._small = bytearray()

    def _value(self, value: Any, depth: int) -> None:
        if self._left == 0:
            raise BudgetSpent
        self._left -= 1
        small = self._small
        if value is None:
            small.append(0xC0)
        elif value is True or value is False:
            small.append(0xC3 if value else 0xC2)
        elif isinstance(value, int):
            self._integer(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self._binary(value)
        elif isinstance(value, str):
            data = value.encode()
            if len(data) < 32:
                small.append(0xA0 | len(data))
            else:
                self._length(len(data), (0xD9, 0xDA, 0xDB))
            self._append(data)
        elif isinstance(value, float):
            small += _DOUBLE.pack(0xCB, value)
        else:
            self._container(value, depth)

    def _container(self, value: Any, depth: int) -> None:
        if depth >= _MOST_DEPTH:
            raise ValueError("nested too deep")
        extension = extension_of(value)
        if extension is not None:
            self._extension(*extension)
        elif isinstance(value, dict):
            self._count(len(value), 0x80, (None, 0xDE, 0xDF))
            for key, each in value.items():
                self._value(key, depth + 1)
                self._value(each, depth + 1)
        elif isinstance(value, (list, tuple)):
            self._count(len(value), 0x90, (None, 0xDC, 0xDD))
            for each in value:
                self._value(each, depth + 1)
        else:
            self._value(to_map(value), depth + 1)

    def _integer(self, value: int) -> None:
        if -32 <= value < 128:
            self._small.append(value & 0xFF)
            return
        for low, high, form, tag in _INTEGERS:
            if low <= value <= high:
                self._small += form.pack(tag, value)
                return
        raise OverflowError("an integer of more than 64 bits")

    def _binary(self, value: Any) -> None:
        data = value if type(value) is bytes else memoryview(value).cast("B")
        self._length(len(data), (0xC4, 0xC5, 0xC6))
        self._append(data)

    def _extension(self, kind: int, data: bytes) -> None:
        if len(data) in (1, 2, 4, 8, 16):
            self._small.append(0xD3 + len(data).bit_length())
        else:
            self._length(len(data), (0xC7, 0xC8, 0xC9))
        self._small.append(kind & 0xFF)
        self._append(data)

    def _count(self, count: int, tag: int, tags: tuple) -> None:
        if count < 16:
            self._small.append(tag | count)
        else:
            self._length(count, tags)

    def _length(self, length: int, tags: tuple) -> None:
        if length <= 0xFF and tags[0] is not None:
            self._small += bytes((tags[0], length))
        elif length <= 0xFFFF:
            self._small += bytes((tags[1],)) + length.to_bytes(2, "big")
        elif length <= 0xFFFFFFFF:
            self._small += bytes((tags[2],)) + length.to_bytes(4, "big")
        else:
            raise ValueError("longer than msgpack can say")

    def _append(self, data: Any) -> None:
        if len(data) < _APART_BYTES:
            self._small += data
        else:
            self._flush()
            self._pieces.append(data)
