"""Limits at the bound and one past it.

Promised: each row of the limits is a configuration key; at the bound a request passes, one past it is refused
with the right status, without harm to others, and the refusal is counted.

Shown: small values of each key, so that the bound is quickly reached.
"""

import socket

import pytest

from support import sockets
from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import equals, eventually, patience

CLIENTS = [H1Client, H2Client]


def ok(request):
    request.respond(body=b"ok")


def limited(replica, handler=ok, protocol="both", cluster=None, route=None, **listener):
    fake = replica(protocol, handler=handler)
    return Proxy(proxy_config([fake], listener=listener, route=route, cluster=cluster)), fake


def rejected(proxy, reason):
    return proxy.metric("penstock_listener_rejected_total", listener="ingress", reason=reason)


def status_of(client_class, address, *arguments, **options):
    with client_class(address) as client:
        return client.fetch(*arguments, **options).status


@pytest.mark.parametrize("client_class", CLIENTS)
def test_path(replica, client_class):
    proxy, _ = limited(replica, max_path_bytes="1KiB")
    assert status_of(client_class, proxy.address, "GET", "/" + "x" * 1023) == 200
    assert status_of(client_class, proxy.address, "GET", "/" + "x" * 1024) == 414


@pytest.mark.parametrize("client_class", CLIENTS)
def test_header_fields(replica, client_class):
    proxy, _ = limited(replica, max_header_fields=20)
    for count, status in ((15, 200), (30, 431)):
        fields = [(f"x-{n}", "v") for n in range(count)]
        assert status_of(client_class, proxy.address, "GET", "/", fields) == status


@pytest.mark.parametrize("client_class", CLIENTS)
def test_header_bytes(replica, client_class):
    proxy, _ = limited(replica, max_header_bytes="16KiB")
    assert status_of(client_class, proxy.address, "GET", "/", [("x", "v" * 15000)]) == 200
    assert status_of(client_class, proxy.address, "GET", "/", [("x", "v" * 17000)]) == 431
    many = [(f"x-{n}", "v" * 400) for n in range(60)]
    assert status_of(client_class, proxy.address, "GET", "/", many) == 431


def test_default_header_bounds_are_64_kib_and_100_fields(replica):
    proxy, _ = limited(replica)
    for client_class in CLIENTS:
        fields = [(f"x-{n}", "v") for n in range(90)]
        assert status_of(client_class, proxy.address, "GET", "/", fields) == 200
        fields = [(f"x-{n}", "v") for n in range(101)]
        assert status_of(client_class, proxy.address, "GET", "/", fields) == 431
        assert status_of(client_class, proxy.address, "GET", "/", [("x", "v" * 60000)]) == 200
        assert status_of(client_class, proxy.address, "GET", "/", [("x", "v" * 66000)]) == 431


@pytest.mark.parametrize("client_class", CLIENTS)
def test_request_body(replica, client_class):
    proxy, fake = limited(replica, route={"max_request_body": "1000B"})
    assert status_of(client_class, proxy.address, body=b"x" * 1000) == 200
    assert status_of(client_class, proxy.address, body=b"x" * 1001) == 413
    assert len(fake.requests) == 1


@pytest.mark.parametrize("streaming", [False, True])
def test_request_body_of_unknown_size(replica, streaming):
    buffer = {"request_buffer": "1KiB"} if streaming else {}
    proxy, fake = limited(replica, handler=None, route={"max_request_body": "2000B", **buffer})
    with H2Client(proxy.address) as client:
        stream = client.request(body=b"x" * 1500, end=False)
        if streaming:
            fake.wait_count(1)[0].wait_body(1500)
        stream.send(b"x" * 501, end=True)
        answer = stream.response()
        assert (answer.status, answer.reason) == (413, "payload_too_large")
        if streaming:
            fake.requests[0].respond()
    with H1Client(proxy.address) as client:
        client.begin("POST", "/", [("transfer-encoding", "chunked")])
        client.chunk(b"x" * 2001)
        assert client.response().status == 413


def test_chunks_of_a_body(replica):
    proxy, fake = limited(replica, max_chunks=10)
    for count, status in ((10, 200), (11, 400)):
        with H1Client(proxy.address) as client:
            client.begin("POST", "/", [("transfer-encoding", "chunked")])
            client.send(b"1\r\nx\r\n" * count + b"0\r\n\r\n")
            assert client.response().status in (status, 413 if status == 400 else status)
    assert len(fake.requests) == 1


def test_chunk_extensions(replica):
    proxy, fake = limited(replica, max_chunk_extension_bytes="16B")
    for size, status in ((10, 200), (17, 400)):
        with H1Client(proxy.address) as client:
            client.begin("POST", "/", [("transfer-encoding", "chunked")])
            client.send(b"1;" + b"e" * size + b"\r\nx\r\n0\r\n\r\n")
            assert client.response().status == status
    assert len(fake.requests) == 1


