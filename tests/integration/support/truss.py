"""Truss models written by a test, the sidecar that serves them, and clients of both protocols.

A model's directory has packages/stage.py, through which model and test work together without
clocks: the model notes what it does in a file, and holds until the test releases it.
"""

import os
import pathlib
import shutil
import sys
import textwrap

import yaml

from .configs import proxy_config
from .families import children
from .h1_client import H1Client
from .h1_wire import Closed
from .h2_client import H2Client
from .models import EXAMPLES
from .programs import Proxy, Sidecar
from .waiting import PATIENCE_S, eventually, patience

STAGE = '''
import asyncio
import os
import time

FOLDER = os.environ["STAGE_FOLDER"]


def note(*words):
    """Appends a line to the test's record, in one write."""
    file = os.open(os.path.join(FOLDER, "notes"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, (" ".join(str(word) for word in words) + "\\n").encode())
    os.close(file)


def released(name):
    return os.path.exists(os.path.join(FOLDER, f"go-{name}"))


def hold(name):
    while not released(name):
        time.sleep(0.002)


async def hold_async(name):
    while not released(name):
        await asyncio.sleep(0.002)
'''


class Stage:
    """The test's end of packages/stage.py."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)

    def notes(self, first=None):
        """Every note so far as a list of words; only those that begin with `first`."""
        try:
            lines = (self.folder / "notes").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        notes = [line.split() for line in lines]
        return [note for note in notes if first is None or note[0] == first]

    def wait(self, *words, count=1, timeout=PATIENCE_S):
        """Waits until the model has made that note `count` times."""
        wanted = [str(word) for word in words]
        eventually(lambda: self.notes().count(wanted) >= count,
                   f"the model notes {wanted} {count} times", timeout)

    def release(self, *names):
        for name in names:
            (self.folder / f"go-{name}").touch()


def truss(folder, source, files=None, **config):
    """A Truss below folder with model/model.py = source; files: more of them, by path."""
    folder = pathlib.Path(folder)
    target = folder / "truss"
    penstock = {"python": sys.executable, **config.pop("penstock", {})}
    variables = {"STAGE_FOLDER": str(folder / "stage"), **config.pop("environment_variables", {})}
    config = {"model_name": "t", **config, "penstock": penstock, "environment_variables": variables}
    texts = {"config.yaml": yaml.safe_dump(config), "model/model.py": source,
             "packages/stage.py": STAGE, **(files or {})}
    for path, text in texts.items():
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    return target


def example(folder, name):
    """A copy of an example that runs on the tests' interpreter, whatever python3 is in PATH."""
    target = pathlib.Path(folder) / name
    shutil.copytree(EXAMPLES / name, target, ignore=shutil.ignore_patterns("__pycache__"))
    with open(target / "config.yaml", "a", encoding="utf-8") as file:
        file.write(f"penstock:\n  python: {sys.executable}\n")
    return target


