"""SIGTERM loses nothing that was admitted.

Promised: on SIGTERM the proxy says 503 "draining" at /ready, takes no new work, finishes what runs and,
within drain_timeout, what waits; then it exits 0. Until then requests that come, on connections new or kept, are
answered 503 "draining" and "connection: close"; no connection is reset. What still waits after drain_timeout is told 503 draining
and was not executed. A second SIGTERM, or SIGINT, stops at once with exit code 1. The sidecar drains alike.

Shown: signals while requests are held at the replica.
"""

import signal
import threading

import pytest

from support import readers
from support.configs import proxy_config
from support.h1_client import H1Client
from support.h1_wire import Closed
from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body
from support.programs import Proxy, Sidecar
from support.waiting import SLOWNESS, eventually


@pytest.mark.parametrize("workers", [1, 2])
def test_everything_admitted_is_answered(replica, workers):
    fake = replica()
    proxy = Proxy(proxy_config([fake], target=2), workers=workers)
    clients = [H2Client(proxy.address) for _ in range(2)]
    streams = [clients[n % 2].request(headers=[("x-test-id", str(n))]) for n in range(8)]
    plain = H1Client(proxy.address)
    plain.request(headers=[("x-test-id", "plain")])
    proxy.wait_queue(waiting=7, in_flight=2)
    admin = proxy.admin
    proxy.signal(signal.SIGTERM)
    eventually(lambda: readers.get(admin, "/ready").status == 503, "/ready turns 503")
    assert b"draining" in readers.get(admin, "/ready").body
    for client in clients:
        client.wait_for(lambda client=client: client.goaway, "GOAWAY")
    for number in range(9):
        fake.request(number).respond(body=b"done")
    assert [stream.response().body for stream in streams] == [b"done"] * 8
    answer = plain.response()
    assert (answer.status, answer.header("connection")) == (200, "close")
    assert proxy.wait() == 0
    assert fake.max_in_flight == 2 and len(set(fake.ids)) == 9


def test_a_request_that_comes_while_draining_is_not_executed(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        running = client.request()
        fake.wait_count(1)
        address, admin = proxy.address, proxy.admin
        proxy.signal(signal.SIGTERM)
        eventually(lambda: readers.get(admin, "/ready").status == 503, "/ready turns 503")
        try:
            with H1Client(address) as newcomer:
                assert newcomer.fetch().status == 503
        except (OSError, Closed):
            pass  # nobody accepts any more
        fake.request(0).respond()
        assert running.response().status == 200
    assert proxy.wait() == 0
    assert len(fake.requests) == 1


def refused(fetch):
    """A request is told 503; its connection is closed as soon as its own worker knows of the drain."""
    def closed():
        answer = fetch()
        assert (answer.status, answer.reason) == (503, "draining")
        return answer.header("connection") == "close"
    return eventually(closed, "connection: close")


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_that_come_while_it_drains_are_told_so(replica, workers):
    """On new connections, on one that was kept, and on one that had said nothing yet; never a reset."""
    fake = replica()
    proxy = Proxy(proxy_config([fake]), workers=workers)
    with H2Client(proxy.address) as client, H1Client(proxy.address) as kept, \
            H1Client(proxy.address) as silent:
        running = client.request()
        fake.request(0).respond()
        assert running.response().status == 200
        kept.request()
        fake.request(1).respond()
        assert kept.response().status == 200
        running = client.request()
        fake.wait_count(3)
        proxy.signal(signal.SIGTERM)
        client.wait_for(lambda: client.goaway, "the drain has begun")
        assert refused(lambda: kept.fetch("GET")) and refused(lambda: silent.fetch("GET"))
        for _ in range(5):
            with H1Client(proxy.address) as newcomer:
                assert refused(lambda n=newcomer: n.fetch("POST", body=b"x" * 1000))
            with H2Client(proxy.address) as newcomer:
                answer = newcomer.request().response()
                assert (answer.status, answer.reason) == (503, "draining")
                newcomer.wait_for(lambda n=newcomer: n.goaway, "GOAWAY")
        fake.request(2).respond()
        assert running.response().status == 200
    assert proxy.wait() == 0
    assert len(fake.requests) == 3


def test_a_connection_that_was_said_to_stay_does_not_end_with_its_response(replica):
    """The head left before the signal, so it could not say "close"; the client may have sent the next request."""
    fake = replica("h1")
    proxy = Proxy(proxy_config([fake]))
    with H1Client(proxy.address) as client, H2Client(proxy.address) as other:
        first = other.request()
        fake.request(0).respond()
        assert first.response().status == 200
        client.request("GET")
        request = fake.request(1)
        request.start(200)
        assert client.head().header("connection") is None
        proxy.signal(signal.SIGTERM)
        other.wait_for(lambda: other.goaway, "the drain has begun")
        request.send(b"done")
        request.finish()
        assert b"done" in client.wire.until(b"0\r\n\r\n")
        assert refused(lambda: client.fetch("GET"))
    assert proxy.wait() == 0


def test_no_client_is_left_without_an_answer(replica):
    """Many clients, each with a connection that it keeps: every request that was sent is answered, or its
    connection was never made."""
    fake = replica("h1", handler=lambda request: request.respond(200, body=b"x"))
    proxy = Proxy(proxy_config([fake], target=4), workers=2)
    address, lost = proxy.address, []

    def client():
        while True:
            try:
                connection = H1Client(address)
            except ConnectionRefusedError:
                return
            with connection:
                try:
                    while connection.fetch("GET").header("connection") != "close":
                        pass
                except (OSError, Closed) as error:
                    lost.append(repr(error))
    clients = [threading.Thread(target=client) for _ in range(16)]
    for each in clients:
        each.start()
    fake.wait_count(200)
    assert proxy.stop() == 0
    for each in clients:
        each.join()
    # What connects in the very moment between the last look at the backlog and its end cannot be answered.
    assert len(lost) <= 1, lost


def test_where_proxies_share_an_address_a_draining_one_leaves_it_at_once(replica):
    fake = replica()
    first = Proxy(proxy_config([fake], listener={"reuse_port": True}))
    with H2Client(first.address) as client:
        running = client.request()
        fake.wait_count(1)
        first.signal(signal.SIGTERM)
        client.wait_for(lambda: client.goaway, "the drain has begun")
        at = {"address": "%s:%d" % first.address, "reuse_port": True}
        second = Proxy(proxy_config([fake], target=2, listener=at))
        for number in range(1, 6):
            with H1Client(second.address) as newcomer:
                newcomer.request()
                fake.request(number).respond()
                assert newcomer.response().status == 200
        fake.request(0).respond()
        assert running.response().status == 200
    assert first.wait() == 0


def test_what_waits_longer_than_the_drain_timeout_is_told_so(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], drain_timeout="300ms"))
    with H2Client(proxy.address) as client:
        running = client.request(headers=[("x-test-id", "running")])
        fake.wait_count(1)
        waiting = [client.request() for _ in range(3)]
        proxy.wait_queue(waiting=3, in_flight=1)
        proxy.signal(signal.SIGTERM)
        for stream in waiting:
            answer = stream.response()
            assert (answer.status, answer.reason) == (503, "draining")
        assert not running.ended, "what runs has its own timeout"
        fake.request(0).respond()
        assert running.response().status == 200
    assert proxy.wait() == 0
    assert fake.ids == ["running"]


