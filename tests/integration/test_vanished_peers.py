"""Peers whose machine vanishes: nothing that is sent to them arrives, and no reset tells so.

Promised: a client that has vanished while it waits leaves the queue once TCP has not delivered to it for
`write_timeout`; an HTTP/2 replica that has vanished gives back the slots of what was given up on it, and is
connected to anew when it is there again.

Shown: each test in a network namespace of its own (unshare -rn), where rules of the kernel's routing lose the packets.
"""

import functools
import os
import subprocess
import sys

import pytest

from support.configs import proxy_config
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import eventually, patience

INSIDE = "PENSTOCK_TEST_OWN_NETWORK"
OWN_NETWORK = ["unshare", "-rn"]
PEER = "127.0.0.2"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def refusal():
    """Why there is no network of one's own here; nothing if there is."""
    try:
        tried = subprocess.run([*OWN_NETWORK, "ip", "rule", "add", "pref", "1", "to", PEER, "blackhole"],
                               capture_output=True, text=True, timeout=patience(30), check=False)
    except OSError as error:
        return str(error)
    return tried.stderr.strip() or tried.returncode


def in_its_own_network(test):
    """Runs the test, which asks for `request`, by another pytest in a namespace; skips it where none is allowed."""
    @functools.wraps(test)
    def run(request, **arguments):
        if os.environ.get(INSIDE):
            ip("link", "set", "lo", "up")
            # What is said here comes before "this address is local", which is otherwise the first rule.
            ip("rule", "add", "pref", "10", "lookup", "local")
            ip("rule", "del", "pref", "0")
            test(request=request, **arguments)
            return
        if why := refusal():
            pytest.skip(f"no network namespace is allowed here: {why}")
        done = subprocess.run(
            [*OWN_NETWORK, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
             f"{request.node.path}::{request.node.name}"],
            env={**os.environ, INSIDE: "1"}, capture_output=True, text=True, timeout=patience(140), check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return run


@in_its_own_network
def test_a_client_that_vanishes_while_it_waits_leaves_the_queue(request, replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], listener={"write_timeout": "1s"}))
    with H2Client(proxy.address) as client:
        held = client.request(headers=[("x-test-id", "held")])
        fake.by_id("held")
        gone = H2Client(proxy.address, source=PEER)
        gone.request(headers=[("x-test-id", "gone")])
        proxy.wait_queue(waiting=1, in_flight=1)
        last = client.request(headers=[("x-test-id", "last")])
        proxy.wait_queue(waiting=2, in_flight=1)
        ip("rule", "add", "pref", "1", "to", PEER, "blackhole")
        gone.ping()  # the last that is heard of it; the answer is lost
        proxy.wait_queue(waiting=1, in_flight=1)
        fake.by_id("held").respond()
        fake.by_id("last").respond()
        assert held.response().status == last.response().status == 200
    assert fake.ids == ["held", "last"]
    proxy.wait_empty()


@in_its_own_network
def test_a_replica_that_vanishes_is_replaced(request, replica):
    fake = replica("h2", host=PEER)
    # Nothing but the end of its connection gives the slot back.
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "h2", "cancel_grace": "1h"}))
    hurried = [("x-request-timeout-ms", "1000")]
    with H2Client(proxy.address) as client:
        running = client.request(headers=hurried)
        fake.wait_count(1)
        for direction in ("from", "to"):
            ip("rule", "add", "pref", "1", direction, PEER, "blackhole")
        assert running.response().status == 504
        proxy.wait_queue(waiting=0, in_flight=0)
        fake.die()  # unheard
        for direction in ("from", "to"):
            ip("rule", "del", "pref", "1", direction, PEER, "blackhole")
        fake.handler = lambda request: request.respond(body=b"back")
        fake.listen()
        accepted = fake.accepted
        eventually(lambda: client.fetch(headers=hurried).status == 200, "it is used again")
        assert fake.accepted == accepted + 1
    proxy.wait_empty()
