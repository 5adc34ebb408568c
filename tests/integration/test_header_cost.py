"""What header blocks cost that are small on the wire and large once decoded.

Promised: however a peer uses HPACK's table, a received megabyte costs at most 0.3 s of CPU; the connection of
a peer that goes too far is ended, the others go on, and the listener counts why.

Shown: references to one long field, in one block and in many, to the proxy, from a replica, and to the sidecar;
the CPU time is the program's own, so other work on the machine changes it little.
"""

import pathlib

import hpack
import pytest
from hyperframe.frame import ContinuationFrame, HeadersFrame, SettingsFrame

from support import sockets
from support.configs import proxy_config
from support.h2_client import H2Client
from support.programs import Proxy, Sidecar
from support.models import stages_model
from support.waiting import equals

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
REQUEST = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")]
PIECE = 16384
MAX_SECONDS_PER_MEGABYTE = 0.3


def cpu_seconds(program):
    tasks = pathlib.Path(f"/proc/{program.process.pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def bomb(fields, references):
    """A field of 4000 bytes that enters the table, and references to it of one byte each."""
    return hpack.Encoder().encode(fields + [("bomb", "x" * 4000)]) + b"\xbe" * references


def frames(stream_id, block, end_stream=True):
    first = HeadersFrame(stream_id, block[:PIECE], flags=["END_STREAM"] if end_stream else [])
    pieces = [first] + [ContinuationFrame(stream_id, block[at:at + PIECE])
                        for at in range(PIECE, len(block), PIECE)]
    pieces[-1].flags.add("END_HEADERS")
    return b"".join(piece.serialize() for piece in pieces)


def one_block():
    return frames(1, bomb(REQUEST, 130000))


def many_blocks():
    """Each is a little too large."""
    sent = frames(1, bomb(REQUEST, 20))
    encoder = hpack.Encoder()
    encoder.encode(REQUEST + [("bomb", "x" * 4000)])
    again = encoder.encode(REQUEST) + b"\xbe" * 20
    return sent + b"".join(frames(stream_id, again) for stream_id in range(3, 4000, 2))


def spend(address, data):
    """Sends all of it, until the other side hangs up; returns how much that was."""
    sock = sockets.connect(address, 10)
    try:
        sock.sendall(PREFACE + data)
        while sock.recv(65536):
            pass
    except OSError:
        pass
    finally:
        sock.close()
    return len(data)


def expect_cheap(program, address, data, times=20):
    before = cpu_seconds(program)
    sent = sum(spend(address, data) for _ in range(times))
    cost = (cpu_seconds(program) - before) / (sent / 1e6)
    assert cost < MAX_SECONDS_PER_MEGABYTE, f"{cost:.2f} s of CPU for a megabyte"


@pytest.mark.parametrize("data", [one_block, many_blocks])
def test_requests_to_the_proxy(replica, data):
    fake = replica(handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as other:
        assert other.fetch().status == 200
        expect_cheap(proxy, sockets.parse(proxy.address), data())
        assert proxy.metric("penstock_listener_rejected_total", listener="ingress",
                            reason="header_expansion") == 20
        assert other.fetch().status == 200
    assert len(fake.requests) == 2


def test_requests_to_the_sidecar(tmp_path):
    sidecar = Sidecar(stages_model(folder=tmp_path))
    expect_cheap(sidecar, sockets.parse(sidecar.address), one_block())
    with H2Client(sidecar.address) as other:
        assert other.fetch("GET", "/health/ready").status == 200


def test_responses_of_a_replica(replica):
    block = bomb([(":status", "200")], 130000)

    def answer(request):
        if request.path == "/bomb":
            request.send_raw(frames(request.stream_id, block, end_stream=False))
            request.end_work()
        else:
            request.respond()

    fake = replica("h2", handler=answer)
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "h2"}, target=2))
    before = cpu_seconds(proxy)
    with H2Client(proxy.address) as client:
        for _ in range(20):
            assert client.fetch("GET", "/bomb").status == 502
        assert client.fetch("GET", "/fine").status == 200
    cost = (cpu_seconds(proxy) - before) / (20 * len(block) / 1e6)
    assert cost < MAX_SECONDS_PER_MEGABYTE, f"{cost:.2f} s of CPU for a megabyte"
    equals(lambda: proxy.metric("penstock_cluster_in_flight", cluster="m"), 0)
