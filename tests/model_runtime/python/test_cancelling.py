"""What CANCEL and deadlines do in each state of a request.

Promised: what has not begun is taken back at once; async code is cancelled at its next await,
generators are closed, sync code learns of it by its token and holds its lane to its end; the answer
is dropped.
"""

import time

import pytest

from fake_sidecar import CANCELLED, CHUNK, ENDED, EXPIRED, READY, RESPONSE, STARTED, TAKEN_BACK

BLOCKING = """
class Model:
    def predict(self, x):
        say(f"running {x}")
        wait(f"gate{x}")
        return x
"""


def test_an_allowed_request_is_taken_back(serve):
    sidecar = serve(BLOCKING)
    sidecar.gate("gate0")
    running, waiting = sidecar.invoke(0), sidecar.invoke(1)
    sidecar.wait_line("running 0")
    waiting.cancel()
    assert waiting.done().kind == TAKEN_BACK and not waiting.has(STARTED)
    sidecar.release("gate0")
    assert running.done().json == 0
    assert not sidecar.has_line("running 1")


def test_a_ready_request_is_taken_back(serve):
    sidecar = serve(BLOCKING)
    request = sidecar.invoke(0, go=False)
    request.wait(READY)
    request.cancel()
    assert request.done().kind == TAKEN_BACK
    request.predict()  # crosses the DONE
    sidecar.gate("gate1")
    other = sidecar.invoke(1)
    sidecar.release("gate1")
    assert other.done().json == 1 and not request.has(STARTED)


def test_after_preprocess_it_is_cancelled(serve):
    sidecar = serve(
        "class Model:\n    def preprocess(self, x): return x\n    def predict(self, x): pass\n"
    )
    request = sidecar.invoke(0, go=False)
    request.wait(READY)
    request.cancel()
    assert request.done().kind == CANCELLED


def test_a_queued_preprocess_is_taken_back_and_a_running_one_ends_without_ready(serve):
    sidecar = serve(
        """
class Model:
    def preprocess(self, x):
        say(f"pre {x}")
        wait("gate")
        return x
    def predict(self, x): return x
""",
        preprocess_threads=1,
    )
    sidecar.gate("gate")
    first, second = sidecar.invoke(1, go=False), sidecar.invoke(2, go=False)
    sidecar.wait_line("pre 1")
    second.cancel()
    assert second.done().kind == TAKEN_BACK
    first.cancel()
    sidecar.settle()
    sidecar.release("gate")
    assert first.done().kind == CANCELLED and not first.has(READY)
    assert not sidecar.has_line("pre 2")


def test_sync_predict_keeps_its_lane_and_learns_of_it_at_once(serve):
    sidecar = serve("""
from starlette.requests import Request
class Model:
    def predict(self, x, request: Request):
        say("running")
        while not request.state.is_cancelled():
            pass
        say("told")
        wait("gate")
        return x
    def completions(self, x): return x
""")
    sidecar.gate("gate")
    request, other = sidecar.invoke(), sidecar.invoke(5, operation="completions")
    sidecar.wait_line("running")
    request.cancel()
    sidecar.wait_line("told")
    assert not request.has(ENDED) and not other.has(STARTED)
    sidecar.release("gate")
    assert request.done().kind == CANCELLED
    assert other.done().json == 5


@pytest.mark.parametrize(
    "watch",
    [
        "await request.state.watch_disconnect()",
        "while not await request.is_disconnected(): await asyncio.sleep(0)",
    ],
)
def test_async_code_may_watch_the_client_from_a_loop_of_its_own(serve, watch):
    sidecar = serve(f"""
import asyncio
from starlette.requests import Request
class Model:
    def predict(self, x, request: Request):
        async def watch():
            say("watching")
            {watch}
        asyncio.run(watch())
        say("gone")
""")
    request = sidecar.invoke()
    sidecar.wait_line("watching")
    request.cancel()
    assert request.done().kind == CANCELLED
    sidecar.wait_line("gone")


STAGES = ["preprocess", "predict", "postprocess"]


