"""The invariants end to end, while clients come and go at random.

Promised, with 1, 2 and 4 workers: a replica that counts for itself never sees more than the target
(NeverMoreThanTarget); whoever stays is answered exactly once (OneOutcome); nothing runs twice; when all is over
everything is zero: waiting, in_flight, buffered bytes (AccountsReturnToZero); the sidecar's own wall was never
needed.

Shown: seeded clients of both protocols that send, wait, reset, hang up in the middle of a body, of waiting, of
an answer. The seed is in the test's name and in each failure; PENSTOCK_TEST_SEED runs another.
"""

import os
import random
import threading
import time

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h1_wire import Closed
from support.h2_client import H2Client
from support.h2_wire import StreamGone
from support.models import EXAMPLES, stages_body
from support.programs import Proxy, Sidecar
from support.replica import Workers
from support.waiting import eventually, patience

SEED = int(os.environ.get("PENSTOCK_TEST_SEED", "20240611"))
CLIENTS, TURNS = 16, 14


class Crowd:
    """Clients on threads of their own; each turn is one request and one of several ways to leave."""

    def __init__(self, address, seed, body_of, path="/"):
        self.address, self.seed, self.body_of, self.path = address, seed, body_of, path
        self.lock = threading.Lock()
        self.answers = []  # (id, status, reason)
        self.problems = []

    def run(self, meanwhile=None):
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        while meanwhile and any(thread.is_alive() for thread in threads):
            meanwhile()
        for thread in threads:
            thread.join(patience(90))
            assert not thread.is_alive(), f"a client hangs (seed {self.seed})"
        assert not self.problems, f"seed {self.seed}: {self.problems[:5]}"

    def _client(self, number):
        rng = random.Random(f"{self.seed}/{number}")
        try:
            for turn in range(TURNS):
                test_id = f"{number}.{turn}"
                (self._h1 if number % 2 else self._h2)(rng, test_id)
        except Exception as error:  # noqa: BLE001 - told to the test's own thread
            self.problems.append(repr(error))

    def _pause(self, rng):
        """A client's own dawdling; nothing is asserted about it."""
        time.sleep(rng.uniform(0, 0.02))

    def _h1(self, rng, test_id):
        body = self.body_of(rng)
        with H1Client(self.address) as client:
            how = rng.choice(["stay", "stay", "stay", "leave", "cut", "peek"])
            try:
                if how == "cut":
                    client.begin("POST", self.path, [("x-test-id", test_id), ("content-length", "99999")])
                    client.send(body)
                    self._pause(rng)
                    return client.close(abrupt=rng.random() < 0.5)
                client.request("POST", self.path, [("x-test-id", test_id)], body)
                if how == "leave":
                    self._pause(rng)
                    return client.close(abrupt=rng.random() < 0.5)
                if how == "peek":
                    client.head(60)
                    return client.close(abrupt=True)
                answer = client.response(timeout=60)
            except Closed as closed:
                answer = closed
            self._note(test_id, answer)
        return None

    def _h2(self, rng, test_id):
        with H2Client(self.address) as client:
            streams = []
            for number in range(rng.randint(1, 4)):
                how = rng.choice(["stay", "stay", "reset", "half"])
                mine = f"{test_id}.{number}"
                stream = client.request("POST", self.path, [("x-test-id", mine)], self.body_of(rng),
                                        end=how != "half")
                streams.append((mine, how, stream))
            self._pause(rng)
            if rng.random() < 0.2:
                return client.close(abrupt=True)
            for mine, how, stream in streams:
                if how in ("reset", "half"):
                    try:
                        stream.reset()
                    except StreamGone:
                        pass
                else:
                    self._note(mine, stream.end(60))
        return None

    def _note(self, test_id, answer):
        with self.lock:
            self.answers.append((test_id, getattr(answer, "status", 0), getattr(answer, "reason", None)))


def small(rng):
    return b"x" * rng.choice([0, 1, 100, 3000, 40000])


def settled(proxy, crowd, fakes):
    for fake in fakes:
        fake.wait_idle(30)
    proxy.wait_empty(timeout=30)
    # An answer is counted when it has been written, and its reader may be quicker.
    answered = len([a for a in crowd.answers if a[1] == 200])
    eventually(lambda: proxy.metric("penstock_cluster_requests_total", cluster="m", code="200") >= answered)
    eventually(lambda: proxy.metric("penstock_cluster_requests_total", cluster="m")
               >= proxy.metric("penstock_cluster_arrivals_total", cluster="m"))
    assert proxy.metric("penstock_cluster_limit_exceeded_total", cluster="m") == 0
    eventually(lambda: proxy.metric("penstock_listener_connections", listener="ingress") == 0)