class Served:
    """A sidecar with a model, directly or behind a proxy, spoken to in one of the protocols."""

    WAYS = ("direct-h1", "direct-h2", "proxy-h1", "proxy-h2")

    def __init__(self, model, way="direct-h1", arguments=(), target=1000, ready=True,
                 environment=None, cluster=None, route=None):
        where, protocol = way.split("-")
        self.model = model
        self.stage = Stage(model.parent / "stage")
        self.client_class = {"h1": H1Client, "h2": H2Client}[protocol]
        self.sidecar = Sidecar(model, arguments, ready, environment)
        self.proxy = None
        if where == "proxy":
            config = proxy_config([self.sidecar], target, cluster=cluster, route=route)
            self.proxy = Proxy(config, ready=ready)
            if ready:
                self.get("/")  # from an answer the proxy learns that this replica can cancel

    @property
    def address(self):
        return (self.proxy or self.sidecar).address

    def call(self, body=b"{}", path="/v1/models/t:predict", headers=(), method="POST"):
        return Call(self, method, path, headers, body)

    def fetch(self, body=b"{}", path="/v1/models/t:predict", headers=(), method="POST", timeout=PATIENCE_S):
        with self.call(body, path, headers, method) as call:
            return call.response(timeout)

    def get(self, path):
        return self.fetch(b"", path, method="GET")

    def gate(self):
        """(waiting, in predict)"""
        return (self.sidecar.metric("penstock_gate_waiting"),
                self.sidecar.metric("penstock_gate_in_predict"))

    def wait_gate(self, waiting, in_predict, timeout=PATIENCE_S):
        eventually(lambda: self.gate() == (waiting, in_predict),
                   f"{waiting} wait at the gate and {in_predict} predict", timeout)

    def wait_idle(self, timeout=PATIENCE_S):
        """Permits, requests and the proxy's accounts are back at zero."""
        self.wait_gate(0, 0, timeout)
        eventually(lambda: self.sidecar.metric("penstock_in_flight") == 0, "nothing in flight", timeout)
        if self.proxy:
            self.proxy.wait_empty(timeout=timeout)

    def worker(self):
        """The process id of the worker that runs now; waits for it."""
        def found():
            pids = children(self.sidecar.pid)
            runs = executable(pids[0]) if len(pids) == 1 else None
            return pids[0] if runs and not runs.endswith("/penstock-guard") else None
        return eventually(found, "one worker process")


class Call:
    """One request on a connection of its own, whatever the protocol."""

    def __init__(self, served, method, path, headers, body):
        self.client = served.client_class(served.address)
        self.method = method
        self.stream = None
        self.answer = None
        if served.client_class is H2Client:
            self.stream = self.client.request(method, path, headers, body)
        else:
            self.client.request(method, path, headers, body)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def response(self, timeout=PATIENCE_S):
        """The whole response; fails if it is cut off."""
        if self.stream:
            return self.stream.response(timeout)
        return self.client.response(self.method, timeout)

    def head(self, timeout=PATIENCE_S):
        self.answer = (self.stream or self.client).head(timeout)
        return self.answer

    def data(self, count, timeout=PATIENCE_S):
        """Waits for the head and the first `count` bytes of the body, of which it returns what came."""
        if self.stream:
            return bytes(self.stream.data(count, timeout))
        self.head(timeout)
        pieces = []
        while sum(map(len, pieces)) < count:
            size = int(self.client.wire.until(b"\r\n"), 16)
            assert size > 0, f"the response ended after {pieces}"
            pieces.append(self.client.wire.exactly(size))
            self.client.wire.exactly(2)
        return b"".join(pieces)

    def cut_off(self, timeout=PATIENCE_S):
        """Waits for a response that ends too early; returns what came of its body."""
        if self.stream:
            answer = self.stream.end(timeout)
            assert not self.stream.complete, "the stream ended as if all were well"
            assert answer.status == 200, answer
            assert isinstance(answer.reset, int), "a stream is reset, its connection stays"
            return bytes(answer.body)
        if self.answer is None:
            self.head(timeout)
        answer = self.answer
        assert (answer.status, answer.header("transfer-encoding")) == (200, "chunked"), answer
        pieces = []
        try:
            self.client.wire.chunks(pieces.append)
        except Closed:
            return b"".join(pieces)
        raise AssertionError(f"the response ended as if all were well: {answer}")

    def leave(self):
        """The client goes away: a reset over HTTP/2, the end of the connection over HTTP/1."""
        if self.stream:
            self.stream.reset()
        else:
            self.client.close(abrupt=True)


def executable(pid):
    """What a process runs; None if it is a zombie or gone."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


def descriptors(pid):
    """What the descriptors of a process are, sorted: sockets and pipes without their numbers."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}").split(":[")[0])
        except OSError:
            pass
    return sorted(found)


def body_files(pid):
    """The bodies in memory that a process has open."""
    return [each for each in descriptors(pid) if "memfd:" in each and "penstock-lanes" not in each]
