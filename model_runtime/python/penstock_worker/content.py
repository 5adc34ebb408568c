"""Bodies to Python values and back: JSON here, msgpack in msgpack_codec.

JSON: invalid UTF-8, bad syntax and nesting too deep are ContentError; of duplicate keys the last
one wins. NaN and infinity, which JSON does not have, become null in an answer, as in pydantic and
in JavaScript's JSON.stringify; in a request Python's NaN and Infinity are read as Python does.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any, Tuple

from . import msgpack_codec
from .body import Body, body_buffer
from .errors import ContentError, EncodeError

JSON_HEADERS = b'[["content-type","application/json"]]'
BINARY_HEADERS = b'[["content-type","application/octet-stream"]]'

_decode_text = json.JSONDecoder().decode


def decode(body: Body, binary: bool) -> Any:
    return decode_msgpack(body) if binary else decode_json(body)


def decode_json(body: Body) -> Any:
    data = body if type(body) is bytes else body_buffer(body)
    try:
        return _decode_text(str(data, "utf-8"))
    except UnicodeDecodeError as error:
        return _decode_other_unicode(bytes(data), f"Invalid JSON payload: {error}")
    except RecursionError:
        raise ContentError("Invalid JSON payload: nested too deep") from None
    except ValueError as error:
        return _decode_other_unicode(bytes(data), f"Invalid JSON payload: {error}")


def _decode_other_unicode(data: bytes, message: str) -> Any:
    """Python's json takes UTF-16, UTF-32 and a byte order mark too, so Truss does."""
    encoding = json.detect_encoding(data)
    if encoding == "utf-8":
        raise ContentError(message)
    try:
        return _decode_text(str(data, encoding))
    except (ValueError, RecursionError) as error:
        raise ContentError(f"Invalid JSON payload: {error}") from None


def decode_msgpack(body: Body) -> Any:
    data = body_buffer(body)
    try:
        return msgpack_codec.unpack(data)
    except RecursionError:
        raise ContentError("Invalid msgpack payload: nested too deep") from None
    except Exception as error:
        raise ContentError(f"Invalid msgpack payload: {error}") from None


def _default(value: Any) -> Any:
    """numpy's scalars and arrays in JSON."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return value.tolist()
        if isinstance(value, (numpy.integer, numpy.floating, numpy.bool_)):
            return value.item()
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_encode_strictly = json.JSONEncoder(allow_nan=False, default=_default).encode


def encode_json(value: Any) -> bytes:
    try:
        return _encode_strictly(value).encode()
    except RecursionError:
        raise EncodeError("Unhandled exception: RecursionError: nested too deep") from None
    except ValueError:
        pass
    except TypeError as error:
        raise EncodeError(f"Unhandled exception: TypeError: {error}") from None
    try:
        return _encode_strictly(_finite(value)).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise EncodeError(f"Unhandled exception: {type(error).__name__}: {error}") from None


def _finite(value: Any) -> Any:
    """value with null in place of NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_finite_key(key): _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return _finite(_default(value))


def _finite_key(key: Any) -> Any:
    return str(key) if isinstance(key, float) and not math.isfinite(key) else key


def _is_pydantic(value: Any) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(value, pydantic.BaseModel)


def _encode_pydantic(value: Any) -> bytes:
    if hasattr(value, "model_dump_json"):
        return value.model_dump_json().encode()
    try:
        return value.json(allow_nan=False).encode()
    except ValueError:
        return encode_json(json.loads(value.json()))


def encode(value: Any, binary: bool) -> Tuple[bytes, Any]:
    """(headers, body) of the answer; a body is bytes, or a list of buffers."""
    if not binary:
        if _is_pydantic(value):
            return JSON_HEADERS, _guarded(_encode_pydantic, value)
        return JSON_HEADERS, encode_json(value)
    if _is_pydantic(value):
        value = value.model_dump(mode="python") if hasattr(value, "model_dump") else value.dict()
    if isinstance(value, bytes):
        return BINARY_HEADERS, value
    return BINARY_HEADERS, _guarded(msgpack_codec.pack, value)


def _guarded(encoder: Any, value: Any) -> Any:
    try:
        return encoder(value)
    except Exception as error:
        raise EncodeError(f"Unhandled exception: {type(error).__name__}: {error}") from None