@pytest.mark.parametrize("gone", ["wait", "reset"])
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("seed", [SEED])
def test_clients_come_and_go(replica, workers, gone, seed):
    rng = random.Random(seed)
    work = Workers(lambda request: rng.uniform(0, 0.012))
    fakes = [replica(protocol, handler=work, sidecar=True, reset_ends_work=gone == "reset")
             for protocol in ("h2", "h1")]
    proxy = Proxy(proxy_config(fakes, target=3, cluster={"on_client_gone": gone}), workers=workers)
    crowd = Crowd(proxy.address, seed, small)
    crowd.run()
    settled(proxy, crowd, fakes)
    if gone == "wait":
        # With "reset" the next request may overtake the reset of the last on its way to the replica.
        assert [fake.max_in_flight for fake in fakes] == [3, 3], f"seed {seed}"
    executed = [test_id for fake in fakes for test_id in fake.ids]
    assert len(executed) == len(set(executed)), f"something ran twice (seed {seed})"
    assert {status for _, status, _ in crowd.answers} == {200}, f"seed {seed}: {crowd.answers}"
    stayed = {test_id for test_id, _, _ in crowd.answers}
    assert stayed <= set(executed)
    work.stopped = True


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("seed", [SEED + 1])
def test_replicas_die_and_come_back_meanwhile(replica, workers, seed):
    rng = random.Random(seed)
    work = Workers(lambda request: rng.uniform(0, 0.012))
    fakes = [replica("h2", handler=work), replica("h1", handler=work), replica("h2", handler=work)]
    proxy = Proxy(proxy_config(fakes, target=2, cluster={
        "ejection": {"consecutive_failures": 0}, "retry": {"max_attempts": 10, "budget": 100},
        # They die faster than any replica does: a request may meet more than three deaths.
        "max_connect_attempts": 10}), workers=workers)
    crowd = Crowd(proxy.address, seed, small)
    deaths = [0]

    def strike():
        before = sum(len(fake.requests) for fake in fakes)
        fake = rng.choice(fakes[:2])
        fake.die()
        deaths[0] += 1
        time.sleep(rng.uniform(0, 0.02))
        fake.listen()
        wait_until = time.monotonic() + 0.15
        while sum(len(f.requests) for f in fakes) < before + 30 and time.monotonic() < wait_until:
            time.sleep(0.005)

    crowd.run(meanwhile=strike)
    settled(proxy, crowd, fakes)
    assert deaths[0] > 2
    assert max(fake.max_in_flight for fake in fakes) <= 2, f"seed {seed}"
    executed = [test_id for fake in fakes for test_id in fake.ids]
    assert len(executed) == len(set(executed)), f"something ran twice (seed {seed})"
    statuses = {(status, reason) for _, status, reason in crowd.answers}
    # Only what was running may be lost, and it says so; what was answered in part is cut off.
    assert statuses <= {(200, None), (502, "replica_connection_lost"), (0, None)}, f"seed {seed}"
    work.stopped = True


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("seed", [SEED + 2])
def test_real_sidecars_never_need_their_second_wall(workers, seed):
    sidecars = [Sidecar(EXAMPLES / "stages", ["--concurrency-limit", 2]) for _ in range(2)]
    proxy = Proxy(proxy_config(sidecars, target=2), workers=workers)
    crowd = Crowd(proxy.address, seed, lambda rng: stages_body(
        preprocess_ms=rng.randint(0, 5), predict_ms=rng.randint(0, 5), echo="x" * rng.randint(0, 500)),
        path="/predict")
    crowd.run()
    settled(proxy, crowd, [])
    assert {status for _, status, _ in crowd.answers} == {200}, f"seed {seed}: {crowd.answers}"
    assert proxy.metric("penstock_cluster_retries_total", cluster="m") == 0
    for sidecar in sidecars:
        assert sidecar.metric("penstock_in_flight") == sidecar.metric("penstock_gate_waiting") == 0
        assert sidecar.metric("penstock_gate_in_predict") == 0


@pytest.mark.parametrize("workers", [1, 4])
def test_real_sidecars_never_report_more_than_the_target(workers):
    """NeverMoreThanTarget, as the replicas themselves say all the while; their own limit is far away."""
    sidecars = [Sidecar(EXAMPLES / "stages", ["--concurrency-limit", 50]) for _ in range(2)]
    proxy = Proxy(proxy_config(sidecars, target=2), workers=workers)
    crowd = Crowd(proxy.address, SEED + 3, lambda rng: stages_body(
        preprocess_ms=rng.randint(0, 30), predict_ms=rng.randint(0, 30)), path="/predict")
    crowd.run()
    settled(proxy, crowd, [])
    assert proxy.metric("penstock_load_reports_total", source="stream") > 10
    assert proxy.metric("penstock_cluster_target_exceeded_total") == 0


@pytest.mark.parametrize("workers", [1, 4])
def test_nobody_waits_while_a_slot_is_free(replica, workers):
    """WorkConserving: whenever anybody waits, every slot is taken."""
    work = Workers(lambda request: 0.02)
    fakes = [replica(handler=work) for _ in range(2)]
    proxy = Proxy(proxy_config(fakes, target=2), workers=workers)
    clients = [H2Client(proxy.address) for _ in range(2)]
    streams = [client.request() for _ in range(95) for client in clients]
    looks = 0
    while not all(stream.ended for stream in streams):
        cluster = proxy.cluster()
        if cluster["waiting"] > 0:
            looks += 1
            assert cluster["in_flight"] == 4, cluster
    assert looks > 3
    assert {stream.response().status for stream in streams} == {200}
    proxy.wait_empty()
    work.stopped = True
