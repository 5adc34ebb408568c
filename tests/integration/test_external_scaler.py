"""KEDA's external scaler.

Promised: with `external_scaler` the proxy answers KEDA's calls over gRPC: whether the cluster is active, pushed when it
changes and at once when somebody begins to wait at zero; the demand, which adds up over proxies, and its target; the
number of replicas that this proxy wants. What is wrong with a trigger is said. Streams end with the proxy's drain.

Shown: an independent implementation of gRPC (grpcio) with code generated from our .proto makes the calls; raw HTTP/2
makes those that grpcio would not.
"""

import math
import struct

import grpc
import pytest

from support.configs import proxy_config
from support.h1_client import fetch
from support.h2_client import H2Client
from support.keda import SERVICE, Keda, messages
from support.messages import find
from support.programs import Proxy
from support.waiting import equals, eventually

# The shortest window there may be.
WINDOW_S = 10
AUTOSCALING = {"min_replicas": 0, "max_replicas": 4, "window": f"{WINDOW_S}s",
               "scale_down_delay": "0s"}


def scaled(replicas, target=4, **options):
    """A proxy that answers KEDA, and where."""
    proxy = Proxy(proxy_config(replicas, target, external_scaler={"address": "127.0.0.1:0"},
                               **options))
    return proxy, proxy.listener("external_scaler")


@pytest.fixture
def empty():
    """A cluster at zero: its one replica never becomes ready."""
    return scaled([], cluster={
        "replicas": {"process": {"command": ["/bin/sleep", "600", "{address}"], "stop_timeout": "0s"}},
        "autoscaling": AUTOSCALING})


def test_a_request_at_zero_is_told_at_once(empty):
    proxy, address = empty
    with Keda(address, cluster="m") as keda, H2Client(proxy.address) as client:
        stream = keda.active_stream()
        assert not next(stream).result
        assert not keda.active()
        waiting = client.request()
        # No further answer is asked for: this one is pushed.
        assert next(stream).result
        assert keda.active() and keda.metric().metric_value >= 1
        equals(lambda: proxy.waiting(), 1)
        waiting.reset()
        # And when the window has passed without anybody, it is idle.
        assert not next(stream).result
        assert not keda.active()


def test_demand_and_its_target(replica):
    holding = replica()
    proxy, address = scaled([holding], target=4)
    with Keda(address, cluster="m") as keda, H2Client(proxy.address) as client:
        spec = keda.spec()
        assert spec.metric_name == "penstock-demand"
        assert math.isclose(spec.target_size_float, 2.8) and spec.target_size == 2
        assert keda.metric().metric_value_float == 0
        for _ in range(6):
            client.request()
        proxy.wait_queue(waiting=2, in_flight=4)

        def told():
            value = keda.metric()
            assert value.metric_name == spec.metric_name
            assert value.metric_value == math.ceil(value.metric_value_float)
            return value.metric_value_float
        # The mean over a window rises towards the six that are there.
        first = eventually(told, "demand is seen")
        assert 0 < first <= 6
        assert eventually(lambda: told() > first, "demand rises")
        shown = proxy.metric("penstock_cluster_demand", cluster="m")
        assert told() >= shown > 0


def test_desired_is_the_proxys_own_number(empty):
    proxy, address = empty
    with Keda(address, cluster="m", metric="desired") as keda, H2Client(proxy.address) as client:
        assert not keda.active()
        assert keda.metric().metric_value == 0
        spec = keda.spec()
        assert (spec.metric_name, spec.target_size, spec.target_size_float) == \
            ("penstock-desired", 1, 1.0)
        client.request()
        equals(lambda: keda.metric().metric_value, 1)
        assert keda.metric().metric_value_float == 1 and keda.active()


def test_several_proxies_add_up(replica):
    """One replica each has in flight, so that the means of both are known to be below their numbers."""
    proxies = [scaled([replica()], target=4) for _ in range(2)]
    clients = [H2Client(proxy.address) for proxy, _ in proxies]
    with Keda(proxies[0][1], cluster="m") as one, Keda(proxies[1][1], cluster="m") as other:
        clients[0].request()
        eventually(lambda: one.metric().metric_value_float > 0)
        # What the other proxy has is not in it.
        assert other.metric().metric_value_float == 0 and not other.active()
        for _ in range(3):
            clients[1].request()
        eventually(lambda: other.metric().metric_value_float > 0)
        assert one.active() and other.active()
        # Of Prometheus' integrals, too, the sum over proxies is the whole: 1 + 3 at a time.
        def integral(proxy):
            return (proxy.metric("penstock_cluster_waiting_time_seconds_total", cluster="m")
                    + proxy.metric("penstock_cluster_in_flight_time_seconds_total", cluster="m"))
        before = [integral(proxy) for proxy, _ in proxies]
        eventually(lambda: integral(proxies[0][0]) > before[0] + 2)
        after = [integral(proxy) for proxy, _ in proxies]
        assert 2 < (after[1] - before[1]) / (after[0] - before[0]) < 5
    for client in clients:
        client.close()


