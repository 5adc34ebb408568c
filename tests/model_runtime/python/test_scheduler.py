"""The scheduler by itself: order, the limit, who is woken, and what is put when.

The simulation runs lanes and a loop as small state machines, under seeded random events.
"""

import random
import struct

import pytest

from penstock_worker import frames
from penstock_worker.call import OVER, PREPARED, RUNNING, WAITING
from penstock_worker.scheduler import Scheduler

SEEDS = list(range(60))


class FakeCall:
    def __init__(self, number, asynchronous=False, deadline=0):
        self.id, self.asynchronous, self.deadline = number, asynchronous, deadline
        self.state, self.reason = WAITING, 0
        self.started = frames.started(number)


class World:
    """A scheduler with its own clock, the frames that it put, and the wakes that it asked for."""

    def __init__(self, limit):
        self.now = 100
        self.put = []
        self.wakes = []
        self.expired = []
        self.scheduler = Scheduler(
            limit,
            self._put,
            lambda: self.now,
            lambda: self.wakes.append("lane"),
            lambda: self.wakes.append("loop"),
            self.expired.append,
        )

    def _put(self, frame):
        _, kind, _, _, number, when = struct.unpack_from("<IBBHQq", frame)
        self.put.append((kind, number, when))

    def kinds(self):
        return [(kind, number) for kind, number, _ in self.put]


def test_calls_start_in_the_order_in_which_they_were_allowed():
    world = World(1)
    calls = [FakeCall(number) for number in range(3)]
    for call in calls:
        world.scheduler.allow(call)
    assert world.wakes == ["lane"]
    assert world.scheduler.take(False) is calls[0]
    assert world.scheduler.take(False) is None
    assert world.scheduler.switch(calls[0], 200, False) is calls[1]
    assert world.scheduler.switch(calls[1], 300, False) is calls[2]
    assert world.scheduler.switch(calls[2], 400, False) is None
    assert world.put == [
        (frames.STARTED, 0, 100),
        (frames.ENDED, 0, 200),
        (frames.STARTED, 1, 100),
        (frames.ENDED, 1, 300),
        (frames.STARTED, 2, 100),
        (frames.ENDED, 2, 400),
    ]


def test_lanes_are_started_up_to_the_limit_and_idle_ones_woken_first():
    world = World(2)
    first, second, third = FakeCall(1), FakeCall(2), FakeCall(3)
    world.scheduler.allow(first)
    assert world.scheduler.take(False) is first
    world.scheduler.switch(first, 1, False)
    assert world.scheduler.take(False, lambda: world.wakes.append("idle")) is None
    world.scheduler.allow(second)
    world.scheduler.allow(third)
    assert world.wakes == ["lane", "idle", "lane"]


def test_an_asynchronous_call_wakes_the_loop_and_counts_against_the_same_limit():
    world = World(1)
    sync, other = FakeCall(1), FakeCall(2, asynchronous=True)
    world.scheduler.allow(other)
    world.scheduler.allow(sync)
    assert world.wakes == ["loop", "loop"]
    assert world.scheduler.take(False) is None
    assert world.scheduler.take(True) is other
    assert world.scheduler.take(False) is None
    assert world.scheduler.switch(other, 1, True) is None
    assert world.wakes[-1] == "lane"
    assert world.scheduler.take(False) is sync


def test_what_is_taken_back_does_not_start_and_what_runs_is_not_taken_back():
    world = World(1)
    calls = [FakeCall(number) for number in range(3)]
    for call in calls:
        world.scheduler.allow(call)
    assert world.scheduler.take_back(calls[1]) and calls[1].state == OVER
    assert not world.scheduler.take_back(calls[1])
    assert world.scheduler.take(False) is calls[0]
    assert not world.scheduler.take_back(calls[0])
    assert world.scheduler.switch(calls[0], 1, False) is calls[2]


def test_what_was_taken_back_cannot_be_allowed_any_more():
    world = World(1)
    call = FakeCall(1)
    assert world.scheduler.prepare(call) and not world.scheduler.prepare(call)
    assert not world.scheduler.take_back(call)
    assert world.scheduler.prepared(call, 5, 6)
    assert call.state == PREPARED and world.kinds() == [(frames.READY, 1)]
    assert world.scheduler.take_back(call)
    world.scheduler.allow(call)
    assert world.scheduler.take(False) is None and not world.wakes