def test_streams_of_a_connection_count_until_their_work_has_ended(replica):
    proxy, fake = limited(replica, handler=None, max_streams=4, cluster={"concurrency_target": 10})
    with H2Client(proxy.address) as client:
        streams = [client.request() for _ in range(4)]
        fake.wait_count(4)
        client.wait_for(lambda: client.h2.remote_settings.max_concurrent_streams == 4, "its SETTINGS")
        for stream in streams:
            stream.reset()
        equals(lambda: proxy.metric("penstock_cluster_requests_total", code="499"), 4)
        # Rapid reset: the four still run at the replica, so no fifth is taken.
        fifth = client.request().end()
        assert fifth.reset in (7, 11) or client.closed, "REFUSED_STREAM"
        for request in fake.wait_count(4):
            request.respond()
        proxy.wait_queue(0, 0)
        fake.handler = ok
        eventually(lambda: client.request().end().status == 200, "a stream is free again")
    assert len(fake.requests) >= 5


def reset_request(client):
    client.request().reset()


def forced_reset(client):
    client.request(headers=[("connection", "close")])


def ping(client):
    with client.lock:
        client.h2.ping(b"12345678")
        client.flush()


@pytest.mark.parametrize("limit,excess", [("client_resets", reset_request),
                                          ("forced_resets", forced_reset),
                                          ("frame_budget", ping)])
def test_a_client_that_does_too_much_of_what_serves_nothing_is_sent_away(replica, limit, excess):
    proxy, _ = limited(replica, **{limit: {"burst": 30, "per_second": 1}})
    with H2Client(proxy.address) as client, H2Client(proxy.address) as other:
        for _ in range(20):
            excess(client)
        assert client.fetch().status == 200, "so much is allowed"
        for _ in range(100):
            with client.lock:
                if not client.closed:
                    excess(client)
        client.wait_for(lambda: client.closed, "the end of the connection")
        assert client.goaway[0] == 11, "ENHANCE_YOUR_CALM"
        assert other.fetch().status == 200
    equals(lambda: proxy.metric("penstock_listener_rejected_total", listener="ingress", reason=limit), 1)
    proxy.wait_empty()


def test_max_streams_of_a_client_that_does_not_heed_settings(replica):
    proxy, fake = limited(replica, handler=None, max_streams=4, cluster={"concurrency_target": 10})
    with H2Client(proxy.address) as client:
        client.wait_for(lambda: client.h2.remote_settings.max_concurrent_streams == 4, "SETTINGS")
        client.h2.remote_settings[3] = 100
        client.h2.remote_settings.acknowledge()
        for _ in range(4):
            client.request()
        fake.wait_count(4)
        # REFUSED_STREAM, or the end of the connection with PROTOCOL_ERROR, as nghttp2 does.
        answer = client.request().end()
        assert answer.status == 0 and (answer.reset in (1, 7, 11) or client.goaway)
    assert len(fake.requests) == 4


def test_connections_of_a_listener(replica):
    proxy, _ = limited(replica, max_connections=3)
    clients = [H1Client(proxy.address) for _ in range(3)]
    assert [client.fetch("GET").status for client in clients] == [200] * 3
    with socket.create_connection(proxy.address, patience(30)) as extra:
        try:
            extra.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            assert extra.recv(100) == b"", "closed"
        except ConnectionError:
            pass
    assert clients[0].fetch("GET").status == 200, "the others stay"
    clients[0].close()
    equals(lambda: proxy.metric("penstock_listener_connections", listener="ingress"), 2)
    assert status_of(H1Client, proxy.address, "GET") == 200


def test_requests_of_a_connection(replica):
    proxy, _ = limited(replica, max_requests_per_connection=2)
    with H1Client(proxy.address) as client:
        assert not client.fetch("GET").closed
        assert client.fetch("GET").closed
        client.wait_closed()
    with H2Client(proxy.address) as client:
        assert client.fetch("GET").status == client.fetch("GET").status == 200
        client.wait_for(lambda: client.goaway, "GOAWAY")
        assert client.goaway[0] == 0
        client.wait_for(lambda: client.closed, "the end of the connection")


def test_slow_headers(replica):
    proxy, _ = limited(replica, header_timeout="300ms")
    with H1Client(proxy.address) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\n")
        answer = client.response()
        assert (answer.status, answer.reason) == (408, "request_timeout")
        client.wait_closed()


def test_a_stalled_body_gives_its_slot_back(replica):
    fake = replica(reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], listener={"body_idle_timeout": "300ms"},
                               route={"request_buffer": "1KiB", "stream_idle_timeout": "300ms"}))
    for client_class in CLIENTS:
        # Not yet at the replica, and already there, where stream_idle_timeout governs.
        for sent in (10, 5000):
            with client_class(proxy.address) as client:
                if client_class is H1Client:
                    client.begin("POST", "/", [("content-length", "9999")])
                    client.send(b"x" * sent)
                    answer = client.response()
                else:
                    stream = client.request(body=b"x" * sent, end=False)
                    answer = stream.end()
                assert answer.status == 408, (client_class, sent)
                assert answer.reason == "request_timeout"
            proxy.wait_queue(0, 0)
    proxy.wait_empty()


