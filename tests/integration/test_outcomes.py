"""Each row of the outcome table: status, reason, retry-after, JSON body, gRPC form, metric.

Promised: every answer that the proxy makes itself carries x-penstock-reason, x-request-id and, where waiting
helps, retry-after of at least one second; its body is {"error":{"code":...,"message":...}}; a gRPC request
gets a trailers-only reply with the right grpc-status; the metric counts it under the same reason; 429 and 503
were not executed.

Shown: each outcome is brought about for a plain and for a gRPC request. (408, 413, 414, 431 at their exact
bounds are in test_limits.py.)
"""

import contextlib

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.messages import Response
from support.programs import Proxy
from support.waiting import equals

RESOURCE_EXHAUSTED, UNAVAILABLE, DEADLINE_EXCEEDED = 8, 14, 4
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def check(proxy, answer: Response, status, reason, retry_after=False, count=1, cluster="m"):
    assert (answer.status, answer.reason) == (status, reason)
    assert answer.header("x-request-id")
    assert answer.header("content-type").startswith("application/json")
    error = answer.json()["error"]
    assert error["code"] == status and error["message"]
    if retry_after:
        assert int(answer.header("retry-after")) >= 1
    else:
        assert answer.header("retry-after") is None
    if cluster:
        equals(lambda: proxy.metric("penstock_cluster_requests_total", cluster=cluster,
                                    code=str(status), reason=reason), count)


def check_grpc(answer: Response, grpc_status, reason, proxy=None):
    assert answer.status == 200 and answer.body == b"" and answer.trailers == []
    assert answer.header("content-type").startswith("application/grpc")
    assert int(answer.header("grpc-status")) == grpc_status
    assert answer.header("grpc-message")
    assert answer.reason == reason
    if proxy:
        equals(lambda: proxy.metric("penstock_cluster_requests_total", code="200", reason=reason), 1)


@contextlib.contextmanager
def served(fakes, **options):
    proxy = Proxy(proxy_config(fakes, **options))
    with H2Client(proxy.address) as client:
        yield proxy, client
        for fake in fakes:
            if not isinstance(fake, str):
                fake.answer_all()
        proxy.wait_empty()


def test_429_queue_full(replica):
    fake = replica()
    with served([fake], queue={"max_requests": 1}) as (proxy, client):
        client.request()
        client.request()
        proxy.wait_queue(waiting=1, in_flight=1)
        fake.wait_count(1)
        check(proxy, client.fetch(), 429, "queue_full", retry_after=True)
        check_grpc(client.fetch(headers=GRPC), RESOURCE_EXHAUSTED, "queue_full")
        assert len(fake.requests) == 1


def test_429_queue_bytes_full(replica):
    fake = replica()
    with served([fake], queue={"max_bytes": "8KiB"}) as (proxy, client):
        client.request()
        fake.wait_count(1)
        client.request(body=b"x" * 6000)
        proxy.wait_queue(waiting=1, in_flight=1)
        check(proxy, client.fetch(body=b"x" * 6000), 429, "queue_bytes_full", retry_after=True)
        assert len(fake.requests) == 1


def test_503_queue_timeout(replica):
    fake = replica()
    with served([fake], queue={"timeout": "200ms"}) as (proxy, client):
        client.request()
        fake.wait_count(1)
        check(proxy, client.fetch(), 503, "queue_timeout", retry_after=True)
        check_grpc(client.fetch(headers=GRPC), UNAVAILABLE, "queue_timeout")
        assert len(fake.requests) == 1


def test_503_no_replica(replica):
    fake = replica()
    fake.ready = False
    health = {"path": "/health/ready", "interval": "50ms", "timeout": "1s",
              "unhealthy_threshold": 1}
    with served([fake], queue={"timeout": "200ms"}, cluster={"health_check": health}) as (
            proxy, client):
        equals(lambda: proxy.cluster()["replicas"][0]["state"], "unhealthy")
        check(proxy, client.fetch(), 503, "no_replica", retry_after=True)
        check_grpc(client.fetch(headers=GRPC), UNAVAILABLE, "no_replica")
        assert not fake.requests
        fake.ready = True
        equals(lambda: proxy.cluster()["replicas"][0]["state"], "ready")


def test_503_overloaded(replica):
    fake = replica()
    with served([fake], limits={"max_buffered": "1MiB"}) as (proxy, client):
        client.request(body=b"x")
        fake.wait_count(1)
        for _ in range(3):
            client.request(body=b"x" * 400000)
        proxy.wait_queue(waiting=3, in_flight=1)
        check(proxy, client.fetch(body=b"x" * 1000), 503, "overloaded", retry_after=True)
        check_grpc(client.fetch(headers=GRPC, body=b"x" * 1000), UNAVAILABLE, "overloaded")
        assert len(fake.requests) == 1


def test_502_replica_connection_lost(replica):
    fake = replica(handler=lambda request: request.die())
    with served([fake]) as (proxy, client):
        check(proxy, client.fetch(), 502, "replica_connection_lost")
        check_grpc(client.fetch(headers=GRPC), UNAVAILABLE, "replica_connection_lost")


@pytest.mark.parametrize("answer", [
    b"no http at all\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nbad name: x\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 99 Odd\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 0\r\n\r\n",
])
def test_502_replica_protocol_error(replica, answer):
    fake = replica("h1", handler=lambda request: request.send_raw(answer, close=True))
    with served([fake]) as (proxy, client):
        check(proxy, client.fetch(), 502, "replica_protocol_error")
        check_grpc(client.fetch(headers=GRPC), UNAVAILABLE, "replica_protocol_error")


