"""Replica health: active checks and passive ejection.

Promised: with a health_check a replica is used only while its checks pass; without one a static replica is used
at once. After ejection.consecutive_failures connect failures or 502s in a row a replica is ejected for base_time,
never the last one; waiting requests go to the others meanwhile.

Shown: replicas whose health the test turns off and on; /clusters tells the state.
"""

import concurrent.futures

import grpc
import pytest

from support.configs import proxy_config
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import equals, eventually

CHECK = {"path": "/health/ready", "interval": "50ms", "timeout": "2s", "unhealthy_threshold": 2,
         "healthy_threshold": 2}


def states(proxy):
    return [replica["state"] for replica in proxy.cluster()["replicas"]]


def test_an_unhealthy_replica_gets_no_requests_until_it_is_healthy_again(replica):
    fakes = [replica(handler=lambda request: request.respond()) for _ in range(2)]
    proxy = Proxy(proxy_config(fakes, cluster={"health_check": CHECK}))
    equals(lambda: states(proxy), ["ready", "ready"])
    fakes[0].ready = False
    equals(lambda: states(proxy), ["unhealthy", "ready"])
    before = len(fakes[0].requests)
    with H2Client(proxy.address) as client:
        for _ in range(6):
            assert client.fetch().status == 200
        assert len(fakes[0].requests) == before
        fakes[0].ready = True
        equals(lambda: states(proxy), ["ready", "ready"])
        for _ in range(6):
            assert client.fetch().status == 200
        assert len(fakes[0].requests) > before
    checks = fakes[1].health_checks
    eventually(lambda: fakes[1].health_checks > checks, "the checks go on")


def test_waiters_are_served_the_moment_a_replica_becomes_healthy(replica):
    fake = replica(handler=lambda request: request.respond())
    fake.ready = False
    proxy = Proxy(proxy_config([fake], cluster={"health_check": CHECK}))
    equals(lambda: states(proxy), ["unhealthy"])
    with H2Client(proxy.address) as client:
        streams = [client.request() for _ in range(5)]
        proxy.wait_queue(waiting=5, in_flight=0)
        fake.ready = True
        assert [stream.response().status for stream in streams] == [200] * 5
    proxy.wait_log("replica ready", cluster="m", address=fake.address)


def test_a_running_request_outlives_its_replicas_health(replica):
    fakes = [replica(), replica()]
    proxy = Proxy(proxy_config(fakes, cluster={"health_check": CHECK}))
    equals(lambda: states(proxy), ["ready", "ready"])
    with H2Client(proxy.address) as client:
        streams = [client.request(), client.request()]
        fakes[0].wait_count(1)
        fakes[1].wait_count(1)
        fakes[0].ready = False
        equals(lambda: states(proxy)[0], "unhealthy")
        waiter = client.request()
        proxy.wait_queue(waiting=1, in_flight=2)
        fakes[0].request(0).respond()
        eventually(lambda: any(stream.ended for stream in streams), "one is answered")
        assert proxy.waiting() == 1, "an unhealthy replica's slot is handed to nobody"
        fakes[1].request(0).respond()
        fakes[1].request(1).respond()
        assert [stream.response().status for stream in streams + [waiter]] == [200] * 3


def test_a_failing_replica_is_ejected_and_comes_back(replica):
    bad = replica(handler=lambda request: request.die())
    good = replica(handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([bad, good], cluster={
        "ejection": {"consecutive_failures": 2, "base_time": "1s"}}))
    with H2Client(proxy.address) as client:
        statuses = []
        while statuses.count(502) < 2:
            statuses.append(client.fetch().status)
            assert len(statuses) < 10
        equals(lambda: states(proxy), ["ejected", "ready"])
        tried = len(bad.requests)
        assert tried == 2
        for _ in range(5):
            assert client.fetch().status == 200
        assert len(bad.requests) == tried or states(proxy)[0] == "ready"
        bad.handler = lambda request: request.respond()
        equals(lambda: states(proxy), ["ready", "ready"])
        for _ in range(4):
            assert client.fetch().status == 200
        assert len(bad.requests) > tried


def test_the_last_replica_is_never_ejected(replica):
    fake = replica(handler=lambda request: request.die())
    proxy = Proxy(proxy_config([fake], cluster={
        "ejection": {"consecutive_failures": 2, "base_time": "1s"}}))
    with H2Client(proxy.address) as client:
        for _ in range(6):
            assert client.fetch().status == 502
        assert states(proxy) == ["ready"]
        fake.handler = lambda request: request.respond()
        assert client.fetch().status == 200


def test_success_in_between_starts_the_count_anew(replica):
    flaky = replica()
    other = replica(handler=lambda request: request.respond())
    turns = [0]

    def alternate(request):
        turns[0] += 1
        if turns[0] % 3:
            request.die()
        else:
            request.respond()
    flaky.handler = alternate
    proxy = Proxy(proxy_config([flaky, other], cluster={
        "ejection": {"consecutive_failures": 3, "base_time": "60s"}}))
    with H2Client(proxy.address) as client:
        while turns[0] < 12:
            assert client.fetch().status in (200, 502)
    assert states(proxy) == ["ready", "ready"]


@pytest.mark.parametrize("service", ["", "my.Model"])
def test_a_grpc_server_is_asked_by_its_own_health_check(service):
    answers = {service: b"\x08\x02"}
    asked = []

    def check(request, context):
        name = request[2:].decode()
        asked.append(name)
        if name not in answers:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return answers[name]

    class Health(grpc.GenericRpcHandler):
        def service(self, details):
            if details.method == "/grpc.health.v1.Health/Check":
                return grpc.unary_unary_rpc_method_handler(check)
            return None

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Health()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    config = proxy_config([f"127.0.0.1:{port}"], cluster={"health_check": {
        "grpc": service, "interval": "20ms", "unhealthy_threshold": 1}})
    proxy = Proxy(config, ready=False)

    def state():
        return proxy.cluster()["replicas"][0]["state"]
    equals(state, "unhealthy")
    assert proxy.cluster()["replicas"][0]["last_error"] == "NOT_SERVING"
    answers[service] = b"\x08\x01"
    equals(state, "ready")
    del answers[service]
    equals(state, "unhealthy")
    assert proxy.cluster()["replicas"][0]["last_error"] == "grpc-status 5"
    assert set(asked) == {service}
    server.stop(0)
