"""A slow client does not sit on a GPU.

Promised: a slot is asked for when the body is complete, or fills the route's request_buffer, not before; it
comes back when the replica's stream has ended, not when a slow client has read the last byte; a response
beyond response_buffer pauses the replica, and a client that reads nothing for write_timeout is dropped.

Shown: target 1, so that whoever holds a slot shows by keeping others out.
"""

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h1_wire import Closed
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import equals, eventually, settled


def answer_at_once(request):
    request.respond(body=b"done")


@pytest.mark.parametrize("kind", ["h2", "h1 counted", "h1 chunked"])
def test_a_slow_uploader_holds_no_slot(replica, kind):
    fake = replica(handler=answer_at_once)
    proxy = Proxy(proxy_config([fake]))
    tag = [("x-test-id", "slow")]
    if kind == "h2":
        slow = H2Client(proxy.address)
        stream = slow.request(headers=tag, body=b"a" * 1000, end=False)
    else:
        slow = H1Client(proxy.address)
        framing = ("transfer-encoding", "chunked") if "chunked" in kind else ("content-length", "2000")
        slow.begin("POST", "/", tag + [framing])
        slow.chunk(b"a" * 1000) if "chunked" in kind else slow.send(b"a" * 1000)
    equals(lambda: proxy.metric("penstock_buffered_bytes") >= 1000, True)
    with H2Client(proxy.address) as other:
        for _ in range(3):
            assert other.fetch().body == b"done"
    assert "slow" not in fake.ids
    assert (proxy.waiting(), proxy.in_flight()) == (0, 0)
    if kind == "h2":
        stream.send(b"b" * 1000, end=True)
        assert stream.response().status == 200
    else:
        if "chunked" in kind:
            slow.chunk(b"b" * 1000)
            slow.send(b"0\r\n\r\n")
        else:
            slow.send(b"b" * 1000)
        assert slow.response().status == 200
    assert fake.by_id("slow").body == b"a" * 1000 + b"b" * 1000
    slow.close()
    proxy.wait_empty()


def test_a_body_that_fills_the_request_buffer_asks_for_a_slot_and_streams(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "64KiB"}))
    with H2Client(proxy.address) as client:
        small = client.request(headers=[("x-test-id", "small")], body=b"s" * 1000, end=False)
        large = client.request(headers=[("x-test-id", "large")], body=b"a" * 65536, end=False)
        request = fake.wait_count(1)[0]
        assert request.id == "large"
        request.wait_body(65536)
        large.send(b"b" * 100000, end=True)
        assert request.whole() == b"a" * 65536 + b"b" * 100000
        request.respond()
        assert large.response().status == 200
        small.reset()
    proxy.wait_empty()


def test_queued_uploads_do_not_stall_an_admitted_one_on_the_same_connection(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "64KiB"}))
    with H2Client(proxy.address) as client:
        admitted = client.request(headers=[("x-test-id", "admitted")], body=b"a" * 65536, end=False)
        request = fake.wait_count(1)[0]
        # They wait, with more to send than the connection's window of 4 MiB could hold.
        queued = [client.request(body=b"q" * 65536, end=False) for _ in range(40)]
        proxy.wait_queue(waiting=40, in_flight=1)
        sent = 0
        for stream in queued:
            sent += client.send_what_fits(stream.id, b"q" * 300000)
        assert sent > 2000000
        admitted.send(b"b" * 3000000, end=True)
        assert len(request.whole(30)) == 65536 + 3000000
        request.respond()
        assert admitted.response().status == 200
    proxy.wait_empty()