def test_preprocess_of_a_cancelled_call_ends_without_ready():
    world = World(1)
    call = FakeCall(1)
    world.scheduler.prepare(call)
    call.reason = 1
    assert not world.scheduler.prepared(call, 5, 6) and not world.put


def test_a_deadline_that_has_passed_is_found_when_the_call_would_start():
    world = World(1)
    late, fine = FakeCall(1, deadline=100), FakeCall(2, deadline=101)
    world.scheduler.allow(late)
    world.scheduler.allow(fine)
    assert world.scheduler.take(False) is fine
    assert world.expired == [late] and late.state == OVER


class Simulation:
    """Lanes and a loop that behave as the worker's do; every step checks the promises."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.limit = self.random.choice([1, 1, 2, 3])
        self.world = World(self.limit)
        self.scheduler = self.world.scheduler
        self.scheduler._start_lane = self.start_lane
        self.scheduler._wake_loop = self.wake_loop
        self.calls = []
        self.runners = []  # what will act: "loop", or a lane
        self.running = {}  # call -> lane or "loop"
        self.idle = set()
        self.lanes = 0
        self.allowed = []
        self.started = []

    def start_lane(self):
        self.lanes += 1
        assert self.lanes <= self.limit
        self.runners.append(f"lane{self.lanes}")

    def wake_loop(self):
        self.runners.append("loop")

    def wake(self, lane):
        self.idle.discard(lane)
        self.runners.append(lane)

    def begin(self, call, runner):
        assert call.state == RUNNING and call.asynchronous is (runner == "loop")
        self.started.append(call)
        self.running[call] = runner
        assert len(self.running) <= self.limit

    def act(self, runner):
        if runner == "loop":
            call = self.scheduler.take(True)
            while call is not None:
                self.begin(call, runner)
                call = self.scheduler.take(True)
            return
        call = self.scheduler.take(False, lambda: self.wake(runner))
        if call is None:
            self.idle.add(runner)
        else:
            self.begin(call, runner)

    def end(self, call):
        runner = self.running.pop(call)
        following = self.scheduler.switch(call, self.world.now, runner == "loop")
        if following is not None:
            self.begin(following, runner)
        elif runner != "loop":
            self.runners.append(runner)  # it asks again before it sleeps

    def step(self):
        self.world.now += 1
        choice = self.random.random()
        if choice < 0.35:
            deadline = self.random.choice([0, 0, 0, self.world.now + self.random.randrange(30)])
            call = FakeCall(len(self.calls), self.random.random() < 0.4, deadline)
            self.calls.append(call)
            self.allowed.append(call)
            self.scheduler.allow(call)
        elif choice < 0.65 and self.runners:
            self.act(self.runners.pop(self.random.randrange(len(self.runners))))
        elif choice < 0.9 and self.running:
            self.end(self.random.choice(list(self.running)))
        elif self.calls:
            self.scheduler.take_back(self.random.choice(self.calls))

    def finish(self):
        while self.runners or self.running:
            while self.runners:
                self.act(self.runners.pop())
            for call in list(self.running):
                self.end(call)

    def check(self):
        starts = [call.id for call in self.started]
        assert starts == sorted(starts), "not in the order in which they were allowed"
        expected = [call for call in self.allowed if call in self.started]
        assert expected == self.started
        missing = [
            call.id for call in self.allowed if call.state != OVER and call not in self.started
        ]
        assert not missing, "allowed, never started, though every runner acted"
        running, most = set(), 0
        for kind, number, _ in self.world.put:
            if kind == frames.STARTED:
                assert number not in running
                running.add(number)
                most = max(most, len(running))
            else:
                running.remove(number)
        assert not running and most <= self.limit


@pytest.mark.parametrize("seed", SEEDS)
def test_simulation(seed):
    simulation = Simulation(seed)
    for _ in range(2000):
        simulation.step()
    simulation.finish()
    simulation.check()
