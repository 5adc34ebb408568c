"""From INVOKE without GO to READY: decoding and preprocess."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import Any

from . import content, frames, pydantic_types
from .answers import Answers
from .call import Call
from .channel import Channel
from .errors import ContentError
from .event_loop import EventLoop
from .pools import Pool
from .scheduler import Scheduler


def decode(call: Call) -> None:
    """Sets the call's inputs from its body. Raises ContentError."""
    operation = call.operation
    if operation.parses:
        if operation.input_type is not None:
            call.inputs = pydantic_types.parse(operation.input_type, call.body, call.binary)
        else:
            call.inputs = content.decode(call.body, call.binary)
    call.decoded = True


def decode_early(call: Call) -> None:
    """Decodes the body of a call that need not be prepared, if that is short and no code of the
    model's, so that it does not take the lane's time. A body that cannot be decoded stays for
    whoever answers that."""
    operation = call.operation
    if operation.parses and operation.input_type is None and type(call.body) is bytes and call.body:
        try:
            decode(call)
        except Exception:
            pass


class Preparing:
    """Small bodies are decoded by the reader; large ones, pydantic's types and a sync preprocess,
    on the pool; an async preprocess on the event loop."""

    def __init__(
        self, scheduler: Scheduler, answers: Answers, channel: Channel, loop: EventLoop, pool: Pool
    ):
        self._scheduler = scheduler
        self._answers = answers
        self._channel = channel
        self._loop = loop
        self._pool = pool

    def begin(self, call: Call) -> None:
        preprocess = call.operation.preprocess
        operation = call.operation
        small = not operation.parses or (type(call.body) is bytes and operation.input_type is None)
        if small and preprocess is None:
            self._prepare(call)
        elif small and preprocess is not None and preprocess.is_async:
            self._loop.call(self._prepare_on_loop, call)
        else:
            self._pool.submit(self._prepare, call)

    def _prepare(self, call: Call) -> None:
        if not self._scheduler.prepare(call) or not self._decode(call):
            return
        preprocess = call.operation.preprocess
        if preprocess is None:
            self._ready(call, 0, 0)
        elif preprocess.is_async:
            self._loop.call(self._spawn, call)
        else:
            self._preprocess(call)

    def _decode(self, call: Call) -> bool:
        try:
            decode(call)
            return True
        except ContentError as error:
            self._answers.put_bad_request(call, error)
        except BaseException as error:  # a validator of the model's
            self._answers.put_failure(call, "the input's type", error)
        self._channel.flush()
        return False

    def _preprocess(self, call: Call) -> None:
        call.prepared = True
        begin = time.monotonic_ns()
        try:
            result = call.operation.preprocess.call(call, call.inputs)
            is_awaitable = inspect.isawaitable(result)
        except BaseException as error:
            self._fail(call, error)
            return
        if is_awaitable:
            self._loop.call(self._spawn, call, result, begin)
            return
        call.inputs = result
        self._ready(call, begin, time.monotonic_ns())

    def _prepare_on_loop(self, call: Call) -> None:
        if self._scheduler.prepare(call) and self._decode(call):
            self._spawn(call)

    def _spawn(self, call: Call, pending: Any = None, begin: int = 0) -> None:
        task = self._loop.create_task(self._preprocess_async(call, pending, begin))
        self._loop.cancel_with(call, task)

    async def _preprocess_async(self, call: Call, pending: Any, begin: int) -> None:
        call.prepared = True
        begin = begin or time.monotonic_ns()
        try:
            if pending is None:
                pending = call.operation.preprocess.call(call, call.inputs)
            call.inputs = await pending if inspect.isawaitable(pending) else pending
        except BaseException as error:
            self._fail(call, error)
            return
        self._ready(call, begin, time.monotonic_ns())

    def _fail(self, call: Call, error: BaseException) -> None:
        if issubclass(type(error), asyncio.CancelledError) and call.reason:
            self._answers.put_end(call, frames.KIND_CANCELLED, frames.SUCCEEDED)
        else:
            self._answers.put_failure(call, "preprocess", error)
        self._channel.flush()

    def _ready(self, call: Call, begin: int, end: int) -> None:
        call.keep_context()
        if not self._scheduler.prepared(call, begin, end):
            self._answers.put_end(
                call,
                frames.KIND_CANCELLED if call.prepared else frames.KIND_TAKEN_BACK,
                frames.SUCCEEDED,
            )
        self._channel.flush()