def test_a_body_below_the_minimal_rate(replica):
    proxy, fake = limited(replica, min_body_rate="100KiB")
    with H1Client(proxy.address) as client:
        client.begin("POST", "/", [("content-length", "49999999")])
        client.sock.settimeout(0.2)
        for _ in range(int(patience(25) / 0.2)):
            client.send(b"x" * 10)
            try:
                client.wire.fill()
                break
            except TimeoutError:
                continue
        assert client.response().status == 408
    assert not fake.requests


@pytest.mark.parametrize("client_class", CLIENTS)
def test_idle_connections(replica, client_class):
    proxy, _ = limited(replica, idle_timeout="300ms")
    with client_class(proxy.address) as client:
        assert client.fetch("GET").status == 200
        if client_class is H1Client:
            assert client.wait_closed() == b""
        else:
            client.wait_for(lambda: client.closed, "the end of the connection")
            assert client.goaway and client.goaway[0] == 0


def test_a_waiting_connection_is_not_idle(replica):
    proxy, fake = limited(replica, handler=None, idle_timeout="200ms")
    with H2Client(proxy.address) as client:
        running, waiting = client.request(), client.request()
        proxy.wait_queue(waiting=1, in_flight=1)
        eventually(lambda: proxy.cluster()["oldest_wait_seconds"] > 0.6)
        fake.request(0).respond()
        fake.request(1).respond()
        assert running.response().status == waiting.response().status == 200


def test_a_preface_that_does_not_come(replica):
    proxy, _ = limited(replica, preface_timeout="300ms", header_timeout="300ms")
    for start in (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI * HT", b""):
        with socket.create_connection(proxy.address, patience(30)) as sock:
            sock.settimeout(patience(30))
            sock.sendall(start)
            while sock.recv(1000):
                pass
    # One that has said nothing asked for nothing.
    assert rejected(proxy, "preface_timeout") == 2


def test_a_settings_ack_that_does_not_come(replica):
    proxy, _ = limited(replica, settings_ack_timeout="300ms")
    with socket.create_connection(proxy.address, patience(30)) as sock:
        sock.settimeout(patience(30))
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        got = b""
        while data := sock.recv(1000):
            got += data
        assert b"\x00\x00\x00\x04" in got, "SETTINGS_TIMEOUT in the GOAWAY"
    assert rejected(proxy, "settings_ack_timeout") == 1


def test_answers_that_wait_for_a_client_that_reads_none(replica):
    proxy, _ = limited(replica, max_outbound_frames=100, frame_budget={"burst": 100000, "per_second": 1})
    with sockets.connect(proxy.address, patience(30), receive_buffer=4096) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        pings = b"\0\0\10\6\0\0\0\0\0pingpong" * 1000
        try:
            while True:
                sock.sendall(pings)
        except ConnectionError:
            pass
    equals(lambda: rejected(proxy, "max_outbound_frames"), 1)


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_informational_responses_of_a_replica(replica, protocol):
    def answer(request):
        for _ in range(int(request.path[1:])):
            request.informational(103, [("link", "x")])
        request.respond(body=b"ok")
    proxy, _ = limited(replica, answer, protocol)
    with H2Client(proxy.address) as client:
        assert client.fetch("GET", "/10").status == 200
        many = client.fetch("GET", "/11")
        assert (many.status, many.reason) == (502, "replica_protocol_error")


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_response_headers_of_a_replica(replica, protocol):
    def answer(request):
        kind, _, count = request.path[1:].partition("/")
        fields = ([(f"x-{n}", "v") for n in range(int(count))] if kind == "fields"
                  else [("x", "v" * int(count))])
        request.respond(200, fields, b"ok")
    proxy, _ = limited(replica, answer, protocol)
    with H2Client(proxy.address) as client:
        assert client.fetch("GET", "/fields/90").status == 200
        assert client.fetch("GET", "/bytes/60000").status == 200
        for path in ("/fields/101", "/bytes/66000"):
            answer = client.fetch("GET", path)
            assert (answer.status, answer.reason) == (502, "replica_protocol_error")


def test_a_connect_that_hangs_ends_at_the_connect_timeout(replica):
    fake = replica(handler=ok)
    with socket.socket() as full:
        # A listening socket whose backlog is full: the kernel drops further attempts.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        hanging = "127.0.0.1:%d" % full.getsockname()[1]
        proxy = Proxy(proxy_config([hanging, fake], cluster={"connect_timeout": "300ms"}))
        with H2Client(proxy.address) as client:
            for _ in range(2):
                assert client.fetch().status == 200
        for filler in fillers:
            filler.close()


def test_refusals_are_counted_by_listener_and_reason(replica):
    proxy, _ = limited(replica, max_header_fields=20, max_path_bytes="1KiB")
    assert status_of(H1Client, proxy.address, "GET", "/" + "x" * 2000) == 414
    assert status_of(H2Client, proxy.address, "GET", "/", [(f"x{n}", "v") for n in range(30)]) == 431
    for reason in ("uri_too_long", "headers_too_large"):
        equals(lambda reason=reason: proxy.metric(
            "penstock_listener_rejected_total", listener="ingress", reason=reason), 1)
