"""The cancel contract between proxy and sidecar.

Promised: when a client leaves a running request the proxy tells the sidecar (POST /penstock/cancel with the
attempt's id); the slot stays taken until the replica's stream has ended, at most for cancel_grace beyond the
route's timeout; with on_client_gone: reset the stream is reset and the slot comes back at once. The sidecar
fires the model's cancellation, answers the original stream 499 when the work has really ended, and counts it
in flight until then.

Shown: first a sidecar alone, then the proxy with a replica that obeys only when the test lets it, then both.
"""

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client, fetch
from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body, times
from support.programs import Proxy, Sidecar
from support.waiting import SLOWNESS, equals, eventually, patience

LONG_MS = int(20000 * SLOWNESS)


def cancel(sidecar, attempt):
    return fetch(sidecar.address, "POST", "/penstock/cancel",
                 [("x-penstock-attempt-id", attempt)])


@pytest.mark.parametrize("stage", ["preprocess", "predict", "postprocess"])
def test_the_sidecar_ends_cancelled_work_early_and_answers_499(stage):
    sidecar = Sidecar(EXAMPLES / "stages")
    with H2Client(sidecar.address) as client:
        stream = client.request(path="/predict", headers=[("x-penstock-attempt-id", "a1")],
                                body=stages_body(**{f"{stage}_ms": LONG_MS}))
        equals(lambda: sidecar.metric("penstock_in_flight"), 1)
        assert cancel(sidecar, "other").status == 404
        assert cancel(sidecar, "a1").status == 202
        assert stream.response(10).status == 499
        assert sidecar.metric("penstock_in_flight") == 0
        assert cancel(sidecar, "a1").status == 404, "it is over"
        assert client.fetch(path="/predict", body=stages_body()).status == 200


def test_a_request_waiting_at_the_gate_is_cancelled_at_once():
    sidecar = Sidecar(EXAMPLES / "stages")
    with H2Client(sidecar.address) as client:
        blocker = client.request(path="/predict", headers=[("x-penstock-attempt-id", "b")],
                                 body=stages_body(predict_ms=LONG_MS))
        equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
        waiter = client.request(path="/predict", headers=[("x-penstock-attempt-id", "w")],
                                body=stages_body())
        equals(lambda: sidecar.metric("penstock_gate_waiting"), 1)
        assert cancel(sidecar, "w").status == 202
        assert waiter.response(5).status == 499 and not blocker.ended
        assert cancel(sidecar, "b").status == 202
        assert blocker.response(5).status == 499


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_a_lost_connection_cancels_too(client_class):
    sidecar = Sidecar(EXAMPLES / "stages")
    client = client_class(sidecar.address)
    client.request("POST", "/predict", body=stages_body(predict_ms=LONG_MS))
    equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
    client.close(abrupt=True)
    equals(lambda: sidecar.metric("penstock_in_flight"), 0)


@pytest.mark.parametrize("protocol", ["h2", "h1"])
@pytest.mark.parametrize("leave", ["h2 reset", "h2 hang up", "h1 hang up"])
def test_the_slot_stays_taken_until_the_replica_has_ended(replica, protocol, leave):
    fake = replica(protocol, sidecar=True)
    proxy = Proxy(proxy_config([fake], target=1), workers=2)
    with H2Client(proxy.address) as other:
        known = other.request()
        fake.request(0).respond()  # by its answer it is known to be a sidecar
        assert known.response().header("x-penstock-sidecar") in ("1", None)
        client = (H2Client if leave.startswith("h2") else H1Client)(proxy.address)
        stream = client.request(headers=[("x-test-id", "left")])
        left = fake.by_id("left")
        waiter = other.request(headers=[("x-test-id", "waiter")])
        proxy.wait_queue(waiting=1, in_flight=1)
        if leave == "h2 reset":
            stream.reset()
        else:
            client.close(abrupt=True)
        assert left.cancelled.wait(patience(30))
        assert fake.cancels == [left.attempt_id] and not left.peer_gone
        assert (proxy.waiting(), proxy.in_flight()) == (1, 1)
        assert "waiter" not in fake.ids
        left.respond(499)
        fake.by_id("waiter").respond()
        assert waiter.response().status == 200
        client.close()
    assert fake.max_in_flight == 1
    proxy.wait_empty()


