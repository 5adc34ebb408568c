"""From one predict to the next: what a lane leaves to other threads, and what is known meanwhile.

Promised: whatever has begun, the sidecar has been told, or finds in the lanes' memory should the
worker die; an answer waits for another thread only where predict lets others run.
"""

import signal
import socket
import time

import pytest

from fake_sidecar import DONE, ENDED, HEADER, STARTED
from penstock_worker.answers import Answers
from penstock_worker.call import Call
from penstock_worker.channel import Channel
from penstock_worker.journal import Journal
from penstock_worker.model import LoadedModel
from penstock_worker.predicting import Predicting
from penstock_worker.preparing import decode_early
from penstock_worker.scheduler import Scheduler
from penstock_worker.sharing import Sharing

LATE = 10_000_000_000


class Echo:
    def predict(self, x):
        return x


class Doubling(Echo):
    def postprocess(self, x):
        return 2 * x


class AsyncDoubling(Echo):
    async def postprocess(self, x):
        return 2 * x


class HeldPool:
    """Runs its jobs when it is told to."""

    def __init__(self):
        self.jobs = []
        self.free = True
        self.last_submit = 0

    def submit(self, job, *arguments):
        self.jobs.append((job, arguments))
        self.last_submit = time.monotonic_ns()
        return self.free

    def run(self):
        while self.jobs:
            job, arguments = self.jobs.pop(0)
            job(*arguments)


class Both(Echo):
    def completions(self, x):
        return x


class FakeLoop:
    def call(self, *_):
        pass


class World:
    """One lane of a model whose calls are all allowed; the pool is held, and a socket pair has what
    was written. begun: what the lanes' memory was told."""

    def __init__(self, model, calls, trusted=True):
        self.peer, ours = socket.socketpair()
        self.peer.setblocking(False)
        channel = Channel(ours, lambda: pytest.fail("the socket is lost"))
        self.scheduler = Scheduler(
            1, channel.put, time.monotonic_ns, lambda: None, lambda: None, lambda call: None
        )
        self.pool = HeldPool()
        self.begun = []
        self.predicting = Predicting(
            self.scheduler,
            Answers({}, channel, Journal(channel)),
            channel,
            FakeLoop(),
            self.pool,
            None,
            1 << 20,
            self,
        )
        self.operations = LoadedModel(model).operations
        operation = self.operations[0]
        self.sharing = operation.sharing
        self.sharing.trusted = trusted
        self.calls = [
            Call(number, operation, 0, False, False, b"", b"1") for number in range(1, calls + 1)
        ]
        for call in self.calls:
            self.scheduler.allow(call)
        self.scheduler.take(False)
        channel.drain()
        assert self.written() == [(STARTED, 1)]

    def begin(self, lane, number):
        self.begun.append((lane, number))

    def run(self, number):
        """Runs that call on the lane; the next one's number."""
        following = self.predicting.run_on_lane(self.calls[number - 1], 0)
        return following and following.id

    def frames(self):
        found, data = [], b""
        try:
            data = self.peer.recv(1 << 16)
        except BlockingIOError:
            pass
        while data:
            size, kind, _, _, number = HEADER.unpack_from(data)
            found.append((kind, number, data[16 : 16 + size]))
            data = data[16 + size :]
        return found

    def written(self):
        return [(kind, number) for kind, number, _ in self.frames()]


@pytest.mark.parametrize("model", [Echo, Doubling])
def test_the_lane_goes_on_and_the_rest_is_left_to_the_pool(model):
    world = World(model(), 2)
    assert world.run(1) == 2
    assert world.written() == [] and world.begun == [(0, 2)]
    world.pool.run()
    assert world.written() == [(ENDED, 1), (STARTED, 2), (DONE, 1)]


def test_started_tells_when_the_lane_went_on():
    world = World(Doubling(), 2)
    world.run(1)
    world.pool.run()
    times = {(kind, number): payload for kind, number, payload in world.frames()}
    when = int.from_bytes(times[STARTED, 2], "little")
    assert world.pool.last_submit <= when <= time.monotonic_ns()


def test_what_the_memory_tells_stays_until_it_has_been_written():
    world = World(Echo(), 3)
    assert world.run(1) == 2
    assert world.run(2) == 3
    assert world.begun == [(0, 2)], "of 3 nothing but the memory would have told, and of 2 nothing"
    assert world.written() == [
        (ENDED, 1),
        (STARTED, 2),
        (ENDED, 2),
        (STARTED, 3),
        (DONE, 2),
    ]
    assert not world.sharing.trusted


def test_nothing_is_left_to_a_pool_without_a_free_thread():
    world = World(Doubling(), 2)
    world.pool.free = False
    assert world.run(1) == 2
    assert world.written() == [(ENDED, 1), (STARTED, 2)] and not world.begun


