"""A replica that dies costs only what ran on it.

Promised: requests that had been sent to a replica when it died end in 502 replica_connection_lost and are
not run again anywhere; those that waited are unharmed and run on the others, or on the same address once
something listens there again. Nothing is executed twice.

Shown: replicas that record the id of everything they were given, killed as a process is killed (reset
connections, closed port), and real sidecars killed with SIGKILL.
"""

import collections

import pytest

from support.configs import proxy_config
from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body
from support.programs import Proxy, Sidecar
from support.waiting import SLOWNESS, equals


def executions(*fakes):
    return collections.Counter(test_id for fake in fakes for test_id in fake.ids)


def send(client, count, prefix=""):
    return {f"{prefix}{n}": client.request(headers=[("x-test-id", f"{prefix}{n}")], body=b"x")
            for n in range(count)}


@pytest.mark.parametrize("target", [2, 12])
@pytest.mark.parametrize("protocol", ["h2", "h1"])
def test_only_what_ran_on_it_is_lost_and_the_waiters_run_on_the_other(replica, protocol, target):
    doomed, other = replica(protocol), replica(protocol)
    proxy = Proxy(proxy_config([doomed, other], target=target), workers=2)
    with H2Client(proxy.address) as client:
        streams = send(client, 7 * target)
        doomed.wait_count(target)
        other.wait_count(target)
        # The slots of the dead one come free at once: as many of the waiters are sent there to no avail.
        proxy.wait_queue(waiting=5 * target, in_flight=2 * target)
        lost = list(doomed.ids)
        doomed.die()
        for test_id in lost:
            answer = streams[test_id].response()
            assert (answer.status, answer.reason) == (502, "replica_connection_lost")
        other.answer_all()
        for test_id in set(streams) - set(lost):
            assert streams[test_id].response(30).status == 200, test_id
        proxy.wait_empty()
    assert set(executions(doomed, other).values()) == {1}, "each was executed once"
    assert len(other.ids) == 6 * target and other.max_in_flight <= target


def test_the_waiters_of_a_single_replica_run_when_it_is_back(replica):
    fake = replica(handler=lambda request: None if request.id == "0" else request.respond())
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        streams = send(client, 5)
        proxy.wait_queue(waiting=4, in_flight=1)
        fake.wait_count(1)
        fake.hang_up(abrupt=True)
        assert streams["0"].response().status == 502
        for number in range(1, 5):
            assert streams[str(number)].response().status == 200
        proxy.wait_empty()
    assert fake.ids == ["0", "1", "2", "3", "4"]


def test_a_response_cut_off_in_the_middle_is_not_passed_off_as_whole(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = client.request()
        request = fake.request(0)
        request.start(200)
        request.send(b"the first half")
        assert stream.data(14) == b"the first half"
        request.die()
        assert stream.end().reset is not None and not stream.complete
        assert not client.closed, "the connection goes on"
    proxy.wait_empty()


def test_what_came_in_one_read_with_the_cut_reaches_the_client(replica):
    fake = replica(protocol="h1")
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "http1"}))
    with H2Client(proxy.address) as client:
        stream = client.request()
        # The second chunk is no chunk.
        fake.request(0).send_raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                                 b"e\r\nthe first half\r\nnonsense\r\n")
        answer = stream.end()
        assert answer.body == b"the first half"
        assert answer.reset is not None and not stream.complete
    proxy.wait_empty()


def test_a_killed_sidecar_costs_only_what_it_ran():
    sidecars = [Sidecar(EXAMPLES / "stages", ["--concurrency-limit", "4"]) for _ in range(2)]
    proxy = Proxy(proxy_config(sidecars, target=2))
    with H2Client(proxy.address) as client:
        long = stages_body(preprocess_ms=int(2500 * SLOWNESS))
        running = [client.request(path="/predict", body=long) for _ in range(4)]
        proxy.wait_queue(waiting=0, in_flight=4)
        waiting = [client.request(path="/predict", body=stages_body(echo="w")) for _ in range(6)]
        proxy.wait_queue(waiting=6, in_flight=4)
        # In flight is what has a slot; what a sidecar never got is run by the other one.
        equals(lambda: sidecars[0].metric("penstock_application_utilization"), 0.5)
        sidecars[0].kill()
        outcomes = sorted(stream.response(30).status for stream in running)
        assert outcomes == [200, 200, 502, 502]
        for stream in waiting:
            assert stream.response(30).status == 200
        proxy.wait_empty()
