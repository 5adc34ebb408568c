"""HTTP/2 requests that nghttp2 alone would let pass, or let grow.

Promised (TRAPS): fields with CR, LF, NUL or bad names are never silently dropped: the request fails; host
that differs from :authority, odd schemes and paths, userinfo, CONNECT are refused; header bombs end in 431
whatever their size on the wire; one-byte DATA frames cost about what they carry; a broken connection gets
its GOAWAY and the proxy goes on serving the others.

Shown: frames made by hand; the replica must not see the request.
"""

import hpack
import pytest
from hyperframe.frame import (ContinuationFrame, DataFrame, HeadersFrame, PingFrame, SettingsFrame,
                              WindowUpdateFrame)

from support import sockets
from support.configs import proxy_config
from support.h2_client import H2Client, H2Stream
from support.programs import Proxy
from support.replica import Replica
from support.waiting import equals


@pytest.fixture(scope="module")
def served():
    fake = Replica(handler=lambda request: request.respond(body=bytes(request.body[:10])))
    proxy = Proxy(proxy_config([fake]))
    yield proxy, fake
    complaints = proxy.finish()
    fake.close()
    assert not complaints and not fake.problems


def request_with(changes=(), extra=()):
    pseudo = {":method": "GET", ":scheme": "http", ":authority": "test.example", ":path": "/bad"}
    pseudo.update(changes)
    return [(name, value) for name, value in pseudo.items() if value is not None] + list(extra)


def must_fail(served, headers, statuses):
    """Status out of `statuses`, or a reset; the connection and the proxy go on."""
    proxy, fake = served
    fake.requests.clear()
    rejected = lambda: proxy.metric("penstock_listener_rejected_total") or 0  # noqa: E731
    before = rejected()
    with H2Client(proxy.address) as client:
        answer = client.raw_request(headers).end()
        equals(rejected, before + 1, "it is counted, once")
        if answer.status:
            assert answer.status in statuses, answer
            assert answer.reason
        else:
            assert answer.reset in (1, None), "PROTOCOL_ERROR, on the stream or the connection"
        if not client.closed and not client.goaway:
            assert client.fetch("GET", "/fine").status == 200, "the connection goes on"
    with H2Client(proxy.address) as other:
        assert other.fetch("GET", "/fine").status == 200
    assert "/bad" not in [request.path for request in fake.requests]


@pytest.mark.parametrize("field", [
    ("authorization", "a\rb"), ("authorization", "a\nb"), ("authorization", "a\0b"),
    ("bad name", "x"), ("bad\0name", "x"), ("", "x"), ("Upper", "x"), ("a:b", "x"),
    ("connection", "close"), ("transfer-encoding", "chunked"), ("keep-alive", "5"),
    ("upgrade", "h2c"), ("te", "deflate"), ("host", "other.example"),
    ("content-length", "+1"), ("content-length", "x"), (":late", "x"),
])
def test_a_bad_field_fails_the_request(served, field):
    must_fail(served, request_with(extra=[field]), (400, 421))


def test_two_content_lengths_fail_the_request(served):
    must_fail(served, request_with(extra=[("content-length", "0"), ("content-length", "1")]), (400,))


@pytest.mark.parametrize("changes, statuses", [
    ({":scheme": "gopher"}, (400,)),
    ({":scheme": None}, (400,)),
    ({":path": None}, (400,)),
    ({":path": ""}, (400,)),
    ({":path": "/bad#fragment"}, (400,)),
    ({":path": "/bad\\x"}, (400,)),
    ({":path": "/bad\xe9"}, (400,)),
    ({":path": "/bad x"}, (400,)),
    ({":path": "bad"}, (400,)),
    ({":path": "*"}, (400,)),
    ({":authority": "user@test.example"}, (400,)),
    ({":authority": "a b"}, (400,)),
    ({":authority": "a:1:2"}, (400,)),
    ({":authority": "[::1"}, (400,)),
    ({":authority": ":80"}, (400,)),
    ({":authority": "a/b"}, (400,)),
    ({":authority": None}, (400,)),
    ({":method": "TRACE"}, (405,)),
    ({":method": "CONNECT", ":scheme": None, ":path": None}, (405,)),
    ({":method": "G(T"}, (400,)),
    ({":method": ""}, (400,)),
    ({":method": None}, (400,)),
])
def test_a_bad_pseudo_header_fails_the_request(served, changes, statuses):
    must_fail(served, request_with(changes), statuses)


@pytest.mark.parametrize("scheme, authority, host", [
    ("http", "test.example", "test.example"),
    ("http", "test.example", "test.example:80"),
    ("http", "test.example:80", "Test.Example"),
    ("http", "test.example:", "test.example"),
    ("http", "[::1]", "[::1]:80"),
    ("https", "test.example", "test.example:443"),
])
def test_host_equal_to_authority_is_fine(served, scheme, authority, host):
    proxy, fake = served
    fake.requests.clear()
    with H2Client(proxy.address) as client:
        answer = client.raw_request(
            request_with({":path": "/fine", ":scheme": scheme, ":authority": authority}, [("host", host)])
        ).response()
    assert answer.status == 200 and fake.requests[0].authority == authority


@pytest.mark.parametrize("authority, host", [
    ("test.example", "test.example:443"), ("test.example:80", "test.example:8080"),
    ("test.example", "test.example:8080"), ("test.example:80", "other.example:80"),
    ("test.example", "test.example:080"),
])
def test_host_with_another_port_is_not(served, authority, host):
    must_fail(served, request_with({":authority": authority}, [("host", host)]), (421,))


