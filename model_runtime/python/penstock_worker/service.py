"""Serves the loaded model: what each frame about a request does."""

from __future__ import annotations

import functools
import threading
import time
from typing import Any, Callable, Dict

from . import environment, frames
from .answers import Answers
from .body import Body, DescriptorBody
from .call import Call
from .channel import Channel, ProtocolError
from .errors import describe
from .event_loop import EventLoop
from .health import Health
from .journal import Journal
from .lane import Lane
from .lane_words import LaneWords
from .loading import Loader
from .model import LoadedModel
from .pools import Pool
from .predicting import Predicting
from .preparing import Preparing, decode_early
from .readers import Readers
from .scheduler import Scheduler
from .websocket import ClientSocket


class Service:
    """Wires the parts and owns the calls under way. The handlers run on the reader's thread and do
    not wait for the model."""

    def __init__(
        self,
        loaded: LoadedModel,
        start: Dict[str, Any],
        channel: Channel,
        loop: EventLoop,
        journal: Journal,
        readers: Readers,
        lane_words: LaneWords,
    ):
        self._loaded = loaded
        self._channel = channel
        self._loop = loop
        self._journal = journal
        self._calls: Dict[int, Call] = {}
        self._stream_buffer = int(start["stream_buffer"])
        limit = max(1, int(start["predict_concurrency"]))
        self._lanes = 0
        self._scheduler = Scheduler(
            limit, channel.put, time.monotonic_ns, self._start_lane, self._wake_loop, self._expired
        )
        preprocess = Pool("preprocess", max(1, int(start["preprocess_threads"])))
        postprocess = Pool("postprocess", max(1, int(start["postprocess_threads"])))
        self._answers = Answers(self._calls, channel, journal)
        self._predicting = Predicting(
            self._scheduler,
            self._answers,
            channel,
            loop,
            postprocess,
            Pool("generator", limit),
            self._stream_buffer,
            lane_words,
        )
        self._preparing = Preparing(self._scheduler, self._answers, channel, loop, preprocess)
        self._health = Health(loaded.is_healthy, channel, loop, journal)
        self.handlers: Dict[int, Callable[[int, int, bytes], None]] = {
            frames.INVOKE: self._on_invoke,
            frames.PREDICT: self._on_predict,
            frames.CANCEL: self._on_cancel,
            frames.CREDIT: self._on_credit,
            frames.MESSAGE: self._on_message,
            frames.CLOSED: self._on_closed,
            frames.HEALTH: self._on_health,
        }
        self._readers = readers
        readers.work = self._predicting.run_ready

    def watch_environment(self, loader: Loader) -> None:
        """Tells the model when its environment changes, if it wants to know."""
        set_up = self._loaded.setup_environment
        if set_up is None:
            return
        threading.Thread(
            target=environment.poll,
            name="environment",
            daemon=True,
            args=(
                loader.environment,
                threading.Event().wait,
                lambda value: loader.call(set_up, value),
                lambda error: self._journal.warning(
                    f"setup_environment raised {describe(error)}", error
                ),
            ),
        ).start()

    def _start_lane(self) -> None:
        self._lanes += 1
        run = functools.partial(self._predicting.run_on_lane, lane=self._lanes - 1)
        Lane(self._lanes, self._scheduler, run, self._channel.drain)

    def _wake_loop(self) -> None:
        self._loop.call(self._predicting.start_on_loop)

    def _expired(self, call: Call) -> None:
        self._answers.put_end(call, frames.KIND_EXPIRED, frames.SUCCEEDED)

    def _on_invoke(self, number: int, flags: int, payload: bytes) -> None:
        try:
            operation_number, form, _, deadline, meta_size = frames.INVOKE_HEAD.unpack_from(payload)
            operation = self._loaded.operations[operation_number]
        except Exception:
            raise ProtocolError("an INVOKE that cannot be read") from None
        if operation is None or number in self._calls:
            raise ProtocolError(
                "an INVOKE of an operation that the model lacks, or of an id in use"
            )
        body_at = 16 + meta_size
        call = Call(
            number,
            operation,
            deadline,
            form == frames.MSGPACK,
            flags & frames.INVOKE_GATHER != 0,
            payload[16:body_at],
            self._body(flags, payload, body_at),
        )
        if operation_number == frames.WEBSOCKET:
            call.socket = ClientSocket(call, self._channel, self._stream_buffer)
        self._calls[number] = call
        if flags & frames.INVOKE_GO:
            decode_early(call)
            self._allow(call)
        else:
            call.context.run(self._preparing.begin, call)

    def _body(self, flags: int, payload: bytes, position: int) -> Body:
        if flags & frames.FLAG_FD:
            return DescriptorBody(self._channel.next_descriptor())
        return payload[position:]

    def _on_predict(self, number: int, _: int, __: bytes) -> None:
        call = self._calls.get(number)
        if call is not None:
            self._allow(call)

    def _allow(self, call: Call) -> None:
        """Starts the call in its turn: on this thread, when its frames are handled, if that is
        short."""
        if call.operation.is_short and self._readers.may_work:
            self._readers.due = True
            self._scheduler.allow(call, quietly=True)
        else:
            self._scheduler.allow(call)

    def _on_cancel(self, number: int, _: int, payload: bytes) -> None:
        reason = payload[0] or 1
        call = self._calls.get(number)
        if call is None:
            return
        call.cancel(reason)
        if self._scheduler.take_back(call):
            kind = frames.KIND_CANCELLED if call.prepared else frames.KIND_TAKEN_BACK
            self._answers.put_end(call, kind, frames.SUCCEEDED)
            self._channel.flush()

    def _on_credit(self, number: int, _: int, payload: bytes) -> None:
        call = self._calls.get(number)
        credit = call and call.credit
        size = frames.U32.unpack(payload)[0]
        if credit:
            credit.credit(size)

    def _on_message(self, number: int, flags: int, payload: bytes) -> None:
        body = self._body(flags, payload, 1)  # taken even if the call is over: it owns a descriptor
        call = self._calls.get(number)
        socket = call and call.socket
        if socket:
            socket.message(payload[0], body)

    def _on_closed(self, number: int, _: int, payload: bytes) -> None:
        call = self._calls.get(number)
        socket = call and call.socket
        if socket:
            socket.closed(
                frames.U16.unpack_from(payload)[0], payload[2:].decode("utf-8", "replace")
            )

    def _on_health(self, number: int, _: int, __: bytes) -> None:
        self._health.ask(number)
