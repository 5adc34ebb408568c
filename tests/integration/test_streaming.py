"""Streams pass through as they are: bodies both ways, events, trailers, 1xx, gRPC.

Promised: response bytes reach the client when the replica sends them, not when the response ends; server-sent
events are untouched; trailers, 100-continue and informational responses work; gRPC passes; bodies of any size
arrive whole over every pair of protocols.

Shown: client and replica exchange bytes step by step, each waiting for the other's.
"""

import hashlib
import itertools

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h1_wire import head_bytes
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import equals, eventually

PAIRS = list(itertools.product(["h1", "h2"], ["h1", "h2"]))
CLIENTS = {"h1": H1Client, "h2": H2Client}


@pytest.mark.parametrize("down, up", PAIRS)
def test_large_bodies_arrive_whole_both_ways(replica, down, up):
    upload = bytes(range(256)) * 12000 + b"end"
    download = upload[::-1]
    fake = replica(up, threaded=True)
    fake.handler = lambda request: request.respond(
        body=download, headers=[("x-hash", hashlib.sha256(request.body).hexdigest())])
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "256KiB",
                                              "response_buffer": "256KiB"}))
    with CLIENTS[down](proxy.address) as client:
        for _ in range(2):
            answer = client.fetch(body=upload, timeout=60)
            assert answer.status == 200 and answer.body == download
            assert answer.header("x-hash") == hashlib.sha256(upload).hexdigest()
    proxy.wait_empty()


@pytest.mark.parametrize("protocol", ["auto", "h2", "http1"])
def test_the_clusters_protocol_setting(replica, protocol):
    fake = replica("h1" if protocol == "http1" else "both",
                   handler=lambda request: request.respond(body=request.protocol.encode()))
    proxy = Proxy(proxy_config([fake], cluster={"protocol": protocol}))
    with H2Client(proxy.address) as client:
        for _ in range(3):
            assert client.fetch().body == (b"HTTP/1.1" if protocol == "http1" else b"HTTP/2")


def test_auto_finds_out_that_a_replica_speaks_only_http1(replica):
    fake = replica("h1", handler=lambda request: request.respond(body=b"plain"))
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        for _ in range(5):
            assert client.fetch(body=b"x").body == b"plain"
    assert len(fake.requests) == 5


@pytest.mark.parametrize("down, up", PAIRS)
def test_server_sent_events_arrive_one_by_one_and_untouched(replica, down, up):
    fake = replica(up)
    proxy = Proxy(proxy_config([fake]))
    events = [b"data: %d\n\n" % n for n in range(5)]
    with CLIENTS[down](proxy.address) as client:
        stream = client.request("GET", "/events", [("accept", "text/event-stream")])
        request = fake.request(0)
        request.start(200, [("content-type", "text/event-stream"), ("cache-control", "no-cache")])
        head = stream.head() if stream else client.head()
        assert head.header("content-type") == "text/event-stream"
        assert head.header("content-length") is None
        seen = b""
        for event in events:
            request.send(event)
            seen += event
            if stream:
                assert stream.data(len(seen)) == seen
            else:
                size = int(client.wire.until(b"\r\n"), 16)
                assert client.wire.exactly(size + 2) == event + b"\r\n"
        request.finish()
        if stream:
            assert stream.response().body == seen
        else:
            assert client.wire.exactly(5) == b"0\r\n\r\n"


@pytest.mark.parametrize("up", ["h1", "h2"])
def test_a_request_streams_once_its_buffer_is_full(replica, up):
    fake = replica(up)
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "1KiB"}))
    with H2Client(proxy.address) as client:
        stream = client.request(body=b"a" * 1024, end=False)
        request = fake.wait_count(1)[0]
        request.wait_body(1024)
        request.start(200)
        stream.head()
        for turn in range(1, 4):
            stream.send(b"b" * 10)
            request.wait_body(1024 + 10 * turn)
            request.send(b"c" * 10)
            stream.data(10 * turn)
        stream.send(b"", end=True)
        assert len(request.whole()) == 1054
        request.finish()
        assert stream.response().body == b"c" * 30
    proxy.wait_empty()


