"""A connection that has died without a word, while new ones reach the same server.

Promised: a request whose answer does not come, with nothing else on the connection, makes the connection show
that it lives; if it does not within 2 s it is closed, what was given up on it gives its slot back, and the next
request has a new one. A server that is only slow keeps its connection.

Shown: a relay that forgets the connections that it has; the real programs on both sides of it.
"""

import pytest

from support.configs import proxy_config
from support.h2_client import H2Client
from support.model_servers import CHAT
from support.programs import Proxy
from support.relay import Relay
from support.waiting import equals, eventually

HURRIED = [("x-request-timeout-ms", "700")]


@pytest.fixture
def relay():
    made = []

    def make(target):
        made.append(Relay(target))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ok(request):
    request.respond(body=b"ok")


@pytest.mark.parametrize("gone", ["wait", "reset"])
@pytest.mark.parametrize("sidecar", [True, False])
def test_a_replicas_dead_connection_is_replaced(replica, relay, gone, sidecar):
    fake = replica("h2", handler=ok, sidecar=sidecar)
    path = relay(fake.address)
    proxy = Proxy(proxy_config([path], target=2, cluster={"protocol": "h2", "on_client_gone": gone}))
    with H2Client(proxy.address) as client:
        assert client.fetch("GET").status == 200
        before = path.accepted
        path.forget()
        assert client.fetch("GET", headers=HURRIED).status == 504
        eventually(lambda: client.fetch("GET", headers=HURRIED).status == 200, "a new connection")
        assert client.fetch("GET").status == 200
        if not sidecar:  # whose stream of load reports has a connection of its own
            assert path.accepted == before + 1
    proxy.wait_empty()


@pytest.mark.parametrize("gone", ["wait", "reset"])
def test_a_model_servers_dead_connection_is_replaced(replica, relay, front, gone):
    server = replica("h2", handler=ok)
    path = relay(server.address)
    sidecar = front(path.address, protocol="h2", on_client_gone=gone)
    with H2Client(sidecar.address) as client:
        assert client.fetch("POST", CHAT).status == 200
        path.forget()
        assert client.fetch("POST", CHAT, HURRIED).status == 504
        eventually(lambda: client.fetch("POST", CHAT, HURRIED).status == 200, "a new connection")
    equals(lambda: sidecar.metric("penstock_in_flight"), 0)


def test_a_slow_replica_keeps_its_connection(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], target=3, cluster={"protocol": "h2"}))
    with H2Client(proxy.address) as client:
        running = client.request(headers=[("x-test-id", "running")])
        fake.by_id("running")
        accepted = fake.accepted
        for _ in range(2):
            assert client.fetch(headers=HURRIED).status == 504
        for request in fake.requests:
            request.respond()
        assert running.response().status == 200
        proxy.wait_empty()
        assert fake.accepted == accepted
