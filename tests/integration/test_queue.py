"""The admission queue as clients see it.

Promised: a replica is never given more than the target; waiters are served in the order of their arrival,
whichever worker they came to and whichever protocol they speak (NoOvertaking); a freed slot always finds
the next waiter (NoLostWakeUp); replicas are used evenly relative to their target; the queue is bounded in
requests, bytes and time, and what it refuses was never executed.

Shown: replicas that hold each request until the test lets it go, and /clusters to see who waits.
"""

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import equals, eventually


def tagged(number):
    return [("x-test-id", str(number))]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_waiters_are_served_in_the_order_of_their_arrival(replica, workers):
    fake = replica()
    proxy = Proxy(proxy_config([fake], target=2), workers=workers)
    clients = []
    # Each on a connection of its own, so that they spread over the workers.
    for number in range(12):
        client = (H2Client, H1Client)[number % 2](proxy.address)
        answer = client.request(headers=tagged(number), body=b"x")
        clients.append((client, answer))
        proxy.wait_queue(waiting=max(0, number - 1), in_flight=min(2, number + 1))
    for number in range(12):
        fake.request(number).respond(body=b"for %d" % number)
        if number < 10:
            fake.wait_count(number + 3)
    # The first two ran at once and may have reached the replica in either order.
    assert sorted(fake.ids[:2]) == ["0", "1"]
    assert fake.ids[2:] == [str(number) for number in range(2, 12)]
    assert fake.max_in_flight == 2
    for client, stream in clients:
        answer = stream.response() if stream else client.response()
        assert answer.status == 200
        client.close()
    proxy.wait_empty()


def test_a_newcomer_does_not_overtake_when_a_slot_comes_free(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]), workers=2)
    with H2Client(proxy.address) as first, H2Client(proxy.address) as second:
        first.request(headers=tagged("running"))
        fake.wait_count(1)
        for number in range(20):
            first.request(headers=tagged(f"old{number}"))
        proxy.wait_queue(waiting=20, in_flight=1)
        for number in range(20):
            # A newcomer for each slot that comes free.
            fake.request(number).respond()
            second.request(headers=tagged(f"new{number}"))
        fake.request(20).respond()
        for number in range(21, 41):
            fake.request(number).respond()
    assert fake.ids[1:21] == [f"old{number}" for number in range(20)]
    assert fake.max_in_flight == 1


def test_replicas_share_the_load_and_take_turns_among_equals(replica):
    fakes = [replica(), replica(), replica()]
    proxy = Proxy(proxy_config(fakes, target=2))
    with H2Client(proxy.address) as client:
        streams = [client.request(headers=tagged(number)) for number in range(6)]
        for fake in fakes:
            fake.wait_count(2)
        extra = client.request(headers=tagged("extra"))
        proxy.wait_queue(waiting=1, in_flight=6)
        fakes[1].request(0).respond()
        assert fakes[1].request(2).id == "extra", "it goes where the slot came free"
        for fake in fakes:
            for request in fake.requests:
                request.respond()
        for stream in streams + [extra]:
            stream.response()
        proxy.wait_empty()
        # One at a time: equals take turns.
        counts = [len(fake.requests) for fake in fakes]
        for fake in fakes:
            fake.handler = lambda request: request.respond()
        for _ in range(9):
            assert client.fetch().status == 200
        assert [len(fake.requests) - count for fake, count in zip(fakes, counts)] == [3, 3, 3]
    assert max(fake.max_in_flight for fake in fakes) == 2


def test_the_queue_is_bounded_in_requests(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], queue={"max_requests": 3}))
    with H2Client(proxy.address) as client:
        admitted = [client.request(headers=tagged(number)) for number in range(4)]
        proxy.wait_queue(waiting=3, in_flight=1)
        refused = client.fetch(headers=tagged("too many"))
        assert (refused.status, refused.reason) == (429, "queue_full")
        assert int(refused.header("retry-after")) >= 1
        assert refused.json()["error"]["code"] == 429
        for number in range(4):
            fake.request(number).respond()
        assert [stream.response().status for stream in admitted] == [200] * 4
    assert "too many" not in fake.ids
    equals(lambda: proxy.metric("penstock_cluster_requests_total", code="429", reason="queue_full"), 1)


def test_the_queue_is_bounded_in_bytes(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], queue={"max_bytes": "64KiB"}))
    with H2Client(proxy.address) as client:
        client.request(headers=tagged("running"), body=b"x" * 50000)
        fake.wait_count(1)
        waiting = [client.request(headers=tagged(n), body=b"x" * 20000) for n in range(3)]
        proxy.wait_queue(waiting=3, in_flight=1)
        assert 60000 <= proxy.cluster()["queue"]["bytes"] <= 65536
        refused = client.fetch(headers=tagged("too large"), body=b"x" * 20000)
        assert (refused.status, refused.reason) == (429, "queue_bytes_full")
        for number in range(4):
            fake.request(number).respond()
        assert [stream.response().status for stream in waiting] == [200] * 3
        proxy.wait_empty()
        assert proxy.cluster()["queue"]["bytes"] == 0
    assert "too large" not in fake.ids


def test_a_wait_ends_at_the_queue_timeout_and_was_not_executed(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], queue={"timeout": "300ms"}))
    with H2Client(proxy.address) as client:
        running = client.request(headers=tagged("running"))
        fake.wait_count(1)
        late = client.fetch(headers=tagged("late"))
        assert (late.status, late.reason) == (503, "queue_timeout")
        assert int(late.header("retry-after")) >= 1
        assert not running.ended, "the timeout bounds waiting, not running"
        fake.request(0).respond()
        assert running.response().status == 200
        after = client.request(headers=tagged("after"))
        fake.by_id("after").respond()
        assert after.response().status == 200
    assert fake.ids == ["running", "after"]


def test_clusters_tells_how_long_the_oldest_has_waited(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        client.request()
        fake.wait_count(1)
        assert proxy.cluster()["oldest_wait_seconds"] == 0
        client.request()
        proxy.wait_queue(waiting=1, in_flight=1)
        first = proxy.cluster()["oldest_wait_seconds"]
        eventually(lambda: proxy.cluster()["oldest_wait_seconds"] > first, "the wait grows")
        fake.request(0).respond()
        fake.request(1).respond()
        proxy.wait_empty()
        assert proxy.metric("penstock_cluster_waiting_seconds_count", cluster="m") == 2
        assert proxy.metric("penstock_cluster_arrivals_total", cluster="m") == 2
