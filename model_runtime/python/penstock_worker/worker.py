"""The composition root: reads frames and hands each to who it is for."""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, NoReturn, Optional

from . import anyio_threads, frames, memory, plain_json, signals
from .channel import Channel, ProtocolError
from .errors import own_mistake
from .event_loop import EventLoop
from .journal import Journal
from .lane_words import LaneWords
from .loading import Loader, LoadError
from .model import LoadedModel
from .readers import Readers
from .service import Service

_BROKEN_PROTOCOL_STATUS = 2


def leave(status: int) -> NoReturn:
    """Ends the process at once, whatever its threads are doing."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    os._exit(status)


class Worker:
    """One worker process. run() reads frames on the calling thread for as long as the sidecar
    lives; the model loads on a thread of its own meanwhile."""

    def __init__(self, sock: socket.socket):
        self._channel = Channel(sock, lambda: leave(0))
        self._loop = EventLoop()
        self._journal = Journal(self._channel)
        self._readers = Readers(self._channel, self._handle, self._failed)
        self._start: Dict[str, Any] = {}
        self._handlers: Dict[int, Callable[[int, int, bytes], None]] = {
            frames.START: self._on_start
        }

    def run(self) -> NoReturn:
        self._channel.send(frames.hello())
        self._readers.run()

    @staticmethod
    def _failed(error: BaseException) -> NoReturn:
        if not isinstance(error, ProtocolError):
            traceback.print_exception(type(error), error, error.__traceback__)
        print(f"penstock_worker: the sidecar broke the protocol: {error}", file=sys.stderr)
        leave(_BROKEN_PROTOCOL_STATUS)

    def _handle(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        handler = self._handlers.get(kind)
        if handler is None:
            raise ProtocolError(f"a frame of type {kind}")
        handler(number, flags, payload)

    def _on_start(self, _: int, flags: int, payload: bytes) -> None:
        del self._handlers[frames.START]
        self._start = json.loads(payload)
        if not flags & frames.FLAG_FD:
            raise ProtocolError("a START without memory for the lanes")
        words = LaneWords(
            self._channel.next_descriptor(), max(1, int(self._start["predict_concurrency"]))
        )
        threading.Thread(target=self._load, args=(words,), name="load", daemon=True).start()

    def _load(self, words: LaneWords) -> None:
        try:
            self._load_and_serve(words)
        except BaseException as error:
            own_mistake(error)

    def _load_and_serve(self, words: LaneWords) -> None:
        begin = time.monotonic()
        loader = Loader(self._start, self._loop.wait_for, self._journal.warning)
        try:
            loaded = loader.load()
        except LoadError as error:
            if error.__cause__ is not None:
                self._journal.failure(str(error), error.__cause__)
            why = {"error": str(error)[: frames.MAX_TEXT]}
            self._channel.put(frames.about_worker(frames.LOAD_FAILED, why))
            self._channel.drain()
            leave(1)
        anyio_threads.learn(self._loop.wait_for)
        service = Service(
            loaded,
            self._start,
            self._channel,
            self._loop,
            self._journal,
            self._readers,
            words,
        )
        service.watch_environment(loader)
        gc.collect()
        gc.freeze()
        self._handlers.update(service.handlers)
        schema = self._schema_of(loaded)
        self._channel.send(frames.about_worker(frames.LOADED, _loaded(loaded, schema, begin)))

    def _schema_of(self, loaded: LoadedModel) -> Optional[str]:
        """The model's schema as JSON; None, and a warning, if no frame can carry it."""
        if loaded.schema is None:
            return None
        text = plain_json.encode(loaded.schema.as_json()).decode()
        if len(text.encode()) <= frames.MAX_SCHEMA:
            return text
        self._journal.warning(
            f"the model's schema is not offered: it has {len(text)} characters, "
            f"expected at most {frames.MAX_SCHEMA}"
        )
        return None


def _loaded(loaded: LoadedModel, schema: Optional[str], begin: float) -> Dict[str, Any]:
    preprocess = loaded.preprocess
    return {
        "operations": [each.name for each in loaded.operations if each is not None],
        "preprocess": preprocess and ("async" if preprocess.is_async else "sync"),
        "is_healthy": loaded.is_healthy is not None,
        "python": "%d.%d.%d" % sys.version_info[:3],
        "load_seconds": round(time.monotonic() - begin, 6),
        "schema": schema,
    }


def _set_up_process(descriptor: int) -> socket.socket:
    memory.use_one_arena()
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    sock.setblocking(True)
    os.register_at_fork(after_in_child=lambda: os.close(descriptor))
    signals.leave_to_the_sidecar()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    return sock


def main(arguments: list) -> NoReturn:
    if len(arguments) != 2 or not arguments[1].isdigit():
        print("usage: python3 penstock_worker FD", file=sys.stderr)
        sys.exit(2)
    sys.argv = [arguments[0]]
    Worker(_set_up_process(int(arguments[1]))).run()
