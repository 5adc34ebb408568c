"""Plays the sidecar to a real worker process, and checks that it keeps to the protocol.

PENSTOCK_WORKER_PYTHON names another interpreter for the worker.
"""

import array
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[3] / "model_runtime/python/penstock_worker"
PATIENCE = 30 * float(os.environ.get("PENSTOCK_TEST_SLOWNESS", "1"))

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
FD = 0x80
GO, GATHER = 1, 2
OPERATIONS = [
    "predict",
    "chat_completions",
    "completions",
    "embeddings",
    "messages",
    "responses",
    "websocket",
]
RESPONSE, STREAM_ENDED, STREAM_ABORTED, CANCELLED, EXPIRED, TAKEN_BACK = range(6)
HEADER = struct.Struct("<IBBHQ")

PREAMBLE = """
import os

def say(what):
    print(what, flush=True)

def wait(name):
    with open(os.path.join(os.environ["CONTROL"], name)) as gate:
        gate.read()
"""


class Frame:
    def __init__(self, kind, flags, number, payload, body):
        self.kind, self.flags, self.id, self.payload, self.body = kind, flags, number, payload, body

    @property
    def when(self):
        return struct.unpack_from("<q", self.payload)[0]

    @property
    def json(self):
        return json.loads(self.payload)

    def __repr__(self):
        return f"<frame {self.kind} of {self.id}: {self.payload[:80]!r}>"


