"""Safe retries: only what is provably not executed, at its original place in the queue.

Promised: a failure to connect, REFUSED_STREAM, a stream above GOAWAY's last id, a connection that ends
before a byte of the request was written, and the sidecar's own "not executed" refusal are retried while the
body is still buffered, before everything that came later (test_refusals.py says for how long). Anything
else is not retried, unless the route says idempotent, and then at most retry.max_attempts times.

Shown: a replica that fails on purpose and records the order of what it was sent.
"""

import socket

import pytest

from support.configs import proxy_config
from support.h1_client import fetch
from support.h2_client import H2Client
from support.programs import Proxy
from support.refusing import REFUSALS, REFUSED_STREAM
from support.waiting import equals

INTERNAL_ERROR = 2


def unused_address():
    """An address that nobody listens on, and that nobody else is given meanwhile."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, "127.0.0.1:%d" % sock.getsockname()[1]


def test_a_replica_that_refuses_connections_costs_nothing(replica):
    held, dead = unused_address()
    fake = replica(handler=lambda request: request.respond(body=b"alive"))
    proxy = Proxy(proxy_config([dead, fake], target=2))
    with H2Client(proxy.address) as client:
        for _ in range(10):
            assert client.fetch(body=b"x").body == b"alive"
    assert len(fake.ids) == 10
    held.close()


@pytest.mark.parametrize("refuse", REFUSALS)
def test_what_the_replica_refused_is_sent_again_with_its_body(replica, refuse):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = client.request(headers=[("x-test-id", "a")], body=b"the body")
        refuse(fake.request(0))
        again = fake.request(1)
        assert (again.id, again.body) == ("a", b"the body")
        assert again.attempt_id != fake.request(0).attempt_id
        again.respond(body=b"done")
        assert stream.response().body == b"done"
    assert proxy.metric("penstock_cluster_retries_total", cluster="m") == 1
    assert fake.max_in_flight == 1, "never two slots for one request"
    proxy.wait_empty()


@pytest.mark.parametrize("refuse", REFUSALS)
def test_it_keeps_its_original_place_in_the_queue(replica, refuse):
    fake = replica()
    proxy = Proxy(proxy_config([fake]), workers=2)
    with H2Client(proxy.address) as one, H2Client(proxy.address) as two:
        streams = []
        for number in range(4):
            client = (one, two)[number % 2]
            streams.append(client.request(headers=[("x-test-id", str(number))]))
            proxy.wait_queue(waiting=number, in_flight=1)
        refuse(fake.request(0))
        for number in range(1, 5):
            fake.request(number).respond()
        assert [stream.response().status for stream in streams] == [200] * 4
    assert fake.ids == ["0", "0", "1", "2", "3"]
    assert fake.max_in_flight == 1


def test_requests_below_goaways_last_id_go_on(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], target=3))
    with H2Client(proxy.address) as client:
        streams = [client.request(headers=[("x-test-id", str(n))]) for n in range(2)]
        first, second = fake.wait_count(2)
        assert first.connection is second.connection, "they share a connection"
        second.end_work()
        second.answered.set()
        first.connection.send_goaway(first.stream_id)
        again = fake.request(2)
        assert again.id == second.id and again.connection is not first.connection
        first.respond(body=b"kept")
        again.respond(body=b"retried")
        bodies = {bytes(stream.response().body) for stream in streams}
        assert bodies == {b"kept", b"retried"}
    proxy.wait_empty()


@pytest.mark.parametrize("body", [b"", b"the body"], ids=["no_body", "body"])
def test_attempts_on_an_idempotent_route_are_bounded(replica, body):
    fake = replica("h2", handler=lambda request: request.die())
    proxy = Proxy(proxy_config([fake], route={"idempotent": True},
                               cluster={"retry": {"max_attempts": 2}}))
    with H2Client(proxy.address) as client:
        answer = client.fetch(body=body)
    assert (answer.status, answer.reason) == (502, "replica_connection_lost")
    assert len(fake.requests) == 2
    proxy.wait_empty()


def test_a_failed_connect_and_a_refusal_do_not_spend_each_others_attempts(replica):
    held, dead = unused_address()
    fake = replica(handler=lambda request: (request.respond(body=b"second") if fake.ids[1:]
                                            else request.refuse()))
    proxy = Proxy(proxy_config([fake, dead], cluster={
        "retry": {"max_attempts": 2}, "max_connect_attempts": 2}))
    with H2Client(proxy.address) as client:
        assert client.fetch(body=b"x").body == b"second"
    # One at each, in either order, and then the one that counts.
    assert proxy.metric("penstock_cluster_retries_total", cluster="m") == 2
    held.close()


def test_a_refusal_is_not_retried_when_the_body_is_no_longer_buffered(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "4KiB"}))
    with H2Client(proxy.address) as client:
        stream = client.request(body=b"x" * 5000, end=False)
        fake.wait_count(1)[0].wait_body(5000)
        fake.requests[0].reset(REFUSED_STREAM)
        answer = stream.response()
        assert (answer.status, answer.reason) == (502, "replica_refused_after_send")
    assert len(fake.requests) == 1
    proxy.wait_empty()


@pytest.mark.parametrize("protocol", ["h2", "h1"])
@pytest.mark.parametrize("idempotent", [False, True])
def test_what_may_have_been_executed_is_retried_only_on_an_idempotent_route(
        replica, protocol, idempotent):
    fake = replica(protocol)
    proxy = Proxy(proxy_config([fake], route={"idempotent": idempotent}))
    with H2Client(proxy.address) as client:
        stream = client.request(headers=[("x-test-id", "a")])
        fake.request(0).die()
        if idempotent:
            fake.request(1).respond(body=b"second try")
            assert stream.response().body == b"second try"
        else:
            answer = stream.response()
            assert (answer.status, answer.reason) == (502, "replica_connection_lost")
            assert fake.ids == ["a"]
    proxy.wait_empty()


def test_other_resets_and_plain_503_are_not_retried(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = client.request()
        fake.request(0).reset(INTERNAL_ERROR)
        assert stream.response().status == 502
        stream = client.request()
        fake.request(1).respond(503, body=b"the model says no")
        answer = stream.response()
        assert (answer.status, answer.body) == (503, b"the model says no")
        assert answer.reason is None, "the replica's own answer"
    assert len(fake.requests) == 2
    equals(lambda: proxy.metric("penstock_cluster_requests_total", code="503", reason="none"), 1)


def test_a_replica_that_closes_idle_connections_is_never_seen_by_clients(replica):
    fake = replica("h1", handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake]))
    for _ in range(20):
        assert fetch(proxy.address, "POST", body=b"x").status == 200
        fake.hang_up()
    assert len(fake.requests) == 20


def test_bytes_on_an_idle_connection_are_no_answer_to_the_next_request(replica):
    fake = replica("h1", handler=lambda request: request.respond(body=b"mine"))
    proxy = Proxy(proxy_config([fake]))
    for _ in range(5):
        assert fetch(proxy.address, "POST").body == b"mine"
        for connection in fake.connections:
            try:
                connection.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen")
            except OSError:
                pass
    assert fetch(proxy.address, "POST").body == b"mine"
