"""The sidecar in front of a model server that is running already: gate, streams, departures, failures.

Promised: at most predict_concurrency inference requests are at the server at a time, in the order in which
their bodies were complete; other requests pass. Bodies stream both ways as far as they should. The permit
comes back when the response has come from the server, however slowly its client reads, or when the stream has
been reset because its client has gone (on_client_gone: wait: when the server has answered). What the server
did not see is refused as not executed; what it may have seen is a 502.

Shown: a replica of the tests as the server, which counts for itself and holds each request until told.
"""

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client, fetch
from support.h1_wire import Closed
from support.h2_client import H2Client
from support.model_servers import attached_model
from support.programs import Proxy, Sidecar
from support.tunnels import H1Tunnel, H2Tunnel
from support.waiting import SLOWNESS, equals, eventually

CHAT = "/v1/chat/completions"
CONNECT_PROTOCOL = 8


@pytest.fixture(params=[("h1", "http1"), ("h2", "h2")], ids=["http1", "h2"])
def server(request, replica):
    made = replica(request.param[0])
    made.speaks = request.param[1]
    return made


@pytest.fixture
def front(tmp_path):
    """Starts a sidecar in front of a server."""
    def start(server, predict_concurrency=1, arguments=(), ready=True, **penstock):
        if hasattr(server, "speaks"):
            penstock.setdefault("protocol", server.speaks)
        return Sidecar(attached_model(tmp_path, server, predict_concurrency, **penstock), arguments,
                       ready)
    return start


def post(client, name, path=CHAT, headers=(), body=b"{}", **options):
    return client.request("POST", path, [("x-test-id", name), *headers], body, **options)


def wait_gate(sidecar, waiting, in_predict):
    equals(lambda: (sidecar.metric("penstock_gate_waiting"),
                    sidecar.metric("penstock_gate_in_predict")), (waiting, in_predict))


def test_inference_passes_the_gate_in_order_and_nothing_else_does(server, front):
    sidecar = front(server)
    with H2Client(sidecar.address) as client:
        streams = []
        for count, (name, path) in enumerate([("a", CHAT), ("b", "/v1/models/m:predict"), ("c", CHAT)]):
            streams.append(post(client, name, path))
            wait_gate(sidecar, count, 1)
        models = client.request("GET", "/v1/models", [("x-test-id", "list")])
        server.by_id("list").respond(body=b"[]")
        assert models.response().body == b"[]", "reading passes while the gate is full"
        for name, stream in zip("abc", streams):
            assert server.by_id(name).path in (CHAT, "/v1/models/m:predict")
            equals(lambda: server.in_flight, 1)
            server.by_id(name).respond(body=name.encode())
            assert stream.response().body == name.encode()
    assert server.ids == ["a", "list", "b", "c"]
    assert server.max_in_flight == 2, "one inference and one list"
    equals(lambda: sidecar.metric("penstock_in_flight"), 0)
    assert sidecar.metric("penstock_requests_total", stage="predict", outcome="succeeded") == 3
    assert sidecar.metric("penstock_stage_seconds_count", stage="predict") == 3
    assert sidecar.metric("penstock_gate_gap_seconds_count") == 3


def test_gate_lists_what_counts_as_inference(server, front):
    sidecar = front(server, gate=["/v1/*", "GET /slow"], predict_endpoint="/generate")
    with H2Client(sidecar.address) as client:
        post(client, "held")
        server.by_id("held")
        for name, method, path in [("p", "POST", "/predict"), ("v", "POST", "/%76%31/embeddings"),
                                   ("g", "GET", "/slow")]:
            client.request(method, path, [("x-test-id", name)])
        wait_gate(sidecar, 3, 1)
        passed = post(client, "t", "/tokenize")
        server.by_id("t").respond()
        assert passed.response().status == 200
        server.by_id("held").respond()
        for name, path in [("p", "/generate"), ("v", "/%76%31/embeddings"), ("g", "/slow")]:
            assert server.by_id(name).path == path
            server.by_id(name).respond()
        wait_gate(sidecar, 0, 0)