@pytest.mark.parametrize("kind", ["h2", "h1"])
def test_a_slow_reader_holds_no_slot_while_the_response_fits_its_buffer(replica, kind):
    body = bytes(range(256)) * 3000  # 768 000 bytes, below the 1 MiB of response_buffer
    fake = replica(threaded=True, handler=lambda request: request.respond(
        body=body if request.id == "slow" else b"done"))
    proxy = Proxy(proxy_config([fake]))
    tag = [("x-test-id", "slow")]
    if kind == "h2":
        slow = H2Client(proxy.address, auto_window=False)
        stream = slow.request(headers=tag)
        stream.data(65535)
    else:
        slow = H1Client(proxy.address, receive_buffer=4096)
        slow.request(headers=tag)
        fake.by_id("slow")
    proxy.wait_queue(waiting=0, in_flight=0)
    with H2Client(proxy.address) as other:
        for _ in range(3):
            assert other.fetch().body == b"done"
    if kind == "h2":
        assert not stream.ended
        stream.read_on()
        assert stream.response().body == body
    else:
        assert slow.response().body == body
    slow.close()
    proxy.wait_empty()


@pytest.mark.parametrize("protocol", ["h2", "h1"])
def test_a_response_beyond_the_buffer_pauses_the_replica_and_goes_on_later(replica, protocol):
    size = 16 * 1024 * 1024
    sent = []

    def produce(request):
        request.start(200, [("content-length", str(size))])
        for _ in range(size // 65536):
            request.send(b"z" * 65536)
            sent.append(65536)
        request.finish()

    fake = replica(protocol, threaded=True, handler=produce)
    proxy = Proxy(proxy_config([fake], route={"response_buffer": "64KiB"}))
    slow = H2Client(proxy.address, auto_window=False)
    stream = slow.request()
    stream.data(65535)

    def stalled():
        """the replica is paused"""
        before = len(sent)
        try:
            eventually(lambda: len(sent) > before, timeout=0.3)
        except AssertionError:
            return True
        return False
    eventually(stalled, timeout=30)
    # What is under way lies in socket buffers; the proxy itself keeps to its bound, and what
    # came with the reads (or the window) that went beyond it.
    assert sum(sent) < size
    assert proxy.metric("penstock_buffered_bytes") < (64 + 256 + 2 * 64) * 1024
    assert proxy.in_flight() == 1
    stream.read_on()
    assert stream.complete and len(stream.answer.body) == size
    slow.close()
    proxy.wait_empty()


@pytest.mark.parametrize("kind", ["h2", "h1"])
def test_a_client_that_reads_nothing_is_dropped_after_the_write_timeout(replica, kind):
    fake = replica(reset_ends_work=True, threaded=True,
                   handler=lambda request: request.respond(body=b"z" * 16000000))
    proxy = Proxy(proxy_config([fake], listener={"write_timeout": "500ms"},
                               cluster={"on_client_gone": "reset"}))
    if kind == "h2":
        slow = H2Client(proxy.address, auto_window=False)
        stream = slow.request()
        assert stream.end().reset is not None or slow.closed
    else:
        slow = H1Client(proxy.address, receive_buffer=4096)
        slow.request()
        fake.wait_count(1)
        proxy.wait_queue(0, 0)
        with pytest.raises(Closed):
            slow.response()
    proxy.wait_empty()
    slow.close()
    equals(lambda: proxy.metric("penstock_listener_rejected_total", reason="write_timeout"), 1)


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_a_reader_that_leaves_while_its_replica_is_held_back_gives_the_slot_back(replica, protocol):
    body = b"x" * (8 << 20)
    fake = replica(protocol, handler=lambda request: request.respond(body=body), threaded=True)
    proxy = Proxy(proxy_config([fake]))
    client = H2Client(proxy.address, auto_window=False)
    client.request()
    buffered = lambda: proxy.metric("penstock_buffered_bytes")  # noqa: E731
    eventually(lambda: buffered() > 1 << 20, "the response's buffer is full")
    settled(buffered)
    assert proxy.in_flight() == 1, "the replica cannot send all of it"
    client.close()
    proxy.wait_empty()
    with H2Client(proxy.address) as reader:
        assert reader.fetch().body == body
