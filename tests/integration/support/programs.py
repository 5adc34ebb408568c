"""The real programs: started, watched through their JSON log, stopped by process id."""

import ctypes
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import threading

import yaml

from . import readers
from .families import resident_bytes
from .sockets import parse
from .waiting import PATIENCE_S, eventually, patience

SOURCE = pathlib.Path(__file__).resolve().parents[3]
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
REPORTS = ("AddressSanitizer", "ThreadSanitizer", "LeakSanitizer", "runtime error:", "CHECK")


def binary(name):
    folder = os.environ.get("PENSTOCK_BIN_DIR")
    assert folder, "PENSTOCK_BIN_DIR names the folder with penstock-proxy and penstock-sidecar"
    return os.path.join(folder, name)


def _die_with_the_test():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Program:
    """A running program. Its log lines are parsed as they come; what is no JSON is kept as text."""

    running = []  # taken down by the fixtures in conftest.py

    def __init__(self, arguments, environment=None, cwd=None):
        self.changed = threading.Condition()
        self.events = []
        self.stray = []  # lines on stderr that are no JSON: a sanitizer's report, a crash
        self.output = []
        self.process = subprocess.Popen(
            [str(argument) for argument in arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})}, cwd=cwd, preexec_fn=_die_with_the_test)
        Program.running.append(self)
        self.readers = [
            threading.Thread(target=self._read, args=(self.process.stderr, self._event)),
            threading.Thread(target=self._read, args=(self.process.stdout, self.output.append)),
        ]
        for reader in self.readers:
            reader.daemon = True
            reader.start()

    @property
    def pid(self):
        return self.process.pid

    def _read(self, pipe, take):
        for line in pipe:
            with self.changed:
                take(line.decode("utf-8", "replace").rstrip("\n"))
                self.changed.notify_all()
        pipe.close()
        with self.changed:
            self.changed.notify_all()

    def _event(self, line):
        try:
            event = json.loads(line)
            assert isinstance(event, dict)
            self.events.append(event)
        except (ValueError, AssertionError):
            self.stray.append(line)

    def logged(self, message, **fields):
        """Every event so far with that message and those fields."""
        with self.changed:
            return [event for event in self.events
                    if event.get("message") == message
                    and all(event.get(key) == value for key, value in fields.items())]

    def wait_log(self, message, count=1, timeout=PATIENCE_S, **fields):
        """Waits for the `count`-th event with that message and those fields, and returns it."""
        def come():
            return len(self.logged(message, **fields)) >= count or not self._alive()
        with self.changed:
            self.changed.wait_for(come, patience(timeout))
            found = self.logged(message, **fields)
        assert len(found) >= count, f"no {message!r} {fields} in the log:\n{self.tail()}"
        return found[count - 1]

    def _alive(self):
        return self.process.poll() is None or any(r.is_alive() for r in self.readers)

    def tail(self, lines=40):
        with self.changed:
            shown = [json.dumps(event) for event in self.events] + self.stray
        code = self.process.poll()
        return "\n".join(shown[-lines:] + [f"exit code: {code}"])

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=30):
        """Waits for the end; returns the exit code (negative: the signal that ended it)."""
        try:
            code = self.process.wait(patience(timeout))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running:\n{self.tail()}") from None
        for reader in self.readers:
            reader.join(patience(PATIENCE_S))
        return code

    def stop(self, timeout=30):
        """SIGTERM, then the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        return self.wait()

    def finish(self):
        """Ends it at once, however the test left it; returns complaints about how it went."""
        complaints = []
        if self.process.poll() is None:
            self.signal(signal.SIGINT)
            try:
                self.wait(20)
            except AssertionError:
                complaints.append(f"did not stop on SIGINT:\n{self.tail()}")
        self.kill()
        code = self.process.returncode
        if code < 0 and code not in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT):
            complaints.append(f"ended by signal {-code}:\n{self.tail()}")
        complaints += [line for line in self.stray if any(mark in line for mark in REPORTS)]
        if self in Program.running:
            Program.running.remove(self)
        return [f"{self.process.args[0]} {complaint}" for complaint in complaints]

    def resident_bytes(self):
        return resident_bytes(self.pid)

    def bytes_read(self):
        """By all its reads so far, from sockets as well."""
        with open(f"/proc/{self.pid}/io", encoding="ascii") as io:
            return int(io.readline().split()[1])


class Proxy(Program):
    """penstock-proxy with a configuration given as a dict (or text), on free loopback ports."""

    def __init__(self, config, workers=1, arguments=(), ready=True, cwd=None, environment=None):
        self.folder = tempfile.TemporaryDirectory(prefix="penstock-test-")
        self.config_file = os.path.join(self.folder.name, "proxy.yaml")
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        with open(self.config_file, "w", encoding="utf-8") as file:
            file.write(text)
        super().__init__([binary("penstock-proxy"), "-c", self.config_file,
                          "--concurrency", workers, *arguments], environment, cwd)
        if ready:
            self.wait_ready()

    def wait_ready(self, timeout=PATIENCE_S):
        eventually(lambda: self._fails_early() or readers.get(self.admin, "/ready").status == 200,
                   "the proxy answers /ready with 200", timeout)

    def _fails_early(self):
        assert self.process.poll() is None, f"the proxy ended:\n{self.tail()}"
        return False

    def listener(self, name):
        return parse(self.wait_log("listening", listener=name)["address"])

    @property
    def address(self):
        return self.listener("ingress")

    @property
    def admin(self):
        return self.listener("admin")

    def metric(self, name, /, **labels):
        return readers.metric(self.admin, name, **labels)

    def cluster(self, name="m"):
        return readers.cluster(self.admin, name)

    def waiting(self, name="m"):
        return self.cluster(name)["waiting"]

    def in_flight(self, name="m"):
        return self.cluster(name)["in_flight"]

    def wait_queue(self, waiting=None, in_flight=None, name="m", timeout=PATIENCE_S):
        """Waits until exactly so many wait and run."""
        def reached():
            cluster = self.cluster(name)
            seen = (cluster["waiting"], cluster["in_flight"])
            return ((waiting is None or seen[0] == waiting)
                    and (in_flight is None or seen[1] == in_flight))
        try:
            eventually(reached, f"waiting={waiting} in_flight={in_flight}", timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.cluster(name)}") from None

    def wait_empty(self, name="m", timeout=PATIENCE_S):
        """Everything is back at zero: queue, slots, buffered bytes."""
        self.wait_queue(0, 0, name, timeout)
        eventually(lambda: self.metric("penstock_buffered_bytes") == 0,
                   "penstock_buffered_bytes is 0", timeout)


class Sidecar(Program):
    """penstock-sidecar with a model directory, on a free loopback port or where it is told."""

    def __init__(self, model, arguments=(), ready=True, environment=None, listen="127.0.0.1:0"):
        super().__init__([binary("penstock-sidecar"), "--model", model,
                          "--listen", listen, *arguments], environment)
        if ready:
            self.wait_log("model ready")

    @property
    def address(self):
        return parse(self.wait_log("listening", listener="model")["address"])

    @property
    def text_address(self):
        return "%s:%d" % self.address

    def metric(self, name, /, **labels):
        return readers.metric(self.address, name, **labels)


def run_to_end(arguments, timeout=30, environment=None, cwd=None):
    """Runs a program that should end by itself; returns (exit code, stdout, stderr)."""
    done = subprocess.run([str(argument) for argument in arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=patience(timeout), check=False,
                          env={**os.environ, **(environment or {})}, cwd=cwd)
    return done.returncode, done.stdout.decode(), done.stderr.decode()
