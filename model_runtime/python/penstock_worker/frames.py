"""Frames of the protocol: numbers, and one function for each frame that the worker sends.

An outgoing frame is bytes, a Started, or (bytes, descriptor) when its body travels by descriptor.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Any, List, Optional, Tuple, Union

from .plain_json import encode as _json

VERSION = 2
MAX_PAYLOAD = 1 << 20
MAX_INLINE_BODY = 64 * 1024
MAX_CHUNK = 64 * 1024
MAX_HEADERS = MAX_PAYLOAD // 2
MAX_TEXT = 64 * 1024  # characters of what is said in one message, each of at most 6 bytes
MAX_SCHEMA = MAX_PAYLOAD // 2 - 4096  # a text whose quotes are escaped once more
FLAG_FD = 0x80

HEADER = Struct("<IBBHQ")
INVOKE_HEAD = Struct("<BBHqI")
U16 = Struct("<H")
U32 = Struct("<I")

START, INVOKE, PREDICT, CANCEL, CREDIT, MESSAGE, CLOSED, HEALTH = range(1, 9)
(
    HELLO,
    LOADED,
    LOAD_FAILED,
    READY,
    STARTED,
    ENDED,
    HEAD,
    CHUNK,
    DONE,
    ACCEPT,
    SEND,
    CLOSE,
    RECEIVED,
    HEALTHY,
    LOG,
) = range(32, 47)

INVOKE_GO = 1
INVOKE_GATHER = 2

OPERATIONS = (
    "predict",
    "chat_completions",
    "completions",
    "embeddings",
    "messages",
    "responses",
    "websocket",
)
WEBSOCKET = 6
JSON, MSGPACK = 0, 1
TEXT, BINARY = 1, 2

(
    KIND_RESPONSE,
    KIND_STREAM_ENDED,
    KIND_STREAM_ABORTED,
    KIND_CANCELLED,
    KIND_EXPIRED,
    KIND_TAKEN_BACK,
) = range(6)
SUCCEEDED, REQUEST_AT_FAULT, MODEL_AT_FAULT = range(3)


class Started(bytearray):
    """STARTED, made beforehand. Its time can be put right until it is written, which the channel
    says."""

    written = False

    def begins(self, when: int) -> None:
        _WHEN.pack_into(self, 16, when)


Frame = Union[bytes, Started, Tuple[bytes, int]]
Body = Union[bytes, List[Any]]  # bytes, or buffers of bytes that follow each other

_AT = Struct("<IBBHQq")
_WHEN = Struct("<q")
_BETWEEN = Struct("<IBBHQqq")
_HEAD = Struct("<IBBHQHHI")
_DONE = Struct("<IBBHQBBHI")
_U8 = Struct("<IBBHQB")
_U16 = Struct("<IBBHQH")
_U32 = Struct("<IBBHQI")


class TooLongError(ValueError):
    """What the model wants to send is longer than a frame."""


def _checked(part: bytes, what: str, room: int = MAX_PAYLOAD) -> bytes:
    if len(part) > room:
        raise TooLongError(f"{what} of {len(part)} bytes: expected at most {room}")
    return part


def hello() -> bytes:
    return _U32.pack(4, HELLO, 0, 0, 0, VERSION)


def about_worker(kind: int, value: Any) -> bytes:
    """LOADED, LOAD_FAILED and LOG. Text that JSON cannot carry is escaped, not refused."""
    payload = _checked(_json(value), "a message to the sidecar")
    return HEADER.pack(len(payload), kind, 0, 0, 0) + payload


def ready(call_id: int, begin: int, end: int) -> bytes:
    return _BETWEEN.pack(16, READY, 0, 0, call_id, begin, end)


def started(call_id: int) -> Started:
    return Started(_AT.pack(8, STARTED, 0, 0, call_id, 0))


def ended(call_id: int, when: int) -> bytes:
    return _AT.pack(8, ENDED, 0, 0, call_id, when)


def head(call_id: int, status: int, headers: bytes) -> bytes:
    _checked(headers, "header fields", MAX_HEADERS)
    return _HEAD.pack(8 + len(headers), HEAD, 0, 0, call_id, status, 0, len(headers)) + headers


def chunk(call_id: int, data: bytes) -> bytes:
    return HEADER.pack(len(data), CHUNK, 0, 0, call_id) + data


def done(call_id: int, kind: int, outcome: int) -> bytes:
    """DONE of every kind but a response."""
    return _DONE.pack(8, DONE, 0, 0, call_id, kind, outcome, 0, 0)


def response(call_id: int, outcome: int, status: int, headers: bytes, body: Body) -> Frame:
    """DONE with the whole response."""
    _checked(headers, "header fields", MAX_HEADERS)
    buffers = body if type(body) is list else [body]
    size = sum(map(len, buffers))
    if size < MAX_INLINE_BODY:
        return b"".join(
            (
                _DONE.pack(
                    8 + len(headers) + size,
                    DONE,
                    0,
                    0,
                    call_id,
                    KIND_RESPONSE,
                    outcome,
                    status,
                    len(headers),
                ),
                headers,
                *buffers,
            )
        )
    frame = (
        _DONE.pack(
            8 + len(headers),
            DONE,
            FLAG_FD,
            0,
            call_id,
            KIND_RESPONSE,
            outcome,
            status,
            len(headers),
        )
        + headers
    )
    return frame, memory_file(buffers)


def accept(call_id: int, subprotocol: Optional[str], headers: list) -> bytes:
    payload = _checked(_json({"subprotocol": subprotocol, "headers": headers}), "header fields")
    return HEADER.pack(len(payload), ACCEPT, 0, 0, call_id) + payload


def send(call_id: int, opcode: int, body: bytes) -> Frame:
    if len(body) < MAX_INLINE_BODY:
        return _U8.pack(1 + len(body), SEND, 0, 0, call_id, opcode) + body
    return _U8.pack(1, SEND, FLAG_FD, 0, call_id, opcode), memory_file([body])


def send_bytes(size: int) -> int:
    """What a SEND of a message of that size takes of its call's credit."""
    return size + (2 if size < 126 else 4 if size < 65536 else 10)


def is_close_code(code: int) -> bool:
    """Whether a WebSocket may be closed with it (RFC 6455 section 7.4)."""
    return (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) or 3000 <= code <= 4999


def close(call_id: int, code: int, reason: str) -> bytes:
    data = reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore").encode()
    return _U16.pack(2 + len(data), CLOSE, 0, 0, call_id, code) + data


def received(call_id: int, size: int) -> bytes:
    return _U32.pack(4, RECEIVED, 0, 0, call_id, size)


def healthy(number: int, is_healthy: bool) -> bytes:
    return _U8.pack(1, HEALTHY, 0, 0, number, 1 if is_healthy else 0)


def memory_file(buffers: List[Any]) -> int:
    """A new memfd that holds the buffers, one after the other."""
    descriptor = os.memfd_create("penstock", os.MFD_CLOEXEC)
    try:
        for buffer in buffers:
            left = memoryview(buffer)
            while left:
                left = left[os.write(descriptor, left) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