@pytest.mark.parametrize("down, up", PAIRS)
def test_trailers_pass_both_ways(replica, down, up):
    fake = replica(up)
    proxy = Proxy(proxy_config([fake]))
    with CLIENTS[down](proxy.address) as client:
        if down == "h2":
            stream = client.request(body=b"body", end=False, headers=[("te", "trailers")])
            stream.trailers([("x-sum", "1")])
        else:
            stream = None
            client.begin("POST", "/", [("transfer-encoding", "chunked"), ("te", "trailers")])
            client.chunk(b"body")
            client.send(b"0\r\nx-sum: 1\r\n\r\n")
        request = fake.request(0)
        assert request.body == b"body"
        request.respond(200, body=b"answer", trailers=[("x-status", "fine")])
        answer = stream.response() if stream else client.response()
    assert answer.body == b"answer" and answer.trailer("x-status") == "fine"
    assert ("x-sum", "1") in [tuple(t) for t in request.trailers]


# What belongs into a head, or is the proxy's own to say.
NO_TRAILERS = [(name, "1") for name in (
    "cookie", "proxy-authorization", "content-type", "content-encoding", "cache-control", "expect", "range",
    "if-match", "set-cookie", "www-authenticate", "location", "x-request-id", "x-forwarded-for",
    "x_forwarded_for", "forwarded", "x-real-ip", "x-penstock-reason", "x-penstock-attempt-id",
    "x-request-timeout-ms", "grpc-timeout")]


@pytest.mark.parametrize("down, up", PAIRS)
def test_trailers_say_nothing_that_belongs_into_a_head(replica, down, up):
    fake = replica(up)
    proxy = Proxy(proxy_config([fake]))
    trailers = NO_TRAILERS + [("x-sum", "1")]
    with CLIENTS[down](proxy.address) as client:
        if down == "h2":
            stream = client.request(body=b"body", end=False, headers=[("te", "trailers")])
            stream.trailers(trailers)
        else:
            stream = None
            client.begin("POST", "/", [("transfer-encoding", "chunked"), ("te", "trailers")])
            client.chunk(b"body")
            client.send(head_bytes("0", trailers))
        request = fake.request(0)
        request.respond(200, body=b"answer", trailers=trailers)
        answer = stream.response() if stream else client.response()
    assert [tuple(t) for t in request.trailers] == [("x-sum", "1")]
    assert [tuple(t) for t in answer.trailers] == [("x-sum", "1")]


@pytest.mark.parametrize("down", ["h1", "h2"])
def test_100_continue_is_sent_when_the_body_is_wanted(replica, down):
    fake = replica(handler=lambda request: request.respond(body=bytes(request.body)))
    proxy = Proxy(proxy_config([fake], route={"max_request_body": "1KiB"}))
    expect = [("expect", "100-continue")]
    with CLIENTS[down](proxy.address) as client:
        if down == "h1":
            client.begin("POST", "/", expect + [("content-length", "5")])
            assert client.wire.head()[0].startswith("HTTP/1.1 100")
            client.wire.buffer.clear()
            client.send(b"hello")
            answer = client.response()
        else:
            stream = client.request(headers=expect + [("content-length", "5")], end=False)
            client.wait_for(lambda: stream.answer.informational, "100 Continue")
            assert stream.answer.informational[0][0] == 100
            stream.send(b"hello", end=True)
            answer = stream.response()
        assert (answer.status, answer.body) == (200, b"hello")
    # Not when the request is refused anyway.
    with H1Client(proxy.address) as client:
        client.begin("POST", "/", expect + [("content-length", "5000")])
        answer = client.response()
        assert answer.status == 413 and not answer.informational
    assert len(fake.requests) == 1


WONT = {
    "queue_full": (429, {"queue": {"max_requests": 0}}),
    "queue_bytes_full": (429, {"queue": {"max_bytes": "4KiB"}}),
    "payload_too_large": (413, {"route": {"max_request_body": "4KiB"}}),
    "not_found": (404, {"route": {"prefix": "/elsewhere"}}),
    "overloaded": (503, {"limits": {"max_buffered": "64KiB"}}),
}


