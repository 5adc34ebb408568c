"""The line survives a replica that says no.

Promised: a refusal ("not here, not now": x-penstock-not-executed, REFUSED_STREAM, GOAWAY) takes that replica
out of the choice until newer news, or for a pause that doubles from 10 ms to 1 s; then one request tries. The
refused request keeps its place and loses no attempt; its deadline and queue.timeout bound its waiting. With all
replicas refusing the line waits and nothing spins.

Shown: fake replicas that refuse until told otherwise and count what they were sent, sidecars that are ended
while a line waits.
"""

import random
import signal
import threading
import time

import pytest

from support import readers
from support.configs import proxy_config
from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body
from support.programs import Proxy, Sidecar
from support.refusing import REFUSALS, refuse_by_header
from support.reporting import Reporter, load_report
from support.waiting import SLOWNESS, equals, eventually


def answer(request):
    request.respond(body=b"done")


@pytest.mark.parametrize("protocol, refuse", [("h2", refuse) for refuse in REFUSALS]
                         + [("h1", refuse_by_header)])
def test_with_all_replicas_refusing_the_line_waits_and_nothing_spins(replica, protocol, refuse):
    fakes = [replica(protocol, handler=refuse) for _ in range(2)]
    proxy = Proxy(proxy_config(fakes, target=4))
    with H2Client(proxy.address) as client:
        streams = [client.request(headers=[("x-test-id", str(n))], body=b"x") for n in range(50)]
        begun = time.monotonic()
        # By then each replica has been tried after pauses of 10, 20, 40 and 80 ms at least.
        equals(lambda: all(len(fake.requests) >= 6 for fake in fakes), True)
        passed = time.monotonic() - begun
        sent = sum(len(fake.requests) for fake in fakes)
        assert not any(stream.ended for stream in streams), "nobody is told anything"
        # All slots at once in the beginning, then one for each pause; the later ones are a second long.
        assert sent <= 2 * (2 * 4 + 7 + passed), (sent, passed)
        assert all(shown["refusing"] for shown in proxy.cluster()["replicas"])
        for fake in fakes:
            fake.handler = answer
        assert [stream.response(30).status for stream in streams] == [200] * 50
    for fake in fakes:
        assert fake.max_in_flight <= 4
    proxy.wait_empty()


def test_a_refusing_replica_costs_the_line_nothing_while_another_serves(replica):
    refusing, serving = replica(handler=refuse_by_header), replica()
    proxy = Proxy(proxy_config([refusing, serving], target=2, cluster={
        "retry": {"max_attempts": 1, "budget": 0, "min_concurrent": 0}}))
    with H2Client(proxy.address) as client:
        begun = time.monotonic()
        streams = [client.request() for _ in range(40)]
        for number in range(40):
            serving.request(number).respond()
        assert [stream.response().status for stream in streams] == [200] * 40
        passed = time.monotonic() - begun
    # Its two slots in the beginning, then one request after each pause, the first 10 ms long.
    assert len(refusing.requests) <= 2 + 7 + passed
    proxy.wait_empty()


@pytest.mark.parametrize("refuse", REFUSALS)
def test_a_request_may_be_refused_more_often_than_it_has_attempts(replica, refuse):
    fake = replica()
    fake.handler = lambda request: (refuse if len(fake.requests) < 6 else answer)(request)
    proxy = Proxy(proxy_config([fake], cluster={"retry": {"max_attempts": 2}}))
    with H2Client(proxy.address) as client:
        assert client.fetch(body=b"the body").body == b"done"
    assert {bytes(request.body) for request in fake.requests} == {b"the body"}
    assert proxy.metric("penstock_cluster_replica_refusals_total", cluster="m") == 5
    proxy.wait_empty()


@pytest.mark.parametrize("how", ["clients_deadline", "route_timeout", "queue_timeout"])
def test_the_waiting_is_bounded_and_told_as_not_executed(replica, how):
    fake = replica(handler=refuse_by_header)
    proxy = Proxy(proxy_config([fake], queue={"timeout": "300ms"} if how == "queue_timeout" else None,
                               route={"timeout": "300ms"} if how == "route_timeout" else None))
    deadline = [("x-request-timeout-ms", "300")] if how == "clients_deadline" else []
    with H2Client(proxy.address) as client:
        refused = client.fetch(headers=deadline)
    assert (refused.status, refused.reason) == (503, "queue_timeout")
    assert len(fake.requests) > 1
    proxy.wait_empty()


