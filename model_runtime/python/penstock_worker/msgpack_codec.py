"""msgpack, by the msgpack package where it is installed and faster, else by our own code."""

from __future__ import annotations

from typing import Any, List

from .msgpack_reader import BudgetSpent, Reader
from .msgpack_values import from_map, to_map
from .msgpack_writer import Writer

try:
    import msgpack
except ImportError:
    msgpack = None

# A body of few objects is read and written without copying its arrays by our own code; for many
# objects the package is far faster.
_FEW_OBJECTS = 256
_LARGE_BYTES = 64 * 1024


def unpack(data: Any) -> Any:
    """Raises some exception if data is not one msgpack value."""
    if msgpack is None:
        return Reader(data).read()
    if len(data) >= _LARGE_BYTES:
        try:
            return Reader(data, _FEW_OBJECTS).read()
        except BudgetSpent:
            pass
    try:
        return msgpack.unpackb(data, object_hook=from_map)
    except (msgpack.FormatError, msgpack.StackError) as error:
        # These two say nothing.
        deep = isinstance(error, msgpack.StackError)
        raise ValueError("nested too deep" if deep else "a byte that begins no value") from None


def pack(value: Any) -> List[Any]:
    """The value as a list of buffers, which may be the value's own memory."""
    if msgpack is None:
        return Writer().write(value)
    try:
        return Writer(_FEW_OBJECTS).write(value)
    except BudgetSpent:
        return [msgpack.packb(value, default=to_map)]
