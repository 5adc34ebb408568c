"""Chunks of a generator on their way to the client, or gathered into one answer."""

from __future__ import annotations

from typing import Any, Iterator, Optional

from . import frames
from .answers import Answers
from .call import Call
from .channel import Channel
from .credit import Credit

GENERATOR_HEADERS = b'[["content-type","application/octet-stream"]]'


def chunk_bytes(chunk: Any) -> bytes:
    if type(chunk) is bytes:
        return chunk
    if isinstance(chunk, str):
        return chunk.encode()
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(f"a generator has to yield str or bytes, not {type(chunk).__name__}")


class Gathered:
    """All chunks of a generator as one text. For the thread or task that pulls."""

    def __init__(self, call: Call, answers: Answers, channel: Channel):
        self._call = call
        self._answers = answers
        self._channel = channel
        self._chunks: list = []

    def send(self, chunk: Any) -> bool:
        plain = isinstance(chunk, (bytes, bytearray, memoryview))
        self._chunks.append(bytes(chunk) if plain else str(chunk).encode())
        return True

    async def send_async(self, chunk: Any) -> bool:
        return self.send(chunk)

    def finish(self, failure: Optional[BaseException]) -> None:
        call = self._call
        if failure is None:
            try:
                text = b"".join(self._chunks).decode()
            except UnicodeDecodeError as error:
                failure = error
        if failure is not None:
            self._answers.put_failure(call, call.operation.name, failure)
        else:
            self._answers.put_value(call, text)
        self._channel.flush()


class Stream:
    """The response of a generator: HEAD goes with the first chunk. send() is for a thread,
    send_async() for the loop; both wait for credit, and are False if nobody reads. finish() is for
    either, once.
    """

    def __init__(
        self,
        call: Call,
        answers: Answers,
        channel: Channel,
        bound: int,
        status: int = 200,
        headers: bytes = GENERATOR_HEADERS,
    ):
        self.status = status
        self.headers = headers
        self.begun = False  # HEAD has been put
        self._finished = False
        self._call = call
        self._answers = answers
        self._channel = channel
        self._credit = Credit(call, bound)
        self._most = min(frames.MAX_CHUNK, bound)

    def send(self, chunk: Any) -> bool:
        for piece in self._pieces(chunk):
            if not self._credit.take(len(piece)) or self._finished:
                return False
            self._put(piece)
        return True

    async def send_async(self, chunk: Any) -> bool:
        for piece in self._pieces(chunk):
            if not await self._credit.take_async(len(piece)) or self._finished:
                return False
            self._put(piece)
        return True

    def _pieces(self, chunk: Any) -> Iterator[bytes]:
        data = chunk_bytes(chunk)
        for position in range(0, len(data), self._most):
            yield data[position : position + self._most]

    def _put(self, piece: bytes) -> None:
        if not self.begun:
            self._channel.put(frames.head(self._call.id, self.status, self.headers))
            self.begun = True
        self._channel.send(frames.chunk(self._call.id, piece))

    def finish(
        self, failure: Optional[BaseException], body: bytes = b"", outcome: int = frames.SUCCEEDED
    ) -> None:
        """The end: body is the whole response if no chunk was sent."""
        call, answers = self._call, self._answers
        self._finished = True
        if call.reason:
            answers.put_end(call, frames.KIND_CANCELLED, frames.SUCCEEDED)
        elif not self.begun:
            if failure is not None:
                answers.put_failure(call, call.operation.name, failure)
            else:
                answers.put_answer(call, (outcome, self.status, self.headers, body))
        elif failure is not None:
            answers.put_broken_stream(call, failure)
        else:
            answers.put_end(call, frames.KIND_STREAM_ENDED, outcome)
        self._channel.flush()

    def background_failed(self, error: BaseException) -> None:
        self._answers.note_failure(self._call, "background task", error)
