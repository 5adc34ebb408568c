"""A thousand waiting requests leave at once when their client goes.

Promised: a waiter whose client is gone leaves the queue in O(1), without ever being executed; its place is
free for others at once, and its memory is given back.

Shown: one request runs; 1000 wait on ten connections (the default bound of the queue, exactly); the clients
reset streams, or hang up, while nothing else happens at the replica.
"""

import pytest

from support.configs import proxy_config
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import equals


@pytest.mark.parametrize("workers", [1, 4])
def test_waiters_leave_when_their_client_hangs_up(replica, workers):
    fake = replica()
    proxy = Proxy(proxy_config([fake]), workers=workers)
    keeper = H2Client(proxy.address)
    running = keeper.request(headers=[("x-test-id", "running")])
    fake.wait_count(1)
    clients = [H2Client(proxy.address) for _ in range(10)]
    for client in clients:
        for _ in range(100):
            client.request(headers=[("x-test-id", "waiter")], body=b"x" * 100)
    proxy.wait_queue(waiting=1000, in_flight=1, timeout=30)
    refused = keeper.fetch()
    assert (refused.status, refused.reason) == (429, "queue_full"), "1000 fill the queue"
    for client in clients:
        client.close(abrupt=True)
    proxy.wait_queue(waiting=0, in_flight=1)
    equals(lambda: proxy.metric("penstock_buffered_bytes"), 0)
    assert not running.ended and fake.ids == ["running"]
    equals(lambda: proxy.metric("penstock_cluster_requests_total", code="499"), 1000)
    late = keeper.request(headers=[("x-test-id", "late")])
    fake.request(0).respond()
    fake.by_id("late").respond()
    assert running.response().status == late.response().status == 200
    assert fake.ids == ["running", "late"], "nobody who had left was executed"
    proxy.wait_empty()


def test_waiters_leave_when_their_stream_is_reset(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        streams = [client.request(headers=[("x-test-id", str(n))]) for n in range(90)]
        proxy.wait_queue(waiting=89, in_flight=1)
        for stream in streams[1:80]:
            stream.reset()
        proxy.wait_queue(waiting=10, in_flight=1)
        for number in range(11):
            fake.request(number).respond()
        for stream in [streams[0]] + streams[80:]:
            assert stream.response().status == 200
    assert fake.ids == ["0"] + [str(n) for n in range(80, 90)]
    proxy.wait_empty()