def strict_json(data):
    """What any parser reads; ValueError otherwise, also for NaN and for half a surrogate pair."""

    def refuse(name):
        raise ValueError(f"{name} is no JSON")

    value = json.loads(data.decode(), parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode()
    return value


class Done:
    def __init__(self, frame):
        self.kind, self.outcome, self.status, size = struct.unpack_from("<BBHI", frame.payload)
        self.headers = dict(json.loads(frame.payload[8 : 8 + size])) if size else {}
        self.body = frame.payload[8 + size :] if frame.body is None else frame.body
        self.by_descriptor = frame.body is not None

    @property
    def json(self):
        assert self.headers["content-type"] == "application/json", self.headers
        return json.loads(self.body, parse_constant=lambda name: f"{name} is no JSON")

    def __repr__(self):
        return f"<done {self.kind} {self.outcome} {self.status} {self.headers} {self.body[:200]!r}>"


class Request:
    """One INVOKE and the frames that came for it."""

    def __init__(self, sidecar, number):
        self._sidecar, self.id = sidecar, number

    @property
    def frames(self):
        return list(self._sidecar.frames[self.id])

    def wait(self, kind, count=1):
        def found():
            frames = [frame for frame in self._sidecar.frames[self.id] if frame.kind == kind]
            return frames[count - 1] if len(frames) >= count else None

        return self._sidecar.wait_for(found, f"frame {kind} of {self.id}")

    def has(self, kind):
        return any(frame.kind == kind for frame in self.frames)

    def done(self):
        return Done(self.wait(DONE))

    def chunks(self):
        return b"".join(frame.payload for frame in self.frames if frame.kind == CHUNK)

    def head(self):
        frame = self.wait(HEAD)
        status, _, size = struct.unpack_from("<HHI", frame.payload)
        return status, dict(json.loads(frame.payload[8 : 8 + size]))

    def predict(self):
        self._sidecar.send(PREDICT, self.id)

    def cancel(self, reason=1):
        self._sidecar.send(CANCEL, self.id, bytes([reason]))

    def credit(self, size):
        self._sidecar.send(CREDIT, self.id, struct.pack("<I", size))

    def message(self, data, by_descriptor=False):
        opcode, data = (1, data.encode()) if isinstance(data, str) else (2, data)
        self._sidecar.send(MESSAGE, self.id, bytes([opcode]), data, by_descriptor)

    def closed(self, code=1000, reason=""):
        self._sidecar.send(CLOSED, self.id, struct.pack("<H", code) + reason.encode())


class FakeSidecar:
    """Starts the worker with a model; use as a context manager. Each frame that comes is checked:
    known kinds, one DONE an id, ENDED after STARTED and before DONE, never more in predict than
    allowed.
    """

    def __init__(
        self,
        directory,
        model,
        config=None,
        concurrency=1,
        preprocess_threads=4,
        postprocess_threads=4,
        stream_buffer=1 << 20,
        environment=None,
        python=None,
        start=None,
    ):
        self.directory = Path(directory)
        self.control = self.directory / "control"
        self.control.mkdir(exist_ok=True)
        self.secrets = self.directory / "secrets"
        self.secrets.mkdir(exist_ok=True)
        if model is not None:
            (self.directory / "model").mkdir(exist_ok=True)
            (self.directory / "model" / "model.py").write_text(
                model if "__future__" in model else PREAMBLE + model
            )
        self._start = {
            "directory": str(self.directory),
            "config": config or {},
            "predict_concurrency": concurrency,
            "preprocess_threads": preprocess_threads,
            "postprocess_threads": postprocess_threads,
            "stream_buffer": stream_buffer,
            "secrets_directory": str(self.secrets),
            "environment_file": str(self.directory / "environment"),
            **(start or {}),
        }
        self._concurrency = concurrency
        self._environment = {
            **os.environ,
            "CONTROL": str(self.control),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(environment or {}),
        }
        self._python = python or [os.environ.get("PENSTOCK_WORKER_PYTHON", sys.executable)]
        self.frames = defaultdict(list)
        self.lines = []
        self.problems = []
        self.most_running = 0
        self._running = set()
        self._known = set()
        self._changed = threading.Condition()
        self._next_id = 1
        self._ended = False

    def __enter__(self):
        self._socket, other = socket.socketpair()
        command = [*self._python, str(PACKAGE), str(other.fileno())]
        self.process = subprocess.Popen(
            command,
            pass_fds=[other.fileno()],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        other.close()
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read_frames, self._read_lines)
        ]
        for thread in self._threads:
            thread.start()
        self._start_worker()
        return self

    def _start_worker(self):
        payload = json.dumps(self._start).encode()
        self._lanes = os.memfd_create("penstock-lanes")
        os.truncate(self._lanes, 8 * self._concurrency)
        rights = array.array("i", [self._lanes])
        self._socket.sendmsg(
            [HEADER.pack(len(payload), START, FD, 0, 0) + payload],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)],
        )

    def last_begun(self):
        """The ids in the lanes' memory."""
        size = 8 * self._concurrency
        return struct.unpack(f"<{self._concurrency}Q", os.pread(self._lanes, size, 0))

    def __exit__(self, *_):
        self.hang_up()
        self.process.wait(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)
        self.process.stdout.close()
        self._socket.close()
        os.close(self._lanes)
        assert not self.problems, self.problems

    def hang_up(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    # To the worker.

    def send(self, kind, number, payload=b"", body=b"", by_descriptor=False, flags=0):
        if not by_descriptor:
            self._socket.sendall(
                HEADER.pack(len(payload) + len(body), kind, flags, 0, number) + payload + body
            )
            return
        descriptor = os.memfd_create("body")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(body)
            data = HEADER.pack(len(payload), kind, flags | FD, 0, number) + payload
            sent = self._socket.sendmsg(
                [data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
            )
            self._socket.sendall(data[sent:])
        finally:
            os.close(descriptor)

    def send_raw(self, data):
        self._socket.sendall(data)

    def invoke_frame(
        self,
        number,
        body=b"",
        operation="predict",
        go=True,
        gather=False,
        binary=False,
        deadline=0,
        meta=None,
    ):
        """(flags, payload without the body) of an INVOKE."""
        about = json.dumps(
            {
                "request_id": f"r{number}",
                "method": "POST",
                "scheme": "http",
                "path": "/v1/models/model:predict",
                "query": "",
                "http_version": "1.1",
                "headers": [],
                "client": ["127.0.0.1", 9],
                **(meta or {}),
            }
        ).encode()
        head = struct.pack(
            "<BBHqI", OPERATIONS.index(operation), int(binary), 0, deadline, len(about)
        )
        return (GO if go else 0) | (GATHER if gather else 0), head + about

    def invoke(self, body=b"{}", by_descriptor=None, **options):
        """Sends an INVOKE; body is bytes, or a value that becomes JSON."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        number = self._next_id
        self._next_id += 1
        self._known.add(number)
        flags, payload = self.invoke_frame(number, **options)
        if by_descriptor is None:
            by_descriptor = len(body) >= 64 * 1024
        self.send(INVOKE, number, payload, body, by_descriptor, flags)
        return Request(self, number)

    def call(self, body=b"{}", **options):
        return self.invoke(body, **options).done()

    def healthy(self, number=1):
        before = len(self.frames[("health", number)])
        self.send(HEALTH, number)
        frame = self.wait_for(lambda: self.frames[("health", number)][before:][:1], "HEALTHY")[0]
        return bool(frame.payload[0])

    def settle(self):
        """Returns when the worker has read what was sent before."""
        self.healthy(99)

    def release(self, name):
        """Lets one wait(name) of the model go on."""
        path = self.control / name
        with open(path, "w"):
            pass

    def gate(self, *names):
        for name in names:
            os.mkfifo(self.control / name)

    # From the worker.

    def wait_for(self, found, what):
        deadline = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                result = found()
                if result:
                    return result
                left = deadline - time.monotonic()
                assert (
                    not self._ended and left > 0
                ), f"no {what}; output: {self.lines}; problems: {self.problems}"
                self._changed.wait(left)

    def wait_for_end(self):
        """Returns when all that the worker wrote has been read."""
        self._threads[0].join(PATIENCE)
        assert self._ended

    def of_worker(self, kind):
        return self.wait_for(
            lambda: [each for each in self.frames[0] if each.kind == kind], f"frame {kind}"
        )[0]

    def loaded(self):
        self.wait_for(
            lambda: any(each.kind in (LOADED, LOAD_FAILED) for each in self.frames[0]), "LOADED"
        )
        failed = [each.json for each in self.frames[0] if each.kind == LOAD_FAILED]
        assert not failed, (failed, self.logs())
        return self.of_worker(LOADED).json

    def schema(self):
        return strict_json(self.loaded()["schema"].encode())

    def load_error(self):
        error = self.of_worker(LOAD_FAILED).json["error"]
        assert self.process.wait(PATIENCE) == 1
        return error

    def logs(self):
        return [each.json for each in self.frames[0] if each.kind == LOG]

    def wait_line(self, text):
        return self.wait_for(
            lambda: [line for line in self.lines if text in line], f"line {text!r}"
        )[0]

    def has_line(self, text):
        return any(text in line for line in self.lines)

    def _read_lines(self):
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._changed.notify_all()

    def _read_frames(self):
        data = bytearray()
        descriptors = []
        while True:
            try:
                piece, ancillary, _, _ = self._socket.recvmsg(1 << 16, socket.CMSG_SPACE(4 * 64))
            except OSError:
                piece = b""
                ancillary = []
            for level, kind, rights in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    numbers = array.array("i")
                    numbers.frombytes(rights)
                    descriptors.extend(numbers)
            if not piece:
                break
            data += piece
            while len(data) >= 16:
                size, kind, flags, reserved, number = HEADER.unpack_from(data)
                if len(data) < 16 + size:
                    break
                payload = bytes(data[16 : 16 + size])
                del data[: 16 + size]
                body = _take(descriptors.pop(0)) if flags & FD else None
                with self._changed:
                    self._accept(Frame(kind, flags, number, payload, body), size, reserved)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _accept(self, frame, size, reserved):
        if size > 1 << 20 or reserved or not HELLO <= frame.kind <= LOG:
            self.problems.append(f"{frame} is no frame of the worker's")
        try:
            self._check_json(frame)
        except ValueError as error:
            self.problems.append(f"{frame}: {error}")
        if frame.kind == HEALTHY:
            self.frames[("health", frame.id)].append(frame)
            return
        self.frames[frame.id].append(frame)
        if frame.id == 0:
            return
        kinds = [each.kind for each in self.frames[frame.id]]
        if frame.id not in self._known:
            self.problems.append(f"{frame}: no such id")
        if DONE in kinds[:-1]:
            self.problems.append(f"{frame} after DONE")
        if frame.kind == STARTED:
            self._running.add(frame.id)
            self.most_running = max(self.most_running, len(self._running))
            if len(self._running) > self._concurrency:
                self.problems.append(f"{len(self._running)} in predict")
        if frame.kind == ENDED:
            if frame.id not in self._running:
                self.problems.append(f"{frame} without STARTED")
            self._running.discard(frame.id)
        if frame.kind == DONE and frame.id in self._running:
            self.problems.append(f"{frame} before ENDED")


    @staticmethod
    def _check_json(frame):
        if frame.kind in (LOADED, LOAD_FAILED, LOG, ACCEPT):
            strict_json(frame.payload)
        elif frame.kind in (HEAD, DONE):
            status, size = struct.unpack_from("<HHI", frame.payload)[::2]
            if frame.kind == DONE:
                kind, _, status, size = struct.unpack_from("<BBHI", frame.payload)
                if kind != RESPONSE:
                    return
            if not 200 <= status <= 599:
                raise ValueError(f"status {status}")
            for name, value in strict_json(frame.payload[8 : 8 + size]):
                (name + value).encode("latin-1")


def _take(descriptor):
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            return b""
        with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapped:
            return mapped[:]
    finally:
        os.close(descriptor)
