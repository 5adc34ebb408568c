"""Deadlines: of the client (three headers), of the route, of the first byte, of silence.

Promised: x-request-timeout-ms, grpc-timeout and x-envoy-upstream-rq-timeout-ms bound waiting and running; a
waiter whose deadline has passed is never dispatched; the remaining time is passed on to the replica as
x-request-timeout-ms; the shorter of the client's and the route's bound holds.

Shown: a replica that answers when the test lets it, and records the remaining time it was told.
"""

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import eventually, patience

HEADERS = [("x-request-timeout-ms", "%d"), ("x-envoy-upstream-rq-timeout-ms", "%d"),
           ("grpc-timeout", "%dm"), ("grpc-timeout", "%d000u")]


@pytest.mark.parametrize("name, form", HEADERS)
def test_the_deadline_bounds_running(replica, name, form):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        answer = client.fetch(headers=[(name, form % 250)])
        assert (answer.status, answer.reason) == (504, "deadline_exceeded")
        told = int(fake.request(0).header("x-request-timeout-ms"))
        assert 0 < told <= 250
        fake.request(0).respond()
    proxy.wait_empty()


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_the_shortest_of_a_repeated_deadline_holds(replica, client_class):
    fake = replica()
    proxy = Proxy(proxy_config([fake], target=2))
    for number, values in enumerate((("60000", "250"), ("250", "60000"))):
        with client_class(proxy.address) as client:
            answer = client.fetch(headers=[("x-request-timeout-ms", value) for value in values])
            assert (answer.status, answer.reason) == (504, "deadline_exceeded")
        headers = fake.request(number).headers
        assert [int(value) <= 250 for name, value in headers if name == "x-request-timeout-ms"] == [True]
        fake.request(number).respond()
    proxy.wait_empty()


@pytest.mark.parametrize("name, form", HEADERS)
def test_the_deadline_bounds_waiting_and_nothing_is_dispatched_after_it(replica, name, form):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        running = client.request(headers=[("x-test-id", "running")])
        fake.wait_count(1)
        late = client.fetch(headers=[("x-test-id", "late"), (name, form % 200)])
        assert late.status in (503, 504)
        assert late.reason in ("queue_timeout", "deadline_exceeded")
        assert not running.ended
        fake.request(0).respond()
        next_one = client.request(headers=[("x-test-id", "next")])
        fake.by_id("next").respond()
        assert next_one.response().status == 200
    assert fake.ids == ["running", "next"]


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
@pytest.mark.parametrize("name, form", HEADERS)
def test_what_comes_too_late_already_is_refused_as_not_executed(replica, client_class, name, form):
    fake = replica(handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake]))
    with client_class(proxy.address) as client:
        assert client.fetch().status == 200
        late = client.fetch(headers=[(name, form % 0)])
        assert (late.status, late.reason) == (503, "queue_timeout"), "may be sent again"
    assert len(fake.ids) == 1
    proxy.wait_empty()


def test_the_remaining_time_shrinks_while_waiting(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        client.request()
        fake.wait_count(1)
        waiter = client.request(headers=[("x-request-timeout-ms", "60000")])
        eventually(lambda: proxy.cluster()["oldest_wait_seconds"] > 0.2)
        fake.request(0).respond()
        told = int(fake.request(1).header("x-request-timeout-ms"))
        assert 0 < told <= 59800
        fake.request(1).respond()
        assert waiter.response().status == 200


def test_the_route_bounds_what_the_client_asks_for(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], route={"timeout": "300ms"}))
    with H2Client(proxy.address) as client:
        answer = client.fetch(headers=[("x-request-timeout-ms", "60000")])
        assert (answer.status, answer.reason) == (504, "replica_timeout")
        assert int(fake.request(0).header("x-request-timeout-ms")) <= 300
        fake.request(0).respond()


def test_the_route_timeout_is_passed_on_when_the_client_asks_for_none(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], route={"timeout": "100s"}))
    with H2Client(proxy.address) as client:
        stream = client.request()
        assert 0 < int(fake.request(0).header("x-request-timeout-ms")) <= 100000
        fake.request(0).respond()
        stream.response()


@pytest.mark.parametrize("value", ["-1", "abc", "1.5", "99999999999999999999", ""])
def test_a_deadline_that_is_no_number_harms_nobody(replica, value):
    fake = replica(handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        answer = client.fetch(headers=[("x-request-timeout-ms", value)])
        assert (answer.status, answer.reason) == (400, "bad_request")
        assert client.fetch().status == 200


def test_silence_in_the_middle_of_a_stream_cuts_it_off(replica):
    fake = replica(reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], route={"stream_idle_timeout": "300ms"},
                               cluster={"on_client_gone": "reset"}))
    with H2Client(proxy.address) as client:
        stream = client.request()
        request = fake.request(0)
        request.start(200)
        for _ in range(4):
            request.send(b"tick")
            stream.data(len(stream.answer.body) + 4)
        answer = stream.end()
        assert not stream.complete and answer.reset is not None
        assert request.cancelled.wait(patience(30))
    proxy.wait_empty()


def test_the_silence_of_waiting_does_not_count(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], route={"stream_idle_timeout": "1s"}))
    with H2Client(proxy.address) as client:
        blocker = client.request()
        request = fake.request(0)
        request.start(200)
        waiter = client.request()
        proxy.wait_queue(waiting=1, in_flight=1)
        while proxy.cluster()["oldest_wait_seconds"] < 1.5:
            request.send(b".")
        request.finish()
        assert blocker.response().status == 200
        fake.request(1).respond()
        assert waiter.response().status == 200


def test_the_first_byte_timeout_ends_with_the_first_byte(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], route={"first_byte_timeout": "300ms"}))
    with H2Client(proxy.address) as client:
        stream = client.request()
        fake.request(0).start(200)
        stream.head()
        second = client.request()
        proxy.wait_queue(waiting=1, in_flight=1)
        eventually(lambda: proxy.cluster()["oldest_wait_seconds"] > 0.5)
        fake.request(0).finish()
        assert stream.response().status == 200
        assert second.response().status == 504
        fake.request(1).respond()
