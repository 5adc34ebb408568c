"""From STARTED to DONE: predict, what it returned, postprocess."""

from __future__ import annotations

import asyncio
import time
from types import GeneratorType
from typing import Any, Optional

from . import anyio_threads, errors, frames, responses, websocket
from .answers import Answers
from .arguments import REQUEST
from .call import Call
from .channel import Channel
from .event_loop import EventLoop
from .lane_words import LaneWords
from .model import Operation
from .pools import Pool
from .preparing import decode
from .scheduler import Scheduler
from .shapes import (
    ASYNC_GENERATOR,
    AWAITABLE,
    FOR_LOOP,
    GENERATOR,
    PLAIN,
    STREAMING,
    is_small,
    shape_of,
)
from .streams import Gathered, Stream

_NO_STREAM = (
    "predict returned a generator, which postprocess cannot take: a model that streams does "
    "all of its work in predict"
)
_NO_RESPONSE = "predict returned a Response, which postprocess cannot take"
_LONG = 1_000_000_000


class Predicting:
    """run_on_lane() is for lane threads; each returns the lane's next call, of which the sidecar
    knows, or would know if this process died, that it has begun. start_on_loop() is for the event
    loop. A lane is held until predict has really ended, its generator or StreamingResponse too, and
    not by postprocess or by large encodings, which run on the postprocess pool. Where predict lets
    other threads run, all else that comes after it is left to that pool too, so that nothing lies
    between two predicts that could lie beside them."""

    def __init__(
        self,
        scheduler: Scheduler,
        answers: Answers,
        channel: Channel,
        loop: EventLoop,
        postprocess_pool: Pool,
        generator_pool: Pool,
        stream_buffer: int,
        lane_words: LaneWords,
    ):
        self._scheduler = scheduler
        self._answers = answers
        self._channel = channel
        self._loop = loop
        self._postprocess_pool = postprocess_pool
        self._generator_pool = generator_pool
        self._stream_buffer = stream_buffer
        self._note_begin = lane_words.begin

    # On a lane thread, or on the reader's.

    def run_ready(self) -> None:
        """Runs sync calls for as long as there are any that may start."""
        anyio_threads.join()
        call = self._scheduler.take(False)
        while call is not None:
            self._write(call)
            while call is not None:
                call = call.context.run(self.run_on_lane, call)
            call = self._scheduler.take(False)
        self._channel.flush()

    def run_on_lane(self, call: Call, lane: Optional[int] = None) -> Optional[Call]:
        """lane: the number of the thread, if it is a lane's own."""
        operation = call.operation
        begin = time.monotonic_ns()
        if lane is not None and not operation.sharing.trusted:
            self._probe(operation, begin)
        try:
            if not call.decoded:
                decode(call)
            if operation.method.takes < REQUEST and not call.has_request:
                call.drop_body()
            result = operation.method.call(call, call.inputs)
            shape = shape_of(result)
        except errors.ContentError as error:
            following = self._scheduler.switch(call, time.monotonic_ns(), False)
            self._answers.put_bad_request(call, error)
        except BaseException as error:
            when = time.monotonic_ns()
            operation.took(when - begin)
            following = self._scheduler.switch(call, when, False)
            self._answers.put_failure(call, operation.name, error)
        else:
            if shape == GENERATOR:
                operation.took(_LONG)
                return self._pull_on_lane(call, result)
            if shape in FOR_LOOP:
                operation.took(_LONG)
                self._loop.call(self._spawn, call, result)
                return None
            kind = type(result)
            when = time.monotonic_ns()
            if lane is not None and operation.sharing.trusted and self._may_leave_rest(call, kind):
                return self._leave_rest(call, result, begin, when, lane)
            operation.took(when - begin)
            following = self._end(call, result, when, False)
        self._write(following)
        return following

    def _may_leave_rest(self, call: Call, kind: type) -> bool:
        if not call.started.written:
            # No other thread came to write it while predict ran.
            call.operation.sharing.held_up()
            return False
        postprocess = call.operation.postprocess
        return not call.reason and (
            postprocess is None or (kind in PLAIN and not postprocess.is_async)
        )

    def _leave_rest(
        self, call: Call, result: Any, begin: int, when: int, lane: int
    ) -> Optional[Call]:
        """Predict returned `result` at `when`: frees the lane, and leaves what is to be done and
        written to the pool. The next call's STARTED is then written while it runs, provided that
        this call lets others run."""
        following = self._scheduler.switch(call, when, False)
        if following is None or not following.operation.sharing.trusted:
            call.operation.took(when - begin)
            if call.operation.postprocess is None and is_small(result):
                self._answers.put_value(call, result)
            else:
                self._postprocess_pool.submit(self._finish, call, result)
            self._write(following)
        elif self._postprocess_pool.submit(self._do_rest, call, result, begin, when):
            self._note_begin(lane, following.id)
            following.started.begins(time.monotonic_ns())
        else:
            self._write(following)
        return following

    def _do_rest(self, call: Call, result: Any, begin: int, when: int) -> None:
        operation = call.operation
        operation.sharing.waited(time.monotonic_ns() - when)
        operation.took(when - begin)
        if operation.postprocess is not None or not is_small(result):
            self._channel.flush()
        self._finish(call, result)

    def _finish(self, call: Call, result: Any) -> None:
        if call.operation.postprocess is None:
            self._answer(call, result)
        else:
            self._postprocess(call, result)

    def _probe(self, operation: Operation, when: int) -> None:
        """Finds out whether others get to run while this predict does."""
        sharing = operation.sharing
        if not operation.is_short and sharing.wants_probe():
            self._postprocess_pool.submit(lambda: sharing.waited(time.monotonic_ns() - when))

    def _write(self, following: Optional[Call]) -> None:
        """What is begun next is known to the sidecar before it runs: should the process die of it,
        it would be run again."""
        if following is None:
            self._channel.flush()
        else:
            following.started.begins(time.monotonic_ns())
            self._channel.drain()

    def _pull_on_lane(self, call: Call, generator: GeneratorType) -> Optional[Call]:
        following: list = []
        self._pull(
            call,
            generator,
            lambda: following.append(self._scheduler.switch(call, time.monotonic_ns(), False)),
        )
        self._write(following[0])
        return following[0]

    # A sync generator, on any thread that may wait.

    def _pull(self, call: Call, generator: GeneratorType, leave: Any) -> None:
        """Pulls the generator to its end, calls leave() and answers."""
        if call.operation.postprocess is not None and leave is not None:
            leave()
            self._answers.put_misuse(call, _NO_STREAM)
            self._channel.flush()
            return
        sink = self._sink(call)
        failure: Optional[BaseException] = None
        try:
            for chunk in generator:
                if call.reason or not sink.send(chunk):
                    break
        except BaseException as error:
            failure = error
        try:
            generator.close()
        except BaseException as error:
            failure = failure or error
        if leave is not None:
            leave()
        sink.finish(failure)

    def _sink(self, call: Call) -> Any:
        if call.gather:
            return Gathered(call, self._answers, self._channel)
        return Stream(call, self._answers, self._channel, self._stream_buffer)

    # On the event loop.

    def start_on_loop(self) -> None:
        call = self._scheduler.take(True)
        while call is not None:
            self._start(call)
            call = self._scheduler.take(True)
        self._channel.flush()

    def _start(self, call: Call) -> None:
        call.context.run(self._spawn, call)

    def _spawn(self, call: Call, pending: Any = None) -> None:
        """The task has a copy of the context that this is called in."""
        self._loop.cancel_with(call, self._loop.create_task(self._run_async(call, pending)))

    def _leave(self, call: Call) -> None:
        """Predict of an asynchronous call has ended; begins the next one."""
        following = self._scheduler.switch(call, time.monotonic_ns(), True)
        if following is not None:
            self._start(following)

    def _leave_from_thread(self, call: Call) -> None:
        following = self._scheduler.switch(call, time.monotonic_ns(), True)
        if following is not None:
            self._loop.call(self._start, following)

    async def _run_async(self, call: Call, pending: Any) -> None:
        """Predict on the loop. pending: what a sync predict returned, to be awaited here."""
        self._channel.drain()
        operation = call.operation
        try:
            if operation.name == "websocket":
                await websocket.serve(call, self._answers, lambda: self._leave(call))
                self._channel.flush()
                return
            if not call.decoded:
                decode(call)
            result = pending if pending is not None else operation.method.call(call, call.inputs)
            shape = shape_of(result)
            if shape == AWAITABLE:
                result = await result
                shape = shape_of(result)
        except errors.ContentError as error:
            self._leave(call)
            self._answers.put_bad_request(call, error)
        except BaseException as error:
            self._leave(call)
            self._fail(call, operation.name, error)
        else:
            await self._end_async(call, result, shape)
        self._channel.flush()

    async def _end_async(self, call: Call, result: Any, shape: int) -> None:
        if shape == GENERATOR:
            self._generator_pool.submit(
                self._pull, call, result, lambda: self._leave_from_thread(call)
            )
        elif shape == ASYNC_GENERATOR:
            await self._pull_async(call, result, lambda: self._leave(call))
        elif shape == STREAMING:
            await self._respond(call, result, lambda: self._leave(call))
        else:
            following = self._end(call, result, time.monotonic_ns(), True)
            if following is not None:
                self._start(following)

    async def _pull_async(self, call: Call, generator: Any, leave: Any) -> None:
        if call.operation.postprocess is not None and leave is not None:
            leave()  # a generator that has not begun has nothing to close
            self._answers.put_misuse(call, _NO_STREAM)
            return
        sink = self._sink(call)
        failure: Optional[BaseException] = None
        try:
            async for chunk in generator:
                if call.reason or not await sink.send_async(chunk):
                    break
        except BaseException as error:
            failure = error
        try:
            await generator.aclose()
        except BaseException as error:
            failure = failure or error
        if leave is not None:
            leave()
        sink.finish(failure)

    async def _respond(self, call: Call, response: Any, leave: Any) -> None:
        """A Starlette response that streams: runs it."""
        if call.operation.postprocess is not None and leave is not None:
            leave()
            self._answers.put_misuse(call, _NO_RESPONSE)
            return
        stream = Stream(call, self._answers, self._channel, self._stream_buffer)
        await responses.run(response, call, stream, leave)

    def _fail(self, call: Call, stage: str, error: BaseException) -> None:
        if issubclass(type(error), asyncio.CancelledError) and call.reason:
            self._answers.put_end(call, frames.KIND_CANCELLED, frames.SUCCEEDED)
        else:
            self._answers.put_failure(call, stage, error)

    # A whole result.

    def _end(self, call: Call, result: Any, when: int, asynchronous: bool) -> Optional[Call]:
        """Predict returned `result` at `when`: frees the lane and answers, or leaves that to
        others. Returns the next call of the runner."""
        postprocess = call.operation.postprocess
        if call.reason or (postprocess is None and is_small(result)):
            answer = self._answers.answer_of(call, result) if not call.reason else None
            following = self._scheduler.switch(call, when, asynchronous)
            if answer is None:
                self._answers.put_end(call, frames.KIND_CANCELLED, frames.SUCCEEDED)
            else:
                self._answers.put_answer(call, answer)
            return following
        following = self._scheduler.switch(call, when, asynchronous)
        if postprocess is None:
            self._postprocess_pool.submit(self._answer, call, result)
        elif responses.is_response(result):
            self._answers.put_misuse(call, _NO_RESPONSE)
        elif postprocess.is_async:
            self._loop.call(self._spawn_postprocess, call, result, None)
        else:
            self._postprocess_pool.submit(self._postprocess, call, result)
        return following

    def _answer(self, call: Call, result: Any) -> None:
        try:
            if responses.is_response(result):
                self._answers.put_answer(call, responses.whole(result))
            else:
                self._answers.put_value(call, result)
        except BaseException as error:  # an invalid Response
            self._answers.put_failure(call, call.operation.name, error)
        self._channel.flush()

    def _postprocess(self, call: Call, result: Any) -> None:
        if call.reason:
            self._answers.put_end(call, frames.KIND_CANCELLED, frames.SUCCEEDED)
            self._channel.flush()
            return
        try:
            result = call.operation.postprocess.call(call, result)
            shape = shape_of(result)
        except BaseException as error:
            self._answers.put_failure(call, "postprocess", error)
            self._channel.flush()
            return
        if shape == GENERATOR:
            self._pull(call, result, None)
        elif shape in FOR_LOOP:
            self._loop.call(self._spawn_postprocess, call, None, result)
        else:
            self._answer(call, result)

    def _spawn_postprocess(self, call: Call, result: Any, pending: Any) -> None:
        task = self._loop.create_task(self._postprocess_async(call, result, pending))
        self._loop.cancel_with(call, task)

    async def _postprocess_async(self, call: Call, result: Any, pending: Any) -> None:
        try:
            if pending is None:
                pending = call.operation.postprocess.call(call, result)
            shape = shape_of(pending)
            if shape == AWAITABLE:
                pending = await pending
                shape = shape_of(pending)
        except BaseException as error:
            self._fail(call, "postprocess", error)
            self._channel.flush()
            return
        if shape == GENERATOR:
            self._postprocess_pool.submit(self._pull, call, pending, None)
        elif shape == ASYNC_GENERATOR:
            await self._pull_async(call, pending, None)
        elif shape == STREAMING:
            await self._respond(call, pending, None)
        elif is_small(pending):
            self._answer(call, pending)
        else:
            self._postprocess_pool.submit(self._answer, call, pending)