def test_502_replica_refused_after_send(replica):
    fake = replica("h2", handler=lambda request: request.reset(2))
    with served([fake]) as (proxy, client):
        answer = client.fetch()
        check(proxy, answer, 502, "replica_refused_after_send")
        check_grpc(client.fetch(headers=GRPC), UNAVAILABLE, "replica_refused_after_send")
        assert len(fake.requests) == 2, "it may have run: not again"


@pytest.mark.parametrize("protocol, break_off, reason", [
    ("h2", lambda request: request.reset(2), "replica_stream_failed"),
    ("h2", lambda request: request.reset(8), "replica_stream_failed"),
    ("h2", lambda request: request.die(), "replica_connection_lost"),
    ("h1", lambda request: request.die(), "replica_connection_lost"),
    ("h1", lambda request: request.connection.close(), "replica_connection_lost"),
])
def test_an_answer_that_breaks_off_has_a_reason_of_its_own(replica, protocol, break_off, reason):
    fake = replica(protocol)
    proxy = Proxy(proxy_config([fake], target=2, cluster={"ejection": {"consecutive_failures": 1}}))
    with H2Client(proxy.address) as client:
        stream = client.request()
        fake.request(0).start(200)
        fake.request(0).send(b"half")
        assert stream.data(4) == b"half"
        fake.request(0).end_work()
        break_off(fake.request(0))
        assert not stream.end() or not stream.complete
        # Counted as what its client was told: its status had gone out.
        equals(lambda: proxy.metric("penstock_cluster_requests_total", code="200", reason=reason), 1)
        assert proxy.metric("penstock_cluster_requests_total") == 1
        assert len(fake.requests) == 1, "it ran: not again"
    proxy.wait_empty()


@pytest.mark.parametrize("timeout", ["timeout", "first_byte_timeout"])
def test_504_replica_timeout(replica, timeout):
    fake = replica(reset_ends_work=True)
    with served([fake], route={timeout: "200ms"}) as (proxy, client):
        check(proxy, client.fetch(), 504, "replica_timeout")
        fake.request(0).respond()
        check_grpc(client.fetch(headers=GRPC), DEADLINE_EXCEEDED, "replica_timeout", proxy)


def test_504_deadline_exceeded(replica):
    fake = replica()
    with served([fake]) as (proxy, client):
        deadline = [("x-request-timeout-ms", "200")]
        check(proxy, client.fetch(headers=deadline), 504, "deadline_exceeded")
        fake.request(0).respond()
        answer = client.fetch(headers=GRPC + [("grpc-timeout", "200m")])
        check_grpc(answer, DEADLINE_EXCEEDED, "deadline_exceeded")


@pytest.mark.parametrize("status, reason, head", [
    (400, "bad_request", b"POST / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n"),
    (404, "not_found", b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n"),
    (405, "method_not_allowed", b"TRACE /m HTTP/1.1\r\nhost: x\r\n\r\n"),
    (405, "method_not_allowed", b"CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n"),
    (413, "payload_too_large", b"POST /m HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n"),
    (414, "uri_too_long", b"GET /m/" + b"x" * 9000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"),
    (417, None, b"POST /m HTTP/1.1\r\nhost: x\r\nexpect: magic\r\ncontent-length: 0\r\n\r\n"),
    (431, "headers_too_large",
     b"GET /m HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 70000 + b"\r\n\r\n"),
    (505, None, b"GET /m HTTP/2.5\r\nhost: x\r\n\r\n"),
])
def test_the_request_itself_is_at_fault(replica, status, reason, head):
    fake = replica()
    route = {"prefix": "/m", "max_request_body": "1000B"}
    proxy = Proxy(proxy_config([fake], route=route))
    with H1Client(proxy.address) as client:
        client.send(head)
        answer = client.response()
        assert answer.status == status
        assert answer.reason == (reason or answer.reason) and answer.reason
        assert answer.header("x-request-id")
        assert answer.json()["error"]["code"] == status
        assert answer.header("retry-after") is None
    assert not fake.requests


def test_499_client_gone_is_counted_while_waiting_and_while_running(replica):
    fake = replica()
    with served([fake]) as (proxy, client):
        running, waiting = client.request(), client.request()
        proxy.wait_queue(waiting=1, in_flight=1)
        fake.wait_count(1)
        waiting.reset()
        equals(lambda: proxy.metric("penstock_cluster_requests_total", code="499",
                                    reason="client_gone"), 1)
        running.reset()
        equals(lambda: proxy.metric("penstock_cluster_requests_total", code="499",
                                    reason="client_gone"), 2)
        assert proxy.in_flight() == 1, "its slot stays taken until the work has ended"


def test_the_replicas_own_answers_are_passed_on_with_reason_none(replica):
    fake = replica(handler=lambda request: request.respond(int(request.path[1:]), body=b"own"))
    with served([fake]) as (proxy, client):
        for status in (200, 201, 400, 404, 418, 429, 500, 502, 504, 599):
            answer = client.fetch(path=f"/{status}")
            assert (answer.status, answer.body, answer.reason) == (status, b"own", None)
            equals(lambda status=status: proxy.metric(
                "penstock_cluster_requests_total", code=str(status), reason="none"), 1)