@pytest.mark.parametrize("model", [Echo, Doubling])
def test_the_lane_writes_itself_when_nobody_comes_next(model):
    world = World(model(), 1)
    assert world.run(1) is None
    assert world.written()[0] == (ENDED, 1) and not world.begun
    assert not world.pool.jobs or model is Doubling


def test_the_next_call_is_trusted_by_what_it_is():
    world = World(Both(), 2)
    world.calls[1].operation = world.operations[2]
    assert world.run(1) == 2
    assert world.written() == [(ENDED, 1), (STARTED, 2), (DONE, 1)] and not world.begun


@pytest.mark.parametrize(
    "spoil",
    [
        lambda world: world.calls[0].cancel(1),
        lambda world: setattr(world.sharing, "trusted", False),
    ],
)
def test_the_lane_answers_itself_where_that_is_surer(spoil):
    world = World(Echo(), 2)
    spoil(world)
    assert world.run(1) == 2
    assert world.written() == [(ENDED, 1), (STARTED, 2), (DONE, 1)] and not world.begun


def test_nothing_is_left_to_the_event_loop():
    world = World(AsyncDoubling(), 2)
    assert world.run(1) == 2
    assert world.written() == [(ENDED, 1), (STARTED, 2)] and not world.begun


def test_probes_come_before_trust():
    world = World(Echo(), 30, trusted=False)
    number = 1
    while not world.sharing.trusted:
        assert not world.begun
        number = world.run(number)
        world.pool.run()
    world.frames()
    assert world.run(number) == number + 1
    assert world.written() == [] and world.begun == [(0, number + 1)]


def early(body, operation):
    call = Call(1, operation, 0, False, False, b"", body)
    decode_early(call)
    return call.decoded, call.inputs


def test_a_short_body_is_decoded_when_it_comes():
    operation = LoadedModel(Echo()).operations[0]
    assert early(b'{"a": [1]}', operation) == (True, {"a": [1]})


def test_a_body_that_is_none_is_left_to_whoever_answers_that():
    operation = LoadedModel(Echo()).operations[0]
    assert early(b"{", operation) == (False, None)
    assert early(b"", operation) == (False, None)


def probes(sharing, calls):
    return sum(sharing.wants_probe() for _ in range(calls))


def test_trust_comes_with_some_probes_in_time():
    sharing = Sharing()
    assert probes(sharing, 20) == 20
    for _ in range(8):
        assert not sharing.trusted
        sharing.waited(1000)
    assert sharing.trusted


def test_trust_ends_with_one_that_is_late_for_longer_each_time():
    sharing = Sharing()
    pauses = []
    for _ in range(12):
        for _ in range(8):
            sharing.waited(1000)
        assert sharing.trusted
        sharing.waited(LATE)
        assert not sharing.trusted
        pauses.append(10_000 - probes(sharing, 10_000))
    assert pauses == [min(16 << index, 4096) for index in range(12)]


def test_long_trust_forgets_what_was():
    sharing = Sharing()
    for _ in range(5):
        sharing.held_up()
    for _ in range(300):
        sharing.waited(1000)
    sharing.held_up()
    assert 1000 - probes(sharing, 1000) == 16


def test_what_runs_when_the_worker_dies_is_known(serve):
    """The worker is killed in the first instruction of predict, before any thread but the lane's
    can have written anything."""
    by_memory = 0
    for _ in range(10):
        sidecar = serve("""
import os, signal, time
class Model:
    def predict(self, x):
        if x: os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.001)
""")
        for request in [sidecar.invoke(0) for _ in range(30)]:
            request.done()
        for _ in range(4):
            sidecar.invoke(0)
        last = sidecar.invoke(1)
        behind = sidecar.invoke(0)
        sidecar.process.wait()
        sidecar.wait_for_end()
        assert last.has(STARTED) or last.id in sidecar.last_begun()
        assert not behind.has(STARTED) and behind.id not in sidecar.last_begun()
        assert sidecar.process.returncode == -signal.SIGKILL
        by_memory += not last.has(STARTED)
        if by_memory:
            return
    pytest.fail("a lane never goes on before it has written that it does")


def test_a_predict_that_keeps_the_interpreter_keeps_nobodys_answer(serve):
    """Each predict holds the GIL until the answer of the one before has come."""
    sidecar = serve("""
import ctypes
library = ctypes.PyDLL(None)
class Model:
    def predict(self, x):
        library.close(library.open(x.encode(), 0))
""")
    names = [f"gate-{number}" for number in range(40)]
    sidecar.gate(*names)
    requests = [sidecar.invoke(str(sidecar.control / name)) for name in names]
    for name, request in zip(names, requests):
        time.sleep(0.01)  # so long predict takes at least
        sidecar.release(name)
        request.done()
