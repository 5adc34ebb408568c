"""HTTP/1.1 requests that two parsers could read differently are refused, and the connection with them.

Promised: the list of TRAPS: content-length with transfer-encoding (either order), transfer-encoding on 1.0 or
anything but exactly chunked, repeated content-length, odd sizes, bare LF or CR, obs-fold, space before the
colon, two Hosts, unknown versions. An upgrade to anything but WebSocket is ignored, the absolute form says the
host whatever Host does, and OPTIONS * is answered here. What goes to the replica is written anew: recomputed
framing, no hop-by-hop fields.

Shown: the bytes themselves, each followed by a request to /smuggled on the same connection; the replica must
see neither.
"""

import socket

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h1_wire import Closed
from support.h2_client import H2Client
from support.programs import Proxy
from support.replica import Replica
from support.waiting import equals

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"

REFUSED = {
    "content-length and transfer-encoding":
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding and content-length":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
    "transfer-encoding on 1.0":
        b"POST / HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding gzip, chunked":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding identity":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: identity\r\n\r\n",
    "transfer-encoding with a control byte":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "transfer-encoding twice":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked"
        b"\r\n\r\n0\r\n\r\n",
    "transfer-encoding chunked, chunked":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "two equal content-lengths":
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n",
    "two different content-lengths":
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\ncontent-length: 5\r\n\r\n",
    "a list of content-lengths":
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0, 0\r\n\r\n",
    "content-length with a plus": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +0\r\n\r\n",
    "content-length negative": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
    "content-length hexadecimal": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0x0\r\n\r\n",
    "content-length with an underscore":
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1_0\r\n\r\n0123456789",
    "content-length empty": b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length:\r\n\r\n",
    "content-length too large for 64 bits":
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551616\r\n\r\n",
    "chunk size with a sign":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n+0\r\n\r\n",
    "chunk size with 0x":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "chunk size with an underscore":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0_0\r\n\r\n",
    "chunk size empty":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\r\n\r\n",
    "chunk size too large":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "chunk line ended by LF alone":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
    "chunk data without its CRLF":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n",
    "chunk data ended by LF alone":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n",
    "bare LF in a chunk extension":
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
    "LF after the request line": b"GET / HTTP/1.1\nhost: x\r\n\r\n",
    "LF after a field": b"GET / HTTP/1.1\r\nhost: x\na: b\r\n\r\n",
    "LF for the empty line": b"GET / HTTP/1.1\r\nhost: x\r\n\n",
    "bare CR in a value": b"GET / HTTP/1.1\r\nhost: x\r\na: b\rc\r\n\r\n",
    "bare CR in the target": b"GET /\ra HTTP/1.1\r\nhost: x\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nhost: x\r\na: b\0c\r\n\r\n",
    "obs-fold": b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n",
    "obs-fold with a tab": b"GET / HTTP/1.1\r\nhost: x\r\na: b\r\n\tc\r\n\r\n",
    "a field line first that begins with a space": b"GET / HTTP/1.1\r\n host: x\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nhost: x\r\nnothing\r\n\r\n",
    "empty name": b"GET / HTTP/1.1\r\nhost: x\r\n: y\r\n\r\n",
    "a name that is no token": b"GET / HTTP/1.1\r\nhost: x\r\nb(d: y\r\n\r\n",
    "two Hosts": b"GET / HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "a Host with a path": b"GET / HTTP/1.1\r\nhost: x/y\r\n\r\n",
    "a Host with userinfo": b"GET / HTTP/1.1\r\nhost: a@b\r\n\r\n",
    "version 2.0": b"GET / HTTP/2.0\r\nhost: x\r\n\r\n",
    "version 1.2": b"GET / HTTP/1.2\r\nhost: x\r\n\r\n",
    "version 0.9": b"GET /\r\n\r\n",
    "lower case version": b"GET / http/1.1\r\nhost: x\r\n\r\n",
    "two spaces in the request line": b"GET  / HTTP/1.1\r\nhost: x\r\n\r\n",
    "a tab in the request line": b"GET\t/ HTTP/1.1\r\nhost: x\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
    "a fragment in the target": b"GET /a#b HTTP/1.1\r\nhost: x\r\n\r\n",
    "a target without its slash": b"GET a HTTP/1.1\r\nhost: x\r\n\r\n",
    "a method that is no token": b"G(T / HTTP/1.1\r\nhost: x\r\n\r\n",
    "upgrade with a body":
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"content-length: 5\r\n\r\nhello",
    "websocket without a valid key":
        b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: short\r\n\r\n",
}