def test_a_header_bomb_is_refused_while_it_is_small_on_the_wire(served):
    proxy, fake = served
    fake.requests.clear()
    with H2Client(proxy.address) as client:
        # 4000 references to one field of 4 KB in the dynamic table: 16 MB decoded.
        block = client.h2.encoder.encode(request_with() + [("bomb", "x" * 4000)])
        block += bytes([0x80 | 62]) * 4000
        stream = client.streams[1] = H2Stream(client, 1)
        with client.lock:
            client.h2.send_headers(1, request_with(), end_stream=True)
            client.h2.data_to_send()
        frame = HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"])
        client.send_raw(frame.serialize())
        answer = stream.end()
        assert answer.status == 431 or answer.reset or client.closed
    with H2Client(proxy.address) as other:
        assert other.fetch("GET", "/fine").status == 200
    assert "/bad" not in [request.path for request in fake.requests]
    assert proxy.resident_bytes() < 600e6


def test_endless_continuations_end_the_connection(served):
    proxy, _ = served
    with H2Client(proxy.address) as client:
        # Or its answer to our SETTINGS, in between, would end it.
        assert client.fetch().status == 200
        block = client.h2.encoder.encode(request_with())
        client.send_raw(HeadersFrame(3, block, flags=["END_STREAM"]).serialize())
        try:
            for _ in range(200):
                client.send_raw(ContinuationFrame(3, b"").serialize())
        except OSError:
            pass
        client.wait_for(lambda: client.goaway or client.closed, "the end of the connection")


def test_headers_and_a_continuation_in_single_bytes_are_one_request(served):
    proxy, _ = served
    with H2Client(proxy.address) as client:
        # After this no SETTINGS are under way, whose acknowledgement would come between the frames.
        assert client.fetch().status == 200
        stream = client.streams[3] = H2Stream(client, 3)
        with client.lock:
            # python-h2 opens the stream, but what it would send is thrown away.
            client.h2.send_headers(3, request_with({":path": "/fine"}), end_stream=True)
            client.h2.data_to_send()
            block = hpack.Encoder().encode(request_with({":path": "/fine"}, [("a", "b" * 50)]))
        data = HeadersFrame(3, block[:20], flags=["END_STREAM"]).serialize()
        data += ContinuationFrame(3, block[20:], flags=["END_HEADERS"]).serialize()
        for byte in data:
            client.send_raw(bytes([byte]))
        assert stream.response().status == 200


def test_one_byte_data_frames_cost_about_what_they_carry(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        client.request()
        fake.wait_count(1)
        before = proxy.resident_bytes()
        streams = [client.request(end=False) for _ in range(4)]
        tiny = 30000
        for stream in streams:
            frame = DataFrame(stream.id, b"x").serialize()
            client.send_raw(frame * tiny)
        equals(lambda: proxy.metric("penstock_buffered_bytes") >= 4 * tiny, True, timeout=30)
        # Kept frame by frame they would be about 1 KB each: 120 MB.
        assert proxy.resident_bytes() - before < 40e6
        assert proxy.metric("penstock_buffered_bytes") < 40 * tiny
        for stream in streams:
            client.send_raw(DataFrame(stream.id, b"", flags=["END_STREAM"]).serialize())
        proxy.wait_queue(waiting=4, in_flight=1)
        fake.request(0).respond()
        for number in range(1, 5):
            assert fake.request(number).whole() == b"x" * tiny
            fake.request(number).respond()
        proxy.wait_empty()


@pytest.mark.parametrize("frames", [
    [DataFrame(5, b"x")],
    [WindowUpdateFrame(0, window_increment=0x7fffffff)],
    [HeadersFrame(2, b"\x82", flags=["END_HEADERS"])],
    [HeadersFrame(1, b"\xff\xff\xff\xff\xff\xff\xff", flags=["END_HEADERS", "END_STREAM"])],
    [ContinuationFrame(1, b"")],
    [SettingsFrame(0, {4: 0x80000000})],
    [b"\0\0\1\0\0\0\0\0\0x"],
    [PingFrame(0, b"12345678"), b"\0\0\7\6\0\0\0\0\0" + b"7 bytes"],
], ids=["data on an idle stream", "window overflow", "even stream", "broken hpack",
        "stray continuation", "window setting too large", "data on stream 0", "short ping"])
def test_a_broken_connection_is_ended_and_others_go_on(served, frames):
    proxy, _ = served
    with H2Client(proxy.address) as other, H2Client(proxy.address) as client:
        assert other.fetch("GET", "/fine").status == 200
        client.send_raw(b"".join(
            frame if isinstance(frame, bytes) else frame.serialize() for frame in frames))
        client.wait_for(lambda: client.goaway or client.closed, "the end of the connection")
        assert other.fetch("GET", "/fine").status == 200


def test_content_length_must_agree_with_the_body(served):
    proxy, fake = served
    fake.requests.clear()
    for length, body in (("5", b"1234"), ("3", b"1234"), ("0", b"1")):
        with H2Client(proxy.address) as client:
            stream = client.raw_request(request_with(
                {":method": "POST"}, [("content-length", length)]), end=False)
            client.send_raw(DataFrame(stream.id, body, flags=["END_STREAM"]).serialize())
            answer = stream.end()
            assert answer.status == 400 or answer.reset == 1
    assert "/bad" not in [request.path for request in fake.requests]


def test_garbage_is_no_connection(served):
    proxy, _ = served
    for garbage in (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + b"\0" * 30,
                    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 40, b"\x16\x03\x01\x02\x00\x01"):
        sock = sockets.connect(proxy.address, 10)
        sock.sendall(garbage)
        while sock.recv(4096):
            pass
        sock.close()
    equals(lambda: proxy.metric("penstock_listener_connections", listener="ingress"), 0)