def test_the_spec_follows_the_settings_in_a_stream(replica):
    proxy, address = scaled([replica()])
    with Keda(address, cluster="m") as keda:
        stream = keda.stream("StreamMetricSpec", "GetMetricSpecResponse")
        assert math.isclose(next(stream).metric_specs[0].target_size_float, 2.8)
        answer = fetch(proxy.admin, "PATCH", "/clusters/m/settings",
                       [("content-type", "application/json")], b'{"concurrency_target": 10}')
        assert answer.status == 200, answer
        assert math.isclose(next(stream).metric_specs[0].target_size_float, 7)
        assert math.isclose(keda.spec().target_size_float, 7)


@pytest.mark.parametrize("metadata, code, said", [
    ({}, grpc.StatusCode.INVALID_ARGUMENT, "metadata.cluster"),
    ({"cluster": "other \u00e9%"}, grpc.StatusCode.NOT_FOUND, "no cluster \"other \u00e9%\""),
    ({"cluster": "m", "metric": "cpu"}, grpc.StatusCode.INVALID_ARGUMENT, "demand or desired"),
])
def test_what_is_wrong_with_a_trigger_is_said(replica, metadata, code, said):
    _, address = scaled([replica()])
    with Keda(address, **metadata) as keda:
        for ask in (keda.active, keda.spec, lambda: keda.metric("penstock-demand"),
                    lambda: next(keda.active_stream())):
            with pytest.raises(grpc.RpcError) as refused:
                ask()
            assert refused.value.code() == code and said in refused.value.details()


def test_another_metric_or_method_is_refused(replica):
    _, address = scaled([replica()])
    with Keda(address, cluster="m") as keda:
        with pytest.raises(grpc.RpcError) as refused:
            keda.metric("cpu")
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as refused:
            keda.call("Scale", keda.object, "IsActiveResponse")
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def framed(message, flag=0):
    return struct.pack(">BI", flag, len(message)) + message


GOOD = messages.ScaledObjectRef(scaler_metadata={"cluster": "m"}).SerializeToString()


@pytest.mark.parametrize("body, status", [
    (b"", 3), (framed(GOOD)[:-1], 3), (framed(GOOD) * 2, 3), (framed(b"\xff\xff"), 3),
    (framed(GOOD, flag=1), 12), (struct.pack(">BI", 0, 64 * 1024 + 1), 8),
    (struct.pack(">BI", 0, 2**32 - 1), 8), (framed(GOOD), 0),
], ids=["nothing", "cut", "two", "garbage", "compressed", "long", "longest", "good"])
def test_messages_that_no_client_library_sends(replica, body, status):
    _, address = scaled([replica()])
    with H2Client(address) as client:
        answer = client.fetch(path=SERVICE + "IsActive", body=body,
                              headers=[("content-type", "application/grpc"), ("te", "trailers")])
        told = find(answer.headers, "grpc-status") or find(answer.trailers, "grpc-status")
        assert (answer.status, int(told)) == (200, status)


def test_what_is_not_grpc_is_refused(replica):
    _, address = scaled([replica()])
    with H2Client(address) as client:
        assert client.fetch("GET", SERVICE + "IsActive").status == 400
        assert client.fetch(path=SERVICE + "IsActive",
                            headers=[("content-type", "application/json")]).status == 400
    assert fetch(address, "GET", "/metrics").status == 400


def test_one_message_byte_by_byte(replica):
    _, address = scaled([replica()])
    with H2Client(address) as client:
        stream = client.request(path=SERVICE + "IsActive", end=False,
                                headers=[("content-type", "application/grpc")])
        body = framed(GOOD)
        for at in range(len(body)):
            stream.send(body[at : at + 1], end=at + 1 == len(body))
        answer = stream.response()
        assert bytes(answer.body) == framed(b"") and find(answer.trailers, "grpc-status") == "0"


def test_streams_end_when_the_proxy_drains(replica):
    holding = replica()
    proxy, address = scaled([holding])
    with Keda(address, cluster="m") as keda, H2Client(proxy.address) as client:
        stream = keda.active_stream()
        assert not next(stream).result
        running = client.request()
        request, = holding.wait_count(1)
        assert next(stream).result
        proxy.signal(15)
        # The end that KEDA takes as one: it connects again, to whoever serves then.
        with pytest.raises(StopIteration):
            next(stream)
        assert stream.code() == grpc.StatusCode.OK
        with pytest.raises(grpc.RpcError):
            keda.channel.unary_unary(SERVICE + "IsActive")(b"", timeout=5)
        request.respond(body=b"done")
        assert running.response().status == 200
    assert proxy.wait() == 0


def test_without_the_key_there_is_no_such_port(replica):
    proxy = Proxy(proxy_config([replica()]))
    assert not proxy.logged("listening", listener="external_scaler")