@pytest.mark.parametrize("stage", STAGES)
def test_an_async_stage_is_cancelled_at_its_next_await(serve, stage):
    methods = {name: "return x" for name in STAGES}
    methods[stage] = """
        say("running")
        try:
            await asyncio.Event().wait()
        finally:
            say("cancelled")"""
    sidecar = serve(
        "import asyncio\nclass Model:\n"
        + "".join(f"    async def {name}(self, x): {body}\n" for name, body in methods.items())
    )
    request = sidecar.invoke(1, go=False)
    if stage != "preprocess":
        request.wait(READY)
        request.predict()
    sidecar.wait_line("running")
    request.cancel()
    assert request.done().kind == CANCELLED
    sidecar.wait_line("cancelled")
    assert not sidecar.logs()


def test_async_work_that_does_not_stop_holds_its_lane(serve):
    sidecar = serve("""
import asyncio
class Model:
    async def predict(self, x):
        say("running")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            say("stubborn")
            await asyncio.get_running_loop().run_in_executor(None, wait, "gate")
        return x
    async def completions(self, x): return x
""")
    sidecar.gate("gate")
    request, other = sidecar.invoke(), sidecar.invoke(5, operation="completions")
    sidecar.wait_line("running")
    request.cancel()
    sidecar.wait_line("stubborn")
    assert not request.has(ENDED) and not other.has(STARTED)
    sidecar.release("gate")
    assert request.done().kind == CANCELLED and other.done().json == 5


def test_a_sync_generator_is_closed_at_its_next_yield(serve):
    sidecar = serve(
        """
class Model:
    def predict(self, x):
        try:
            while True:
                yield "x" * 100
        finally:
            say("closed")
""",
        stream_buffer=1000,
    )
    request = sidecar.invoke()
    request.wait(CHUNK, 10)
    request.cancel()
    assert request.done().kind == CANCELLED
    sidecar.wait_line("closed")


@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_generator_that_is_slow_to_close_holds_its_lane(serve, prefix):
    waiting = (
        "await asyncio.get_running_loop().run_in_executor(None, wait, 'gate')"
        if prefix
        else ("wait('gate')")
    )
    sidecar = serve(
        f"""
import asyncio
class Model:
    {prefix}def predict(self, x):
        try:
            while True:
                yield "x" * 100
        finally:
            say("closing")
            {waiting}
    def completions(self, x): return x
""",
        stream_buffer=1000,
    )
    sidecar.gate("gate")
    request, other = sidecar.invoke(), sidecar.invoke(1, operation="completions")
    request.wait(CHUNK, 10)
    request.cancel()
    sidecar.wait_line("closing")
    sidecar.settle()
    assert not request.has(ENDED) and not other.has(STARTED)
    sidecar.release("gate")
    assert request.done().kind == CANCELLED and other.done().json == 1


def test_an_async_generator_is_closed_while_it_waits(serve):
    sidecar = serve("""
import asyncio
class Model:
    async def predict(self, x):
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            say("closed")
""")
    request = sidecar.invoke()
    request.wait(CHUNK)
    request.cancel()
    assert request.done().kind == CANCELLED
    sidecar.wait_line("closed")
    assert not sidecar.logs()


def test_a_model_that_cancels_itself_has_failed(serve):
    sidecar = serve("""
import asyncio
class Model:
    async def predict(self, x):
        raise asyncio.CancelledError
""")
    done = sidecar.call()
    assert (done.kind, done.status) == (RESPONSE, 500)


def test_a_deadline_that_has_passed_before_predict(serve):
    sidecar = serve(BLOCKING)
    request = sidecar.invoke(0, deadline=time.monotonic_ns() - 1)
    done = request.done()
    assert done.kind == EXPIRED and not request.has(STARTED)
    sidecar.gate("gate1")
    ahead = sidecar.invoke(1, deadline=time.monotonic_ns() + 10**12)
    sidecar.release("gate1")
    assert ahead.done().json == 1


def test_a_cancel_of_what_is_over_or_unknown_is_ignored(serve):
    sidecar = serve("class Model:\n    def predict(self, x): return x\n")
    request = sidecar.invoke(1)
    assert request.done().json == 1
    request.cancel()
    request.credit(10)
    assert sidecar.call(2).json == 2