def test_an_idle_proxy_ends_soon_and_closes_idle_connections(replica):
    proxy = Proxy(proxy_config([replica()]))
    with H1Client(proxy.address) as plain, H2Client(proxy.address) as client:
        proxy.signal(signal.SIGTERM)
        assert plain.wait_closed() == b""
        client.wait_for(lambda: client.closed, "the connection's end")
        assert proxy.wait(10) == 0


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_stops_at_once(replica, second):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        client.request()
        fake.wait_count(1)
        admin = proxy.admin
        proxy.signal(signal.SIGTERM)
        eventually(lambda: readers.get(admin, "/ready").status == 503, "/ready turns 503")
        proxy.signal(second)
        assert proxy.wait(10) == 1


def test_the_sidecar_finishes_what_runs_and_what_waits_at_the_gate():
    sidecar = Sidecar(EXAMPLES / "stages")
    with H2Client(sidecar.address) as client:
        body = stages_body(predict_ms=int(1000 * SLOWNESS))
        streams = [client.request(path="/predict", body=body) for _ in range(2)]
        eventually(lambda: sidecar.metric("penstock_in_flight") == 2)
        sidecar.signal(signal.SIGTERM)
        assert [stream.response().status for stream in streams] == [200, 200]
    assert sidecar.wait() == 0


def test_a_draining_sidecar_refuses_new_work_as_not_executed():
    sidecar = Sidecar(EXAMPLES / "stages")
    with H2Client(sidecar.address) as client:
        running = client.request(path="/predict", body=stages_body(predict_ms=int(1500 * SLOWNESS)))
        eventually(lambda: sidecar.metric("penstock_in_flight") == 1)
        sidecar.signal(signal.SIGTERM)
        eventually(lambda: client.goaway or sidecar.logged("draining"), "the drain has begun")
        stream = client.request(path="/predict", body=stages_body())
        late, late_id = stream.end(), stream.id
        if late.status:
            assert (late.status, late.reason) == (503, "draining")
            assert late.header("x-penstock-not-executed") == "true"
        else:
            refused = late.reset == 7 or (client.goaway and client.goaway[1] < late_id)
            assert refused, "REFUSED_STREAM, or above the GOAWAY's last id: not executed"
        assert running.response().status == 200
    assert sidecar.wait() == 0