def test_a_request_and_its_response_pass_as_they_are(server, front):
    sidecar = front(server)
    body = bytes(range(256)) * 4096 * 8
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", CHAT + "?x=1&y=%20", [
            ("x-penstock-attempt-id", "attempt"), ("x-request-id", "id-1"),
            ("x-request-timeout-ms", "60000"), ("content-type", "text/plain")], body)
        request = server.by_id("a")
        assert request.whole() == body
        assert request.path == CHAT + "?x=1&y=%20"
        assert request.header("x-request-id") == "id-1"
        assert request.header("content-type") == "text/plain"
        assert request.header("x-penstock-attempt-id") is None
        assert 0 < int(request.header("x-request-timeout-ms")) <= 60000
        request.informational(103, [("link", "</x>")])
        request.respond(201, [("x-own", "1"), ("x-request-id", "id-1"), ("x-penstock-sidecar", "0")],
                        b"made", [("x-sum", "2")])
        answer = stream.response()
    assert (answer.status, answer.body, answer.trailers) == (201, b"made", [("x-sum", "2")])
    assert answer.informational == [] and answer.header("x-own") == "1"
    assert [value for name, value in answer.headers if name == "x-request-id"] == ["id-1"]
    assert [value for name, value in answer.headers if name == "x-penstock-sidecar"] == ["1"]


def test_a_request_without_an_id_gets_one(server, front):
    sidecar = front(server)
    with H1Client(sidecar.address) as client:
        client.request("POST", CHAT)
        request = server.request(0)
        request.respond()
        answer = client.response()
    assert answer.header("x-request-id") == request.header("x-request-id") != ""
    assert answer.status == 200


def test_responses_without_a_body(server, front):
    sidecar = front(server)
    with H1Client(sidecar.address) as client:
        client.request("HEAD", "/v1/models")
        server.request(0).respond(200, [("content-length", "7")])
        answer = client.response("HEAD")
        assert (answer.status, answer.header("content-length")) == (200, "7")
        client.request("POST", CHAT)
        server.request(1).respond(304, [("content-length", "0")] if server.speaks == "h2" else [])
        assert client.response().status == 304
    wait_gate(sidecar, 0, 0)


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_a_response_streams_chunk_by_chunk(server, front, client_class):
    sidecar = front(server)
    with client_class(sidecar.address) as client:
        stream = client.request("POST", CHAT, [("x-test-id", "a")], b"{}")
        request = server.by_id("a")
        request.start(200, [("content-type", "text/event-stream")])
        if client_class is H1Client:
            assert client.head().header("content-type") == "text/event-stream"
            for chunk in (b"data: 1\n\n", b"data: 22\n\n"):
                request.send(chunk)
                assert client.wire.until(b"\r\n") == b"%x\r\n" % len(chunk)
                assert client.wire.exactly(len(chunk) + 2)[:-2] == chunk
            request.finish()
            assert client.wire.until(b"\r\n\r\n") == b"0\r\n\r\n"
        else:
            for count in (1, 2, 3):
                request.send(b"data: 1\n\n")
                assert stream.data(count * 9) == b"data: 1\n\n" * count
            assert not stream.ended
            request.finish()
            assert stream.response().status == 200


def test_a_slow_reader_holds_no_permit_once_the_response_has_come(server, front):
    sidecar = front(server)
    body = b"x" * 900 * 1024
    with H2Client(sidecar.address, auto_window=False) as slow, H2Client(sidecar.address) as other:
        stream = post(slow, "slow")
        request = server.by_id("slow")
        waiter = post(other, "next")
        request.respond(body=body)
        server.by_id("next").respond(body=b"done")
        assert waiter.response().body == b"done"
        assert not stream.ended and len(stream.answer.body) < len(body)
        assert stream.read_on().body == body
    wait_gate(sidecar, 0, 0)


