"""Values that msgpack has no type for, as maps: dates, Decimal and UUID as Truss packs them,
numpy's arrays and scalars as msgpack-numpy does. Pickled arrays (dtype object) are refused both
ways."""

from __future__ import annotations

import sys
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Callable, Dict, Optional, Tuple


def to_map(value: Any) -> Any:
    """The map of a value that msgpack cannot pack; raises TypeError if there is none."""
    if isinstance(value, datetime):
        text = value.isoformat()
        return {
            b"__dt_datetime_iso__": True,
            b"data": text[:-6] + "Z" if text.endswith("+00:00") else text,
        }
    if isinstance(value, date):
        return {b"__dt_date_iso__": True, b"data": value.isoformat()}
    if isinstance(value, time):
        if value.utcoffset() is not None:
            raise ValueError("a time of day with a time zone cannot be packed")
        return {b"__dt_time_iso__": True, b"data": value.isoformat()}
    if isinstance(value, timedelta):
        return {b"__dt_timedelta__": True, b"data": (value.days, value.seconds, value.microseconds)}
    if isinstance(value, Decimal):
        return {b"__decimal__": True, b"data": str(value)}
    if isinstance(value, uuid.UUID):
        return {b"__uuid__": True, b"data": str(value)}
    return _numpy_to_map(value)


def extension_of(value: Any) -> Optional[Tuple[int, bytes]]:
    """Type and bytes of what msgpack itself has as an extension: ExtType, Timestamp."""
    msgpack = sys.modules.get("msgpack")
    if msgpack is not None:
        if isinstance(value, msgpack.ExtType):
            return value.code, value.data
        if isinstance(value, msgpack.Timestamp):
            return -1, value.to_bytes()
    return None


def _numpy_to_map(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            if value.dtype.hasobject:
                raise TypeError("a numpy array of Python objects cannot be packed")
            structured = value.dtype.kind == "V"
            return {
                b"nd": True,
                b"type": value.dtype.descr if structured else value.dtype.str,
                b"kind": b"V" if structured else b"",
                b"shape": value.shape,
                # Of a masked array the data, without the mask.
                b"data": _array_data(numpy.asarray(value)),
            }
        if isinstance(value, (numpy.bool_, numpy.number)):
            return {b"nd": False, b"type": value.dtype.str, b"data": value.tobytes()}
    if isinstance(value, complex):
        return {b"complex": True, b"data": repr(value)}
    raise TypeError(f"can not serialize {type(value).__name__!r} object")


def _array_data(array: Any) -> Any:
    """The array's bytes in C order, without a copy where that is possible."""
    if array.flags.c_contiguous and array.size:
        try:
            return array.data.cast("B")
        except (ValueError, TypeError):
            pass  # a dtype that the buffer protocol lacks
    return array.tobytes()


def _datetime(text: str) -> datetime:
    # Before 3.11 Python does not read the Z that to_map() writes.
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)


def _timedelta(parts: Any) -> timedelta:
    days, seconds, microseconds = parts
    return timedelta(days=days, seconds=seconds, microseconds=microseconds)


_READERS: Dict[bytes, Callable[[Any], Any]] = {
    b"__dt_datetime_iso__": _datetime,
    b"__dt_date_iso__": date.fromisoformat,
    b"__dt_time_iso__": time.fromisoformat,
    b"__dt_timedelta__": _timedelta,
    b"__decimal__": Decimal,
    b"__uuid__": uuid.UUID,
}


def from_map(packed: dict) -> Any:
    """The value that to_map() made this map of, or the map itself."""
    if b"nd" in packed and b"data" in packed and b"type" in packed:
        return _numpy_from_map(packed)
    if b"data" in packed:
        for key, read in _READERS.items():
            if key in packed:
                return read(packed[b"data"])
        if b"complex" in packed:
            return complex(packed[b"data"])
    return packed


def _numpy_from_map(packed: dict) -> Any:
    try:
        import numpy
    except ImportError:
        raise ValueError("a numpy array, but numpy is not installed") from None
    dtype = numpy.dtype(_description(packed[b"type"]))
    if dtype.hasobject:
        raise ValueError("a numpy array of Python objects, which is not accepted")
    if packed[b"nd"] is True:
        shape = tuple(packed[b"shape"])
        if any(size < 0 for size in shape):
            raise ValueError("a numpy array of negative size")
        return numpy.ndarray(buffer=packed[b"data"], dtype=dtype, shape=shape)
    return numpy.frombuffer(packed[b"data"], dtype=dtype)[0]


def _description(description: Any) -> Any:
    """A dtype as numpy takes it: text, or a list of (name, dtype, shape…)."""
    if isinstance(description, bytes):
        return description.decode()
    if isinstance(description, (list, tuple)):
        return [
            (_text(field[0]), _description(field[1])) + tuple(map(_shape, field[2:]))
            for field in description
        ]
    return description


def _text(name: Any) -> Any:
    return name.decode() if isinstance(name, bytes) else name


def _shape(shape: Any) -> Any:
    return tuple(shape) if isinstance(shape, list) else shape
