"""Predicts of microseconds run on the thread that reads the socket, and nobody notices.

Promised: what arrives while such a predict turns out long after all is still read and acted upon,
and what was to be written is written; over and over.

A busy machine makes a short predict long; then another thread reads, or a lane runs the next ones
for a while. So a test tries until the reader runs the call that it is about: the model says who.
"""

import pytest

from fake_sidecar import READY, STARTED, TAKEN_BACK

MODEL = """
import threading
class Model:
    def predict(self, x):
        if x:
            say(f"{x} is with {threading.current_thread().name}")
            wait(x)
        return threading.current_thread().name
    def completions(self, x):
        return threading.current_thread().name
    def is_healthy(self): return True
"""
READERS = ("MainThread", "reader-2")
TRIES = 30


def settle_in(sidecar):
    """Calls until predict is known to be short; the thread that runs it now."""
    for _ in range(2000):
        name = sidecar.call("").json
        if name in READERS:
            return name
    pytest.fail("predict is never taken for short")


def stick(sidecar, name="gate"):
    """A call whose predict, on the reader's thread, waits for its gate; with the gate's name."""
    for number in range(TRIES):
        gate = f"{name}-{number}"
        sidecar.gate(gate)
        settle_in(sidecar)
        call = sidecar.invoke(gate)
        if sidecar.wait_line(f"{gate} is with ").endswith(READERS):
            return call, gate
        sidecar.release(gate)
        call.done()
    pytest.fail("the reader never runs what was short so far")


@pytest.fixture
def sidecar(serve):
    return serve(MODEL)


def test_the_reader_runs_what_is_short(sidecar):
    assert sidecar.call("").json == "predict-1"
    for _ in range(TRIES):
        settle_in(sidecar)
        ready = sidecar.invoke("", go=False)
        ready.wait(READY)
        ready.predict()
        if ready.done().json in READERS:
            return
    pytest.fail("the reader never runs what was prepared before")


def test_a_predict_that_turns_out_long_stops_nobody(sidecar):
    for index in range(3):
        long, gate = stick(sidecar, f"gate{index}")
        long.wait(STARTED)
        assert sidecar.healthy(index + 1)
        waiting = sidecar.invoke("")
        waiting.cancel()
        assert waiting.done().kind == TAKEN_BACK
        following = sidecar.invoke("")
        sidecar.settle()
        assert not following.has(STARTED)
        sidecar.release(gate)
        assert long.done().json in READERS
        following.done()


def test_another_lane_is_used_while_the_reader_is_stuck(serve):
    sidecar = serve(MODEL, concurrency=2)
    long, gate = stick(sidecar)
    names = [sidecar.call("", operation="completions").json for _ in range(500)]
    assert set(names) <= {"predict-1", "predict-2"}
    sidecar.release(gate)
    assert long.done().json in READERS
    assert sidecar.most_running == 2


def test_a_long_predict_is_not_taken_for_short(serve):
    sidecar = serve("""
import threading, time
class Model:
    def predict(self, x):
        time.sleep(0.001)
        return threading.current_thread().name
""")
    assert {sidecar.call("").json for _ in range(100)} == {"predict-1"}