def test_what_a_slow_reader_leaves_is_bounded_and_holds_the_permit(replica, front):
    server = replica("h1", threaded=True)
    sidecar = front(server)
    body = b"x" * 32 * 1024 * 1024
    server.handler = lambda request: request.respond(body=body)
    before = sidecar.resident_bytes()
    with H2Client(sidecar.address, auto_window=False) as slow:
        stream = post(slow, "slow")
        stream.head()
        server.by_id("slow")
        wait_gate(sidecar, 0, 1)
        assert sidecar.resident_bytes() - before < 16 * 1024 * 1024
        wait_gate(sidecar, 0, 1)
        assert bytes(stream.read_on(30).body) == body
    wait_gate(sidecar, 0, 0)


@pytest.mark.parametrize("how", ["reset", "connection", "cancel"])
def test_a_client_that_leaves_while_it_waits_is_gone_at_once(server, front, how):
    sidecar = front(server)
    with H2Client(sidecar.address) as client, H2Client(sidecar.address) as other:
        held = post(client, "held")
        server.by_id("held")
        leaver = post(other, "leaver", headers=[("x-penstock-attempt-id", "t")])
        wait_gate(sidecar, 1, 1)
        if how == "reset":
            leaver.reset()
        elif how == "connection":
            other.close(abrupt=True)
        else:
            assert fetch(sidecar.address, "POST", "/penstock/cancel",
                         [("x-penstock-attempt-id", "t")]).status == 202
            assert leaver.response().status == 499
        wait_gate(sidecar, 0, 1)
        equals(lambda: sidecar.metric("penstock_in_flight"), 1)
        server.by_id("held").respond()
        assert held.response().status == 200
    assert server.ids == ["held"]
    assert sidecar.metric("penstock_requests_total", stage="gate", outcome="cancelled") == 1


@pytest.mark.parametrize("began", [False, True], ids=["before the head", "in its midst"])
@pytest.mark.parametrize("how", ["reset", "connection", "cancel"])
def test_a_client_that_leaves_while_it_runs_is_told_to_the_server(server, front, how, began):
    sidecar = front(server)
    with H2Client(sidecar.address) as client, H2Client(sidecar.address) as other:
        leaver = post(client, "leaver", headers=[("x-penstock-attempt-id", "t")])
        request = server.by_id("leaver")
        waiter = post(other, "next")
        if began:
            request.start()
            request.send(b"some")
            leaver.data(4)
        if how == "reset":
            leaver.reset()
        elif how == "connection":
            client.close(abrupt=True)
        else:
            assert fetch(sidecar.address, "POST", "/penstock/cancel",
                         [("x-penstock-attempt-id", "t")]).status == 202
            leaver.end()
            assert leaver.complete != began and (began or leaver.answer.status == 499)
        eventually(lambda: request.peer_gone, "the server sees it")
        request.end_work()
        server.by_id("next").respond()
        assert waiter.response().status == 200
    wait_gate(sidecar, 0, 0)
    equals(lambda: sidecar.metric("penstock_in_flight"), 0)


def test_on_client_gone_wait_holds_the_permit_until_the_server_has_answered(server, front):
    sidecar = front(server, on_client_gone="wait")
    with H2Client(sidecar.address) as client:
        leaver = post(client, "leaver")
        request = server.by_id("leaver")
        request.start()
        request.send(b"x" * 100_000)
        leaver.data(100_000)
        waiter = post(client, "next")
        wait_gate(sidecar, 1, 1)
        leaver.reset()
        for _ in range(10):  # more than all windows together
            request.send(b"x" * 100_000)
        assert not request.peer_gone
        wait_gate(sidecar, 1, 1)
        assert server.ids == ["leaver"]
        request.finish()
        server.by_id("next").respond()
        assert waiter.response().status == 200
    assert server.max_in_flight == 1


def test_deadlines(server, front):
    sidecar = front(server)
    short = [("x-request-timeout-ms", str(int(300 * SLOWNESS)))]
    with H2Client(sidecar.address) as client:
        running = post(client, "running", headers=short)
        waiting = post(client, "waiting", headers=short)
        request = server.by_id("running")
        answers = [running.response(), waiting.response()]
        assert [(a.status, a.reason) for a in answers] == [(504, "deadline_exceeded")] * 2
        eventually(lambda: request.peer_gone, "the server sees that nobody waits any more")
    assert server.ids == ["running"]
    wait_gate(sidecar, 0, 0)


