"""Generators under back-pressure.

Promised: at most stream_buffer bytes are under way; at the bound the generator waits and keeps its
lane; a chunk frame has at most 64 KiB; gathering needs no credit.
"""

import pytest

from fake_sidecar import CHUNK, DONE, ENDED, HEAD, STARTED, STREAM_ENDED

COUNTING = """
import asyncio
class Model:
    {prefix}def predict(self, x):
        for i in range(10):
            say(f"made {{i}}")
            yield "x" * 100
    def completions(self, x): return x
"""


@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_generator_waits_for_credit_and_keeps_its_lane(serve, prefix):
    sidecar = serve(COUNTING.format(prefix=prefix), stream_buffer=250)
    request, other = sidecar.invoke(), sidecar.invoke(1, operation="completions")
    request.wait(CHUNK, 2)
    sidecar.wait_line("made 2")
    assert len(request.chunks()) == 200 and not other.has(STARTED)
    request.credit(100)
    request.wait(CHUNK, 3)
    sidecar.wait_line("made 3")
    assert len(request.chunks()) == 300 and not request.has(ENDED)
    request.credit(1000)
    request.wait(CHUNK, 10)
    assert request.done().kind == STREAM_ENDED and len(request.chunks()) == 1000
    assert other.done().json == 1


@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_large_chunk_goes_in_frames_of_64_kib(serve, prefix):
    sidecar = serve(
        f"class Model:\n    {prefix}def predict(self, x):\n        yield b'a' * 300_000\n"
    )
    request = sidecar.invoke()
    assert request.done().kind == STREAM_ENDED
    assert request.chunks() == b"a" * 300_000
    assert max(len(frame.payload) for frame in request.frames if frame.kind == CHUNK) == 65536


def test_the_bound_holds_for_a_chunk_that_is_larger_than_it(serve):
    sidecar = serve(
        "class Model:\n    def predict(self, x):\n        yield b'a' * 1000\n", stream_buffer=300
    )
    request = sidecar.invoke()
    for count in range(1, 4):
        request.wait(CHUNK, count)
        assert len(request.chunks()) == 300 * count and not request.has(ENDED)
        request.credit(300)
    assert request.done().kind == STREAM_ENDED and len(request.chunks()) == 1000


@pytest.mark.parametrize("prefix", ["", "async "])
def test_gathering_needs_no_credit(serve, prefix):
    sidecar = serve(COUNTING.format(prefix=prefix), stream_buffer=250)
    request = sidecar.invoke(gather=True)
    assert request.done().json == "x" * 1000
    assert not request.has(HEAD)


@pytest.mark.parametrize("chunks", ["[]", "['', b'']"])
def test_a_stream_of_nothing(serve, chunks):
    sidecar = serve(f"class Model:\n    def predict(self, x):\n        yield from {chunks}\n")
    done = sidecar.call()
    assert (done.status, done.headers, done.body) == (
        200,
        {"content-type": "application/octet-stream"},
        b"",
    )


def test_a_character_split_over_two_chunks_is_gathered(serve):
    sidecar = serve(
        "class Model:\n    def predict(self, x):\n        yield b'\\xc3'\n        yield b'\\xa9'\n"
    )
    assert sidecar.call(gather=True).json == "é"


def test_two_streams_hold_two_lanes_and_a_third_waits(serve):
    sidecar = serve(
        """
class Model:
    def predict(self, x):
        yield "a"
        wait(f"gate{x}")
        yield "b"
""",
        concurrency=2,
    )
    sidecar.gate("gate0", "gate1", "gate2")
    requests = [sidecar.invoke(i) for i in range(3)]
    for request in requests[:2]:
        request.wait(CHUNK)
    assert not requests[2].has(STARTED)
    sidecar.release("gate1")
    assert requests[1].done().kind == STREAM_ENDED
    requests[2].wait(CHUNK)
    assert not requests[0].has(ENDED)
    for name in ("gate0", "gate2"):
        sidecar.release(name)
    for request in requests:
        request.done()
        assert [frame.kind for frame in request.frames] == [
            STARTED,
            HEAD,
            CHUNK,
            CHUNK,
            ENDED,
            DONE,
        ]
    assert sidecar.most_running == 2
