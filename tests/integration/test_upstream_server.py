"""The sidecar in front of a model server that is running already: gate, departures, failures.

Promised: at most predict_concurrency inference requests are at the server at a time, in the order in which
their bodies were complete; other requests pass. A client that leaves while it waits is gone at once; of one that leaves
while it runs the server is told. What the server did not see is refused as not executed; what it may have seen
is a 502.

Shown: a replica of the tests as the server, which counts for itself and holds each request until told.
"""

import os
from random import Random

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client, fetch
from support.h2_client import H2Client
from support.model_servers import CHAT, post, wait_gate
from support.orca import Subscription
from support.programs import Proxy
from support.replica import Workers
from support.waiting import SLOWNESS, equals, eventually

SEED = int(os.environ.get("PENSTOCK_TEST_SEED", "20"))


def test_inference_passes_the_gate_in_order_and_nothing_else_does(server, front):
    sidecar = front(server)
    with H2Client(sidecar.address) as client:
        streams = []
        for count, (name, path) in enumerate([("a", CHAT), ("b", "/v1/models/m:predict"), ("c", CHAT)]):
            streams.append(post(client, name, path))
            wait_gate(sidecar, count, 1)
        server.by_id("a")
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
    equals(lambda: sidecar.metric("penstock_requests_total", stage="predict", outcome="succeeded"), 3)
    equals(lambda: sidecar.metric("penstock_stage_seconds_count", stage="predict"), 3)
    equals(lambda: sidecar.metric("penstock_gate_gap_seconds_count"), 3)


def test_reports_say_why_the_gate_was_idle(server, front):
    sidecar = front(server, 2)
    with Subscription(sidecar.address, interval_ms=500) as reports, H2Client(sidecar.address) as client:
        client.request("GET", "/v1/models", [("x-test-id", "list")])
        server.by_id("list")
        reports.until_mostly("gate_idle_no_request")
        streams = [post(client, name) for name in "abc"]
        reports.until_mostly("gate_busy")
        for name in "abc":
            server.by_id(name).respond()
        assert all(stream.response().status == 200 for stream in streams)
        reports.until_mostly("gate_idle_no_request")
        assert sidecar.metric("penstock_gate_idle_seconds_total", reason="no_request") > 1.8


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


def test_a_request_without_an_id_gets_one(server, front):
    sidecar = front(server)
    with H1Client(sidecar.address) as client:
        client.request("POST", CHAT)
        request = server.request(0)
        request.respond()
        answer = client.response()
    assert answer.header("x-request-id") == request.header("x-request-id") != ""
    assert answer.status == 200


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
    equals(lambda: sidecar.metric("penstock_requests_total", stage="gate", outcome="cancelled"), 1)


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


def test_deadlines(server, front):
    sidecar = front(server)
    with H2Client(sidecar.address) as client:
        running, waiting = [
            post(client, name, headers=[("x-request-timeout-ms", str(int(span * SLOWNESS)))])
            for name, span in [("running", 2000), ("waiting", 1000)]]
        request = server.by_id("running")
        answers = [running.response(), waiting.response()]
        assert [(a.status, a.reason) for a in answers] == [(504, "deadline_exceeded")] * 2
        eventually(lambda: request.peer_gone, "the server sees that nobody waits any more")
    assert server.ids == ["running"]
    wait_gate(sidecar, 0, 0)


def test_a_server_that_does_not_end_a_request_is_waited_for_no_longer_than_the_hang_timeout(server, front):
    server.reset_ends_work = False
    sidecar = front(server, on_client_gone="wait", hang_timeout="500ms")
    with H2Client(sidecar.address) as client:
        hanging = post(client, "hanging", headers=[("x-request-timeout-ms", "2000")])
        server.by_id("hanging")
        wait_gate(sidecar, 0, 1)
        following = post(client, "following")
        server.by_id("following").respond()
        assert following.response().status == 200
        answer = hanging.response()
        assert (answer.status, answer.reason) == (504, "deadline_exceeded")
    sidecar.wait_log("the model server has not ended a request long after its deadline")


def test_the_gate_bounds_waiting_in_number_and_time(server, front):
    sidecar = front(server, max_waiting=1, gate_timeout=f"{int(4000 * SLOWNESS)}ms")
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


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_a_client_that_asks_first_sends_no_body_that_is_refused(server, front, client_class):
    """expect: 100-continue is answered with 100 only if the body may be of use."""
    sidecar = front(server, arguments=["--concurrency-limit", "1"], max_request_body="2MiB",
                    max_buffered="1MiB")

    def ask(*fields, size=5):
        with client_class(sidecar.address) as client:
            headers = [("expect", "100-continue"), ("content-length", str(size)), *fields]
            if client_class is H1Client:
                client.begin("POST", CHAT, headers)
                answer = client.response()
            else:
                answer = client.request("POST", CHAT, headers, end=False).end()
        assert not answer.informational, answer
        return answer.status, answer.reason

    assert ask(size=3 << 20) == (413, "body_too_large")
    assert ask(size=(1 << 20) + 1) == (503, "overloaded")
    assert ask(("x-request-timeout-ms", "0")) == (504, "deadline_exceeded")
    with H2Client(sidecar.address) as client:
        running = post(client, "a")
        request = server.by_id("a")
        assert ask() == (503, "concurrency_limit")
        request.respond()
        assert running.response().status == 200
    with H1Client(sidecar.address) as client:
        client.begin("POST", CHAT, [("expect", "100-continue"), ("content-length", "5"),
                                    ("x-test-id", "b")])
        assert client.wire.head()[0].startswith("HTTP/1.1 100")
        client.send(b"hello")
        assert server.by_id("b").whole() == b"hello"
        server.by_id("b").respond(body=b"done")
        assert client.response().body == b"done"