def test_the_gate_bounds_waiting_in_number_and_time(server, front):
    sidecar = front(server, max_waiting=1, gate_timeout=f"{int(300 * SLOWNESS)}ms")
    with H2Client(sidecar.address) as client:
        held = post(client, "held")
        server.by_id("held")
        waiting = post(client, "waiting")
        wait_gate(sidecar, 1, 1)
        refused = post(client, "refused").response()
        assert (refused.status, refused.reason) == (503, "overloaded")
        late = waiting.response()
        assert (late.status, late.reason) == (503, "gate_timeout")
        for answer in (refused, late):
            assert answer.header("x-penstock-not-executed") == "true"
        server.by_id("held").respond()
        assert held.response().status == 200
    assert server.ids == ["held"]


def test_the_concurrency_limit_bounds_all_requests(server, front):
    sidecar = front(server, 2, ["--concurrency-limit", 2])
    with H2Client(sidecar.address) as client:
        streams = [post(client, "a"), client.request("GET", "/v1/models", [("x-test-id", "b")])]
        server.wait_count(2)
        refused = client.fetch("GET", "/v1/models")
        assert (refused.status, refused.reason) == (503, "concurrency_limit")
        for name, stream in zip("ab", streams):
            server.by_id(name).respond()
            assert stream.response().status == 200


def test_a_server_that_takes_no_connection_did_not_execute(server, front):
    sidecar = front(server)
    server.die()
    answer = fetch(sidecar.address, "POST", CHAT, body=b"{}")
    assert (answer.status, answer.reason) == (503, "server_unreachable")
    assert answer.header("x-penstock-not-executed") == "true"
    equals(lambda: fetch(sidecar.address, "GET", "/health/ready").status, 503)
    assert fetch(sidecar.address, "GET", "/health/live").status == 200
    server.listen()
    equals(lambda: fetch(sidecar.address, "GET", "/health/ready").status, 200)
    server.handler = lambda request: request.respond(body=b"back")
    assert fetch(sidecar.address, "POST", CHAT, body=b"{}").body == b"back"
    wait_gate(sidecar, 0, 0)


def test_a_connection_lost_before_the_head_is_a_502(server, front):
    sidecar = front(server)
    with H2Client(sidecar.address) as client:
        stream = post(client, "a")
        server.by_id("a").die()
        answer = stream.response()
        assert (answer.status, answer.reason) == (502, "server_connection_lost")
        assert answer.header("x-penstock-not-executed") is None
    assert server.ids == ["a"], "it is not sent again"
    wait_gate(sidecar, 0, 0)
    assert sidecar.metric("penstock_requests_total", stage="predict", outcome="failed") == 1


@pytest.mark.parametrize("times", [1, 2])
def test_what_the_server_has_provably_not_seen_is_sent_once_more(replica, front, times):
    server = replica("h2")
    sidecar = front(server, protocol="h2")
    body = b"x" * 1024 * 1024
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", body=body)
        for n in range(times):
            server.request(n).reset(7)  # REFUSED_STREAM
        if times == 1:
            assert server.request(1).whole() == body
            server.request(1).respond(body=b"done")
            assert stream.response().body == b"done"
        else:
            answer = stream.response()
            assert (answer.status, answer.reason) == (503, "server_unreachable")
            assert answer.header("x-penstock-not-executed") == "true"
    assert server.ids == ["a", "a"]
    wait_gate(sidecar, 0, 0)


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_a_response_that_breaks_off_is_seen_to(server, front, client_class):
    sidecar = front(server)
    with client_class(sidecar.address) as client:
        stream = client.request("POST", CHAT, [("x-test-id", "a")], b"{}")
        request = server.by_id("a")
        request.start()
        request.send(b"half")
        if client_class is H1Client:
            answer = client.head()
            assert answer.status == 200
            assert client.wire.until(b"half\r\n")
            request.die()
            with pytest.raises(Closed):
                client.body(answer)
        else:
            stream.data(4)
            request.die()
            stream.end()
            assert not stream.complete and stream.answer.status == 200
    wait_gate(sidecar, 0, 0)