@pytest.fixture(scope="module")
def served():
    fake = Replica(handler=lambda request: request.respond(
        body=("%s %s" % (request.method, request.path)).encode()))
    proxy = Proxy(proxy_config([fake]))
    yield proxy, fake
    complaints = proxy.finish()
    fake.close()
    assert not complaints and not fake.problems


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_nothing_behind_it_is_read(served, name):
    proxy, fake = served
    fake.requests.clear()
    with H1Client(proxy.address) as client:
        client.send(REFUSED[name] + SMUGGLED)
        try:
            answer = client.response()
            assert answer.status in (400, 421, 501, 505), answer
            assert answer.closed
            assert client.wait_closed() == b""
        except Closed as closed:
            raise AssertionError(f"closed without an answer: {closed}") from None
    # A control request after it shows that nothing is still on its way to the replica.
    with H1Client(proxy.address) as client:
        assert client.fetch("GET", "/control").status == 200
    assert [request.path for request in fake.requests] in (["/control"], ["/", "/control"])
    assert "/smuggled" not in [request.path for request in fake.requests]
    if "chunk" not in name:
        assert len(fake.requests) == 1


@pytest.mark.parametrize("head, expected", [
    (b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n"
     b"http2-settings: AAMAAABkAAQAAP__\r\n\r\n", b"GET /"),
    (b"\r\nGET /after-an-empty-line HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /after-an-empty-line"),
    (b"GET http://x/absolute HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /absolute"),
    (b"GET http://x/other-host HTTP/1.1\r\nhost: y\r\n\r\n", b"GET /other-host"),
    (b"GET /empty-host HTTP/1.1\r\nhost:\r\n\r\n", b"GET /empty-host"),
    (b"POST /upgrades HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2,h2c\r\ncontent-length: 1\r\n\r\na",
     b"POST /upgrades"),
    (b"GET /1.0 HTTP/1.0\r\nhost: x\r\n\r\n", b"GET /1.0"),
    (b"POST / HTTP/1.1\r\nhost: x\r\nTransfer-Encoding: Chunked\r\n\r\n1;ext=\"v\"\r\na\r\n0\r\n\r\n",
     b"POST /"),
    (b"GET /%2e%2e/q?a=b&c HTTP/1.1\r\nHOST: x\r\n\r\n", b"GET /%2e%2e/q?a=b&c"),
])
def test_what_is_odd_but_right_is_served(served, head, expected):
    proxy, _ = served
    with H1Client(proxy.address) as client:
        client.send(head)
        answer = client.response()
        assert (answer.status, answer.body) == (200, expected)


@pytest.mark.parametrize("up", ["h1", "h2"])
def test_which_host_the_replica_is_told(replica, up):
    fake = replica(up, handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake], route={"hosts": ["a.example"]}))
    with H1Client(proxy.address) as client:
        client.send(b"GET http://a.example/ HTTP/1.1\r\nhost: b.example\r\n\r\n")
        assert client.response().status == 200
        client.send(b"GET http://b.example/ HTTP/1.1\r\nhost: a.example\r\n\r\n")
        assert client.response().status == 404
        client.send(b"GET / HTTP/1.1\r\nhost:\r\n\r\n")
        assert client.response().status == 404, "only a route for any host takes it"
    request = fake.request(0)
    assert (request.header("host") or request.authority) == "a.example"
    assert len(fake.requests) == 1


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_options_of_the_server_as_a_whole_are_answered_here(served, client_class):
    proxy, fake = served
    fake.requests.clear()
    rejected = proxy.metric("penstock_listener_rejected_total")
    with client_class(proxy.address) as client:
        answer = client.fetch("OPTIONS", "*", [("x-request-id", "mine")])
        assert (answer.status, answer.body) == (200, b"")
        assert "POST" in answer.header("allow") and answer.header("x-request-id") == "mine"
        assert client.fetch("OPTIONS", "/").body == b"OPTIONS /", "of a resource: its own"
    assert proxy.metric("penstock_listener_rejected_total") == rejected
    assert [request.path for request in fake.requests] == ["/"]