def test_a_replica_that_is_no_sidecar_is_waited_for_alike(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = client.request(headers=[("x-test-id", "left")])
        left = fake.by_id("left")
        stream.reset()
        waiter = client.request(headers=[("x-test-id", "waiter")])
        proxy.wait_queue(waiting=1, in_flight=1)
        assert not left.peer_gone
        left.respond(body=bytes(1 << 20))  # more than its window: what nobody wants is taken still
        fake.by_id("waiter").respond()
        assert waiter.response().status == 200
    assert fake.max_in_flight == 1


@pytest.mark.parametrize("protocol", ["h2", "h1"])
def test_after_the_routes_timeout_and_the_grace_the_slot_is_taken_back(replica, protocol):
    fake = replica(protocol, sidecar=True, reset_ends_work=True)
    config = proxy_config([fake], cluster={"cancel_grace": "300ms"})
    routes = config["listeners"][0]["routes"]
    routes.append({**routes[0], "prefix": "/short", "timeout": "1s"})
    proxy = Proxy(config)
    with H2Client(proxy.address) as client:
        known = client.request()
        fake.request(0).respond()
        assert known.response().status == 200
        stream = client.request(path="/short", headers=[("x-test-id", "left")])
        left = fake.by_id("left")
        waiter = client.request(headers=[("x-test-id", "waiter")])
        proxy.wait_queue(waiting=1, in_flight=1)
        stream.reset()
        eventually(lambda: left.peer_gone, "the replica's stream is reset")
        fake.by_id("waiter").respond()
        assert waiter.response().status == 200


@pytest.mark.parametrize("protocol", ["h2", "h1"])
def test_with_reset_the_stream_ends_and_the_slot_comes_back_at_once(replica, protocol):
    fake = replica(protocol, sidecar=True, reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], cluster={"on_client_gone": "reset"}))
    with H2Client(proxy.address) as client:
        stream = client.request(headers=[("x-test-id", "left")])
        left = fake.by_id("left")
        waiter = client.request(headers=[("x-test-id", "waiter")])
        proxy.wait_queue(waiting=1, in_flight=1)
        stream.reset()
        eventually(lambda: left.peer_gone, "the replica's stream is reset")
        fake.by_id("waiter").respond()
        assert waiter.response().status == 200
    proxy.wait_empty()


def test_a_timeout_holds_the_slot_as_a_departure_does(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], route={"timeout": "300ms"}))
    with H2Client(proxy.address) as client:
        assert client.fetch().status == 504
        assert proxy.in_flight() == 1
        fake.request(0).respond()
        proxy.wait_queue(0, 0)
    assert fake.max_in_flight == 1


def test_end_to_end_the_sidecars_work_is_cancelled_and_the_next_runs():
    sidecar = Sidecar(EXAMPLES / "stages", ["--concurrency-limit", 1])
    proxy = Proxy(proxy_config([sidecar]))
    with H2Client(proxy.address) as client:
        assert client.fetch(path="/predict", body=stages_body()).status == 200
        long = client.request(path="/predict", body=stages_body(predict_ms=LONG_MS))
        equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
        waiter = client.request(path="/predict", body=stages_body())
        proxy.wait_queue(waiting=1, in_flight=1)
        long.reset()
        answer = waiter.response(10)
        assert answer.status == 200 and answer.json()["replica_in_flight"] == 1
        assert times(answer, "preprocess")
    assert proxy.metric("penstock_cluster_limit_exceeded_total", cluster="m") == 0
    proxy.wait_empty()