def test_what_may_have_run_before_it_was_refused_is_not_told_as_not_executed(replica):
    fake = replica("h2")
    fake.handler = lambda request: (request.die() if len(fake.requests) == 1
                                    else request.refuse())
    proxy = Proxy(proxy_config([fake], route={"idempotent": True}, queue={"timeout": "300ms"}))
    with H2Client(proxy.address) as client:
        failed = client.fetch()
    assert (failed.status, failed.reason) == (502, "replica_connection_lost")
    assert len(fake.requests) > 1
    proxy.wait_empty()


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_that_were_put_back_do_not_hold_up_the_proxys_end(replica, workers):
    fake = replica(handler=refuse_by_header)
    proxy = Proxy(proxy_config([fake], drain_timeout="300ms"), workers=workers)
    with H2Client(proxy.address) as client:
        streams = [client.request() for _ in range(3)]
        fake.wait_count(4)
        proxy.signal(signal.SIGTERM)
        for stream in streams:
            refused = stream.response()
            assert (refused.status, refused.reason) == (503, "draining")
    assert proxy.wait() == 0


def test_a_client_that_leaves_after_a_refusal_leaves_the_line(replica):
    fake = replica(handler=refuse_by_header)
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        leaving, staying = client.request(), client.request()
        fake.wait_count(3)
        leaving.reset()
        proxy.wait_queue(waiting=1, in_flight=0)
        fake.handler = answer
        assert staying.response().body == b"done"
    proxy.wait_empty()


def test_a_report_opens_a_refusing_replica_before_its_pause_is_over(replica):
    fake = replica("h2", handler=refuse_by_header, sidecar=True)
    reporter = Reporter(fake, in_flight=4, limit=4)
    proxy = Proxy(proxy_config([fake], target=4))
    with H2Client(proxy.address) as client:
        streams = [client.request() for _ in range(4)]
        # From here on the pauses are a second long, and one request tries after each.
        fake.wait_count(14, timeout=30)
        equals(lambda: load_report(proxy, fake.address)["in_flight"], 4)
        fake.handler = None
        before = len(fake.requests)
        reporter.say(in_flight=0, limit=4)
        for request in fake.wait_count(before + 4)[before:]:
            request.respond()
        assert [stream.response().status for stream in streams] == [200] * 4
    proxy.wait_empty()


def sidecars_and_proxy(count, target=2):
    sidecars = [Sidecar(EXAMPLES / "stages", ["--concurrency-limit", str(target)])
                for _ in range(count)]
    return sidecars, Proxy(proxy_config(sidecars, target=target))


def test_a_sidecar_that_is_ended_costs_no_waiting_request_anything():
    sidecars, proxy = sidecars_and_proxy(3)
    with H2Client(proxy.address) as client:
        long = client.request(path="/predict", body=stages_body(preprocess_ms=int(1500 * SLOWNESS)))
        equals(lambda: sum(each.metric("penstock_in_flight") for each in sidecars), 1)
        busy = next(each for each in sidecars if each.metric("penstock_in_flight") == 1)
        streams = [client.request(path="/predict", body=stages_body(preprocess_ms=20))
                   for _ in range(90)]
        busy.signal(signal.SIGTERM)
        assert {stream.response(60).status for stream in streams} == {200}
        assert long.response(60).status == 200
    assert busy.wait() == 0
    proxy.wait_empty()


def test_soak_sidecars_are_ended_and_killed_at_random_under_a_standing_line():
    """No answer but 200 for what no replica had begun: what it ran on dies with a killed sidecar, 502."""
    seed = random.randrange(2**32)
    print("seed", seed)
    dice = random.Random(seed)
    limit = ["--concurrency-limit", "2"]
    sidecars = [Sidecar(EXAMPLES / "stages", limit) for _ in range(3)]
    proxy = Proxy(proxy_config(sidecars, target=2, cluster={"ejection": {"consecutive_failures": 100}}),
                  workers=2)
    addresses = [sidecar.text_address for sidecar in sidecars]
    outcomes, lock, over = [], threading.Lock(), threading.Event()

    def ask():
        with H2Client(proxy.address) as client:
            while not over.is_set():
                streams = [client.request(path="/predict", body=stages_body(preprocess_ms=5))
                           for _ in range(30)]
                ended = [stream.response(120) for stream in streams]
                with lock:
                    outcomes.extend((each.status, each.reason) for each in ended)

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    killed = 0
    try:
        for _ in range(10):
            place = dice.randrange(3)
            with lock:
                before = len(outcomes)
            if dice.random() < 0.5:
                sidecars[place].signal(signal.SIGTERM)
                assert sidecars[place].wait() == 0
            else:
                sidecars[place].kill()
                killed += 1
            eventually(lambda: len(outcomes) >= before + 30, timeout=60)
            sidecars[place] = Sidecar(EXAMPLES / "stages", limit, listen=addresses[place])
    finally:
        over.set()
        for client in clients:
            client.join()
    lost = [each for each in outcomes if each[0] != 200]
    assert set(lost) <= {(502, "replica_connection_lost")}, set(lost)
    assert len(lost) <= 2 * killed, "more than ran on the killed ones"
    assert readers.get(proxy.admin, "/ready").status == 200
    proxy.wait_empty()