@pytest.mark.parametrize("down", ["h1", "h2"])
@pytest.mark.parametrize("reason", WONT)
def test_a_body_that_will_be_refused_is_not_asked_for(replica, down, reason):
    status, options = WONT[reason]
    fake = replica(handler=lambda request: None)
    proxy = Proxy(proxy_config([fake], **options))
    with H2Client(proxy.address) as other, CLIENTS[down](proxy.address) as client:
        other.request(path="/elsewhere", body=b"x" * (70_000 if reason == "overloaded" else 1))  # it has the only slot
        proxy.wait_queue(0, 1)
        if reason == "overloaded":
            equals(lambda: proxy.metric("penstock_buffered_bytes"), 70_000, "it may have to be sent again")
        expect = [("expect", "100-continue"), ("content-length", "50000")]
        if down == "h1":
            client.begin("POST", "/", expect)
            answer = client.response()
        else:
            answer = client.request(headers=expect, end=False).end()
        assert (answer.status, answer.reason) == (status, reason)
        assert not answer.informational


@pytest.mark.parametrize("down, up", PAIRS)
def test_informational_responses_pass(replica, down, up):
    fake = replica(up)
    proxy = Proxy(proxy_config([fake]))
    with CLIENTS[down](proxy.address) as client:
        stream = client.request("GET", "/")
        request = fake.request(0)
        request.informational(103, [("link", "</style.css>")])
        request.respond(body=b"done")
        answer = stream.response() if stream else client.response()
    assert answer.status == 200 and answer.body == b"done"
    assert [status for status, _ in answer.informational] == [103]


@pytest.mark.parametrize("down, up", PAIRS)
@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body(replica, down, up, method, status):
    length = [("content-length", "1234")] if method == "HEAD" else []

    def answer(request):
        request.start(status, length or [("x-none", "1")] if up == "h2" else length, end=True)
    fake = replica(up)
    if up == "h1":
        raw = b"HTTP/1.1 %d S\r\n%s\r\n" % (status, b"content-length: 1234\r\n" if length else b"")
        fake.handler = lambda request: request.send_raw(raw)
    else:
        fake.handler = answer
    proxy = Proxy(proxy_config([fake]))
    with CLIENTS[down](proxy.address) as client:
        for _ in range(2):
            got = client.fetch(method)
            assert (got.status, got.body) == (status, b"")
            if method == "HEAD":
                assert got.header("content-length") == "1234"


def test_an_http1_replica_that_ends_its_body_by_closing(replica):
    fake = replica("h1", handler=lambda request: request.send_raw(
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end", close=True))
    proxy = Proxy(proxy_config([fake]))
    for client_class in CLIENTS.values():
        with client_class(proxy.address) as client:
            assert client.fetch().body == b"until the end"
    proxy.wait_empty()


def test_grpc_passes_with_its_trailers_and_streams(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "1KiB"}))
    message = b"\0\0\0\2\0" + b"m" * 512
    with H2Client(proxy.address) as client:
        stream = client.request(path="/pkg.Service/Method", end=False, body=message * 2,
                                headers=[("content-type", "application/grpc+proto"),
                                         ("te", "trailers"), ("grpc-timeout", "10S")])
        request = fake.wait_count(1)[0]
        request.wait_body(2 * 517)
        assert request.header("te") == "trailers"
        assert request.header("content-type") == "application/grpc+proto"
        request.start(200, [("content-type", "application/grpc+proto")])
        request.send(message)
        assert stream.data(517) == message
        stream.send(message, end=True)
        assert request.whole() == message * 3
        request.finish([("grpc-status", "0"), ("grpc-message", "ok")])
        answer = stream.response()
    assert (answer.trailer("grpc-status"), answer.reason) == ("0", None)


def test_a_trailers_only_answer_of_the_replica_passes(replica):
    fake = replica("h2", handler=lambda request: request.start(
        200, [("content-type", "application/grpc"), ("grpc-status", "5")], end=True))
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        answer = client.fetch(headers=[("content-type", "application/grpc"), ("te", "trailers")])
    assert answer.header("grpc-status") == "5" and answer.body == b""


def test_a_replica_that_answers_before_the_upload_has_ended(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "1KiB"}))
    with H2Client(proxy.address) as client:
        stream = client.request(body=b"x" * 2000, end=False)
        request = fake.wait_count(1)[0]
        request.respond(413, body=b"enough")
        request.connection.send_reset(request.stream_id, 0)
        answer = stream.end()
        assert (answer.status, answer.body) == (413, b"enough")
        eventually(lambda: proxy.in_flight() == 0, "the slot is back")
        assert client.closed is False
    proxy.wait_empty()