def half_closed(proxy, bytes_sent):
    client = H1Client(proxy.address)
    client.send(bytes_sent)
    client.sock.shutdown(socket.SHUT_WR)
    return client


@pytest.mark.parametrize("request_sent", [
    b"GET / HTTP/1.1\r\nhost: x\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"], ids=["get", "http10", "post"])
def test_a_client_that_ends_its_direction_gets_its_answer(replica, request_sent):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with half_closed(proxy, request_sent) as running, half_closed(proxy, request_sent) as waiting:
        for client in running, waiting:
            fake.request(0 if client is running else 1)
            fake.requests[-1].respond(body=b"done")
            answer = client.response()
            assert (answer.status, answer.body) == (200, b"done")
            client.wait_closed()
    proxy.wait_empty()


def test_a_client_that_has_closed_is_noticed_while_it_waits_and_while_it_runs(replica):
    fake = replica(reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], cluster={"on_client_gone": "reset"}))
    clients = [half_closed(proxy, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n") for _ in range(2)]
    proxy.wait_queue(1, 1)
    for client in clients:
        client.close()
    proxy.wait_empty()
    assert len(fake.requests) <= 2


def test_where_a_half_close_is_a_departure_nobody_is_answered(replica):
    fake = replica(reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], listener={"half_close": "departure"},
                               cluster={"on_client_gone": "reset"}))
    with half_closed(proxy, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n") as client:
        assert client.wait_closed() == b""
    proxy.wait_empty()


def test_pipelined_requests_are_answered_in_order(served):
    proxy, _ = served
    with H1Client(proxy.address) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % n for n in range(20)))
        assert [client.response().body for _ in range(20)] == [b"GET /%d" % n for n in range(20)]


def test_a_request_in_single_bytes_is_whole(served):
    proxy, fake = served
    fake.requests.clear()
    with H1Client(proxy.address) as client:
        for byte in (b"POST /bytes HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
                     b"5\r\nhello\r\n0\r\nt: u\r\n\r\n"):
            client.send(bytes([byte]))
        assert client.response().status == 200
    assert fake.requests[0].body == b"hello"


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_hop_by_hop_fields_end_here(replica, protocol):
    fake = replica(protocol, handler=lambda request: request.respond(
        200, [("x-kept", "1"), ("connection", "x-named"), ("x-named", "1"), ("keep-alive", "5")]
        if protocol == "h1" else [("x-kept", "1")]))
    proxy = Proxy(proxy_config([fake]))
    with H1Client(proxy.address) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: keep-alive, x-secret, authorization, host\r\n"
                    b"x-secret: 1\r\nauthorization: token\r\nkeep-alive: 5\r\nproxy-connection: x\r\n"
                    b"te: trailers, deflate\r\nproxy-authorization: p\r\nx-kept: 1\r\n\r\n")
        answer = client.response()
    assert answer.status == 200 and answer.header("x-kept") == "1"
    assert answer.header("x-named") is None and answer.header("keep-alive") is None
    request = fake.requests[0]
    names = {name for name, _ in request.headers}
    assert not names & {"x-secret", "keep-alive", "proxy-connection", "upgrade"}
    assert request.header("authorization") == "token", "never stripped by name"
    assert request.header("x-kept") == "1"
    assert request.header("te") in (None, "trailers")


def test_the_connection_is_kept_or_closed_as_asked(served):
    proxy, _ = served
    with H1Client(proxy.address) as client:
        for _ in range(3):
            assert not client.fetch("GET").closed
        assert client.fetch("GET", headers=[("connection", "close")]).closed
        assert client.wait_closed() == b""
    with H1Client(proxy.address) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.response().status in (200, 400, 404)
        client.wait_closed()
    equals(lambda: proxy.metric("penstock_listener_connections", listener="ingress"), 0)
