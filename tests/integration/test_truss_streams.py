"""Streams of a Python model: unbounded ones, slow ones, broken ones.

Promised: what a generator yields reaches a client that reads, all of it, in bounded memory; a client that does
not read pauses the generator; one that leaves an endless generator closes it; a stream that breaks is never
taken for whole; chunks too far apart (streaming_read_timeout) end the stream, close the generator and free the
permit; what was yielded before a failure arrives.

Shown: models that yield a gigabyte, for ever, or too little; memory as /proc has it.
"""

import json

import pytest

from support.h2_client import H2Client
from support.truss import Served, truss
from support.waiting import SLOWNESS, equals, eventually

MIB = 1 << 20
# A sanitizer is slow, and keeps up to 256 MiB of what was freed.
MOST, KEPT = (1 << 30, 48 * MIB) if SLOWNESS <= 1 else (512 * MIB, 400 * MIB)

MODEL = """
    import stage

    class Model:
        def predict(self, inputs):
            stage.note("predict", inputs["id"])
            chunk = inputs.get("size", 1 << 16) * b"x"
            try:
                for number in range(inputs.get("chunks", 1 << 62)):
                    if number == inputs.get("fail_at"):
                        raise RuntimeError("in the middle")
                    if number == inputs.get("stop_at"):
                        stage.hold("stream")
                    stage.note("yield", inputs["id"]) if "noted" in inputs else None
                    yield chunk
            finally:
                stage.note("closed", inputs["id"])
"""


def body(**fields):
    return json.dumps(fields).encode()


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmHWM"].split()[0]) * 1024


@pytest.fixture
def apart():
    """How many seconds chunks may be apart: more than any pause of a busy machine."""
    return 60


@pytest.fixture
def served(tmp_path, way, apart):
    started = Served(truss(tmp_path, MODEL, runtime={"streaming_read_timeout": apart}), way)
    yield started
    started.stage.release("stream")
    started.wait_idle()


@pytest.mark.parametrize("way", ["direct-h1"])
def test_a_gigabyte_in_bounded_memory(served):
    warm = served.fetch(body(id=0, chunks=64))
    assert len(warm.body) == 4 * MIB
    before = [resident(pid) for pid in (served.sidecar.pid, served.worker())]
    with served.call(body(id=1, chunks=MOST >> 20, size=MIB)) as call:
        call.head()
        received = 0
        while size := int(call.client.wire.until(b"\r\n"), 16):
            call.client.wire.counted(size + 2, lambda data: None)
            received += size
    assert received == MOST
    after = [resident(pid) for pid in (served.sidecar.pid, served.worker())]
    for was, now in zip(before, after):
        assert now - was < KEPT, (before, after)


@pytest.mark.parametrize("way", ["direct-h1", "direct-h2", "proxy-h2"])
def test_who_does_not_read_pauses_the_generator_and_who_leaves_closes_it(served):
    headers, payload = [], body(id="slow", noted=1)
    client = served.client_class(served.address, receive_buffer=4096,
                                 **({"auto_window": False} if served.client_class is H2Client else {}))
    stream = client.request("POST", "/predict", headers, payload)
    served.stage.wait("predict", "slow")
    seen = [0]

    def stands_still():
        before, seen[0] = seen[0], len(served.stage.notes("yield"))
        return before == seen[0] > 0
    eventually(lambda: all(stands_still() for _ in range(3)), "the generator is paused")
    assert len(served.stage.notes("yield")) * (1 << 16) < 24 * MIB
    assert served.gate() == (0, 1), "a paused generator holds its permit"
    stream.reset() if stream else client.close(abrupt=True)
    served.stage.wait("closed", "slow")
    client.close()


@pytest.mark.parametrize("way", Served.WAYS)
def test_an_endless_generator_is_closed_when_its_client_leaves(served):
    with served.call(body(id="endless", size=100)) as call:
        assert len(call.data(10_000)) >= 10_000
        call.leave()
        served.stage.wait("closed", "endless")
    assert served.fetch(body(id="next", chunks=2, size=3)).body == b"xxxxxx"


@pytest.mark.parametrize("apart", [2])
@pytest.mark.parametrize("way", Served.WAYS)
def test_chunks_too_far_apart_end_the_stream_and_free_the_permit(served):
    with served.call(body(id="stuck", size=3, stop_at=2)) as call:
        assert call.data(6) == b"xxxxxx"
        call.cut_off()
        assert not served.stage.notes("closed"), "it is stuck between two yields"
        served.stage.release("stream")
        served.stage.wait("closed", "stuck")
    assert served.fetch(body(id="next", chunks=1, size=3)).body == b"xxx"


@pytest.mark.parametrize("way", ["direct-h1", "direct-h2", "proxy-h1"])
def test_what_was_yielded_just_before_a_failure_arrives(served):
    for number in range(10):
        with served.call(body(id=number, size=3, fail_at=3)) as call:
            assert call.cut_off() == b"x" * 9


@pytest.mark.parametrize("way", Served.WAYS)
def test_a_failure_before_the_first_chunk_is_a_500(served):
    answer = served.fetch(body(id=1, fail_at=0))
    assert (answer.status, answer.header("x-baseten-error-code")) == (500, "600")


@pytest.mark.parametrize("way", ["direct-h1", "direct-h2"])
def test_a_stream_without_chunks_is_an_empty_200(served):
    answer = served.fetch(body(id=1, chunks=0))
    assert (answer.status, bytes(answer.body)) == (200, b"")
    equals(lambda: served.sidecar.metric("penstock_in_flight"), 0)