def test_a_server_that_takes_no_connection_did_not_execute(server, front):
    sidecar = front(server, reconnect_timeout="50ms")
    server.die()
    for headers in ([], [("x-penstock-attempt-id", "1")]):
        answer = fetch(sidecar.address, "POST", CHAT, headers, body=b"{}")
        assert (answer.status, answer.reason) == (503, "server_unreachable")
        assert answer.header("x-penstock-not-executed") == "true"
    equals(lambda: fetch(sidecar.address, "GET", "/health/ready").status, 503)
    assert fetch(sidecar.address, "GET", "/health/live").status == 200
    server.listen()
    equals(lambda: fetch(sidecar.address, "GET", "/health/ready").status, 200)
    server.handler = lambda request: request.respond(body=b"back")
    assert fetch(sidecar.address, "POST", CHAT, body=b"{}").body == b"back"
    wait_gate(sidecar, 0, 0)


def test_requests_wait_for_a_server_that_is_started_again(server, front):
    sidecar = front(server, 2, reconnect_timeout="60s")
    server.handler = lambda request: request.respond(body=b"back")
    server.die()
    with H2Client(sidecar.address) as client:
        waiting = [post(client, str(number)) for number in range(5)]
        reading = client.request("GET", "/v1/models")
        late = post(client, "late", headers=[("x-request-timeout-ms", "50")])
        gone = post(client, "gone")
        sidecar.wait_log("waiting for the model server")
        equals(lambda: sidecar.metric("penstock_in_flight"), 8)
        gone.reset()
        assert (late.response().status, late.response().reason) == (504, "deadline_exceeded")
        from_a_proxy = client.fetch("GET", "/v1/models", [("x-penstock-attempt-id", "1")])
        assert (from_a_proxy.status, from_a_proxy.reason) == (503, "server_unreachable")
        assert not any(stream.ended for stream in waiting)
        server.listen()
        for stream in [*waiting, reading]:
            assert stream.response().body == b"back"
    assert server.max_in_flight <= 3, "two lanes, and one that only reads"
    wait_gate(sidecar, 0, 0)


def test_behind_the_proxy_none_is_refused_while_the_server_is_started_again(server, front):
    sidecar = front(server, 2)
    proxy = Proxy(proxy_config([sidecar]))
    server.handler = lambda request: request.respond(body=b"back")
    server.die()
    with H2Client(proxy.address) as client:
        waiting = [post(client, str(number)) for number in range(8)]
        eventually(lambda: sidecar.metric("penstock_refused_total", reason="server_unreachable"),
                   "the sidecar refuses")
        server.listen()
        assert [stream.response().body for stream in waiting] == [b"back"] * 8


def test_an_early_answer_is_read_although_the_rest_of_the_upload_cannot_be_written(server, front):
    """Whether the sidecar writes or reads first is the kernel's to say, so it is tried often."""
    sidecar = front(server)

    def refuse(request):
        request.end_work()
        request.respond(413, body=b"too much")
        request.connection.close(abrupt=True)
    server.on_head = refuse
    with H2Client(sidecar.address) as client:
        for _ in range(20):
            answer = client.fetch("POST", CHAT, body=b"x" * 4_000_000)
            assert (answer.status, answer.body) == (413, b"too much"), answer
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
    equals(lambda: sidecar.metric("penstock_requests_total", stage="predict", outcome="failed"), 1)


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
    used = list(server.connections)
    eventually(lambda: all(connection.closed for connection in used), "closed")


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


@pytest.mark.parametrize("on_client_gone", ["wait", "reset"])
def test_a_crowd_that_comes_and_goes_leaves_nothing(server, front, on_client_gone):
    server.reset_ends_work = on_client_gone == "reset"
    server.handler = Workers(lambda request: 0.003)
    sidecar = front(server, 3, on_client_gone=on_client_gone)
    random = Random(SEED)
    streams = []
    with H2Client(sidecar.address) as one, H2Client(sidecar.address) as other:
        for n in range(600):
            streams.append(post(random.choice([one, other]), str(n)))
            for stream in random.sample(streams, min(len(streams), random.randrange(3))):
                if not stream.ended:
                    stream.reset()
            eventually(lambda: sum(not stream.ended for stream in streams) < 60, timeout=20)
        for stream in streams:
            stream.end()
    wait_gate(sidecar, 0, 0)
    equals(lambda: sidecar.metric("penstock_in_flight"), 0)
    equals(lambda: sidecar.metric("penstock_buffered_bytes"), 0)
    server.wait_idle()
    if on_client_gone == "wait":
        assert server.max_in_flight <= 3, f"seed {SEED}"
    assert len(set(server.ids)) == len(server.ids), f"nothing ran twice; seed {SEED}"
    assert 0 < len(server.ids) <= 600