def test_an_answer_that_is_no_http_is_a_502(replica, front):
    server = replica("h1")
    sidecar = front(server)
    with H1Client(sidecar.address) as client:
        client.request("POST", CHAT, body=b"{}")
        server.request(0).send_raw(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", close=True)
        answer = client.response()
    assert (answer.status, answer.reason) == (502, "server_protocol_error")
    wait_gate(sidecar, 0, 0)


def test_a_connection_is_used_again_and_one_that_was_closed_is_not(server, front):
    sidecar = front(server)
    server.handler = lambda request: request.respond(body=b"ok")
    with H2Client(sidecar.address) as client:
        assert client.fetch(path=CHAT).status == 200
        connections = [c for c in server.connections if not c.closed]
        for _ in range(5):
            assert client.fetch(path=CHAT).body == b"ok"
        assert len(server.requests) == 6
        assert [c for c in server.connections if not c.closed][:1] == connections[:1]
        server.hang_up()
        assert client.fetch(path=CHAT).body == b"ok"


def test_an_idle_connection_is_closed_before_a_server_would(server, front):
    sidecar = front(server)
    server.handler = lambda request: request.respond(body=b"ok")
    assert fetch(sidecar.address, "POST", CHAT, body=b"{}").status == 200
    assert not server.connections[-1].closed
    used = list(server.connections)
    eventually(lambda: all(connection.closed for connection in used), "closed within 5 s", 5)


def test_it_finds_out_that_a_server_speaks_http1(replica, front):
    server = replica("h1", handler=lambda request: request.respond(body=b"ok"))
    sidecar = front(server, protocol="auto")
    for _ in range(2):
        assert fetch(sidecar.address, "POST", CHAT, body=b"{}").body == b"ok"
    server.problems.clear()


def test_readiness_is_asked_for_where_that_is_configured(replica, front):
    server = replica("h1", handler=lambda request: request.respond(body=b"ok"))
    server.ready = False
    sidecar = front(server, readiness_endpoint="/health/server", ready=False)
    equals(lambda: server.health_checks > 1, True)
    for path, status in [("/health/live", 200), ("/health/ready", 503), ("/v1/models/m", 503)]:
        assert fetch(sidecar.address, "GET", path).status == status
    refused = fetch(sidecar.address, "POST", CHAT, body=b"{}")
    assert (refused.status, refused.reason) == (503, "not_ready")
    assert refused.header("x-penstock-not-executed") == "true"
    server.ready = True
    sidecar.wait_log("model ready")
    assert fetch(sidecar.address, "GET", "/health/ready").status == 200
    assert fetch(sidecar.address, "GET", "/v1/models/m").status == 200
    server.ready = False
    equals(lambda: fetch(sidecar.address, "GET", "/health/ready").status, 503)
    assert fetch(sidecar.address, "GET", "/v1/models/m").status == 503, "what the server says"
    assert server.ids == []


def test_a_grpc_stream_flows_both_ways_behind_one_permit(replica, front):
    server = replica("h2", auto_window=False)
    sidecar = front(server, protocol="h2")
    grpc = [("content-type", "application/grpc"), ("te", "trailers")]
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", "/s.S/Bidi", grpc, b"ping1", end=False)
        request = server.by_id("a")
        request.wait_body(5)
        assert request.header("te") == "trailers" and not request.complete.is_set()
        request.start(200, [("content-type", "application/grpc")])
        request.send(b"pong1")
        assert stream.data(5) == b"pong1"
        other = post(client, "b", "/s.S/Bidi", grpc, b"early", end=False)
        wait_gate(sidecar, 1, 1)
        stream.send(b"ping2", end=True)
        request.wait_body(10)
        assert request.whole() == b"ping1ping2"
        request.finish([("grpc-status", "0")])
        assert stream.response().trailer("grpc-status") == "0"
        second = server.by_id("b")
        second.wait_body(5)
        second.respond(200, grpc[:1], trailers=[("grpc-status", "8")])
        other.end()
        assert other.answer.trailer("grpc-status") == "8", "answered before the request ended"
    wait_gate(sidecar, 0, 0)


def test_a_server_that_does_not_read_holds_back_a_grpc_client(replica, front):
    server = replica("h2", auto_window=False)
    sidecar = front(server, protocol="h2")
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", "/s.S/Up", [("content-type", "application/grpc")], end=False)
        request = server.by_id("a")
        with pytest.raises(AssertionError):
            stream.send(b"x" * 16 * 1024 * 1024, end=True, timeout=1)
        assert len(request.body) < 1024 * 1024
        stream.reset()
        eventually(lambda: request.peer_gone)
    wait_gate(sidecar, 0, 0)


def test_behind_the_proxy_both_limits_hold(server, front):
    sidecar = front(server)
    proxy = Proxy(proxy_config([sidecar], target=2))
    with H2Client(proxy.address) as client:
        streams = [post(client, str(n)) for n in range(4)]
        proxy.wait_queue(waiting=2, in_flight=2)
        wait_gate(sidecar, 1, 1)
        for n, stream in enumerate(streams):
            server.by_id(str(n)).respond(body=b"%d" % n)
            assert stream.response().body == b"%d" % n
        proxy.wait_empty()
        leaver = post(client, "leaver")
        request = server.by_id("leaver")
        leaver.reset()
        eventually(lambda: request.peer_gone, "the proxy tells the sidecar, and it the server")
        request.end_work()
        proxy.wait_empty()
    assert server.max_in_flight == 1


def test_a_drain_finishes_what_runs(server, front):
    sidecar = front(server)
    with H2Client(sidecar.address) as client:
        running = post(client, "a")
        request = server.by_id("a")
        sidecar.signal(15)
        sidecar.wait_log("draining")
        request.respond(body=b"done")
        assert running.response().body == b"done"
    assert sidecar.wait() == 0


@pytest.mark.parametrize("upstream", ["h1", "h2"])
@pytest.mark.parametrize("tunnel_class", [H1Tunnel, H2Tunnel])
def test_a_websocket_holds_one_permit_for_its_life(replica, front, tunnel_class, upstream):
    server = replica(upstream, settings={CONNECT_PROTOCOL: 1})
    server.speaks = {"h1": "http1", "h2": "h2"}[upstream]
    sidecar = front(server)
    tunnel = tunnel_class(sidecar.address, path="/v1/realtime", early=b"early ")
    request = server.wait_count(1)[0]
    request.accept()
    assert tunnel.answer().status == tunnel.accepted
    tunnel.send(b"bytes")
    request.wait_body(11)
    assert bytes(request.body) == b"early bytes"
    request.send(b"back")
    assert tunnel.read(4) == b"back"
    with H2Client(sidecar.address) as client:
        waiter = post(client, "next")
        wait_gate(sidecar, 1, 1)
        request.send(b"bye", end=True)
        assert tunnel.read_to_end() == b"bye"
        server.by_id("next").respond()
        assert waiter.response().status == 200
    second = tunnel_class(sidecar.address, path="/v1/realtime")
    request = server.wait_count(3)[2]
    request.accept()
    assert second.answer().status == second.accepted
    second.vanish()
    eventually(lambda: request.peer_gone, "the server sees that the client has gone")
    wait_gate(sidecar, 0, 0)
    third = tunnel_class(sidecar.address, path="/v1/realtime")
    server.wait_count(4)[3].respond(403)
    assert third.answer().status == 403
    wait_gate(sidecar, 0, 0)


def test_a_websocket_that_the_server_cannot_take_is_refused(replica, front):
    sidecar = front(replica("h2"), protocol="h2")
    tunnel = H1Tunnel(sidecar.address, path="/v1/realtime")
    answer = tunnel.answer()
    assert (answer.status, answer.reason) == (501, "not_implemented")
    wait_gate(sidecar, 0, 0)
