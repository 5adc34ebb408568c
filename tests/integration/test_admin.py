"""The admin port.

Promised: /ready, /metrics (Prometheus text), /clusters (JSON), /config_dump, /server_info; anything else is 404;
other methods are refused; a foreign Host is refused (DNS rebinding). No client can keep others out, here and on the
external scaler's port, and no number in a change ends the proxy.

Shown: each endpoint of a proxy that has served something; ports whose places are all held in every way there is.
"""

import os
import re
import resource
import socket

import pytest

from support import readers, sockets
from support.configs import proxy_config
from support.h1_client import H1Client, fetch
from support.h2_client import H2Client
from support.programs import Proxy
from support.replica import Replica
from support.waiting import equals, eventually, patience

METRICS = """
penstock_cluster_requests_total penstock_cluster_waiting penstock_cluster_in_flight
penstock_cluster_waiting_seconds_count penstock_cluster_request_seconds_count
penstock_cluster_arrivals_total penstock_cluster_in_flight_time_seconds_total
penstock_cluster_waiting_time_seconds_total penstock_cluster_slot_idle_while_waiting_seconds_total
penstock_cluster_limit_exceeded_total penstock_cluster_retries_total penstock_listener_connections
penstock_listener_connections_total penstock_buffered_bytes penstock_cluster_connections
penstock_cluster_connections_opened_total penstock_cluster_stream_timeouts_total
""".split()


@pytest.fixture(scope="module")
def served():
    fake = Replica(handler=lambda request: request.respond(body=b"x"))
    proxy = Proxy(proxy_config([fake], target=3, queue={"max_requests": 7, "timeout": "90s"}))
    with H2Client(proxy.address) as client:
        for _ in range(4):
            assert client.fetch().status == 200
    yield proxy, fake
    complaints = proxy.finish()
    fake.close()
    assert not complaints


def test_ready(served):
    proxy, _ = served
    assert readers.get(proxy.admin, "/ready").status == 200


def test_metrics_are_complete_and_well_formed(served):
    proxy, _ = served
    page = readers.get(proxy.admin, "/metrics")
    assert page.header("content-type").startswith("text/plain")
    names = {name for name, _, _ in readers.samples(proxy.admin)}
    assert not set(METRICS) - names
    equals(lambda: proxy.metric("penstock_cluster_requests_total", cluster="m", code="200",
                                reason="none"), 4)
    equals(lambda: proxy.metric("penstock_cluster_request_seconds_count", cluster="m"), 4)
    text = page.body.decode()
    for name in METRICS:
        base = name.removesuffix("_count")
        assert re.search(rf"^# TYPE {base} ", text, re.M) and re.search(rf"^# HELP {base} ", text, re.M)


def test_clusters(served):
    proxy, fake = served
    equals(lambda: proxy.cluster()["replicas"][0]["totals"]["succeeded"], 4)
    proxy.wait_empty()  # the last slot comes back after its answer's head
    cluster = proxy.cluster()
    replicas = cluster.pop("replicas")
    assert cluster == {
        "name": "m", "concurrency_target": 3, "predict_concurrency": 0, "warnings": [],
        "waiting": 0, "in_flight": 0, "oldest_wait_seconds": 0,
        "queue": {"max_requests": 7, "max_bytes": 256 * 1024 * 1024, "bytes": 0,
                  "timeout_seconds": 90}}
    assert replicas == [{
        "address": fake.address, "state": "ready", "incarnation": 1, "target": 3,
        "refusing": False, "in_flight": 0,
        "totals": {"requests": 4, "succeeded": 4, "failed": 0},
        "load_report": {"source": "own", "rejected": 0, "target_exceeded": 0}}]


def test_the_admin_port_has_descriptors_of_its_own(replica):
    """Clients of the ingress wait for each descriptor that becomes free."""
    proxy = Proxy(proxy_config([replica()]), workers=2)
    highest = max(int(fd) for fd in os.listdir(f"/proc/{proxy.pid}/fd"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
    clients = [socket.create_connection(proxy.address) for _ in range(40)]
    rejected = lambda: proxy.metric(  # noqa: E731
        "penstock_listener_rejected_total", listener="ingress", reason="out_of_descriptors")
    eventually(lambda: (rejected() or 0) >= 2, "no descriptor is left for the ingress")
    for _ in range(5):
        kept = [H1Client(proxy.admin) for _ in range(6)]
        for _ in range(2):
            assert [client.fetch("GET", "/ready").status for client in kept] == [200] * 6
        for client in kept:
            client.close()
    resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (hard, hard))
    for client in clients:
        client.close()


def test_config_dump_and_server_info(served):
    proxy, fake = served
    dump = readers.get(proxy.admin, "/config_dump")
    assert dump.status == 200 and fake.address in dump.body.decode()
    assert "concurrency_target" in dump.body.decode()
    assert dump.json()
    info = readers.get(proxy.admin, "/server_info").json()
    assert re.search(r"\d+\.\d+\.\d+", str(info))


def test_unknown_paths_and_methods(served):
    proxy, _ = served
    assert readers.get(proxy.admin, "/nowhere").status == 404
    for method in ("POST", "DELETE", "PUT"):
        assert readers.get(proxy.admin, "/metrics", method=method).status in (403, 405)
    head = readers.get(proxy.admin, "/ready", method="HEAD")
    assert head.status == 200 and head.body == b""


def test_a_foreign_host_is_refused(served):
    proxy, _ = served
    for host, allowed in [("evil.example", False), ("127.0.0.1.evil.example", False),
                          ("localhost", True), ("127.0.0.1:%d" % proxy.admin[1], True)]:
        with H1Client(proxy.admin) as client:
            status = client.fetch("GET", "/clusters", host=host).status
        assert (status == 200) == allowed, (host, status)


def test_it_is_up_before_any_replica_is(replica):
    fake = replica()
    fake.ready = False
    proxy = Proxy(proxy_config([fake], cluster={"health_check": {"interval": "50ms"}}), ready=False)
    assert proxy.cluster()["replicas"][0]["state"] in ("starting", "unhealthy")
    assert readers.get(proxy.admin, "/metrics").status == 200


def test_numbers_that_no_double_holds_end_nothing(served):
    proxy, _ = served
    for body in (b'{"concurrency_target": 1e999}', b'[[[[-1e999]]]]', b'{"queue": {"timeout": 9e9999}}'):
        answer = fetch(proxy.admin, "PATCH", "/clusters/m/settings",
                       [("content-type", "application/json")], body)
        assert answer.status == 400 and b"double" in answer.body, answer
    assert readers.get(proxy.admin, "/ready").status == 200


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
POST = bytes([0x83, 0x86, 0x44, 1]) + b"/" + bytes([0x41, 1]) + b"x"


def headers_frame(flags):
    return len(POST).to_bytes(3, "big") + bytes([1, flags, 0, 0, 0, 1]) + POST


HOLDERS = {
    "nothing": b"",
    "half a head": b"GET /ready HTTP/1.1\r\nhost: local",
    "half a body": b"POST /ready HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nhalf",
    "half a change": (b"PATCH /clusters/m/settings HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n"
                      b"content-type: application/json\r\n\r\n{"),
    "idle": b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "a preface": PREFACE,
    "half a request": PREFACE + headers_frame(4),
    "half a header block": PREFACE + headers_frame(0),
}


@pytest.fixture(scope="module")
def two_ports():
    proxy = Proxy(proxy_config([], cluster={"replicas": {"static": ["127.0.0.1:1"]}},
                               external_scaler={"address": "127.0.0.1:0"}), ready=False)
    yield proxy
    assert not proxy.finish()


@pytest.mark.parametrize("port", ["admin", "external_scaler"])
@pytest.mark.parametrize("sent", HOLDERS.values(), ids=HOLDERS.keys())
def test_nobody_keeps_others_out(two_ports, port, sent):
    address = two_ports.admin if port == "admin" else two_ports.listener("external_scaler")
    held = []
    try:
        for _ in range(150):
            held.append(sockets.connect(address, 5))
            held[-1].sendall(sent)
        # Any answer will do: who is kept out has none.
        assert fetch(address, "GET", "/ready").status in (200, 400, 503)
    finally:
        for sock in held:
            sock.close()


def test_requests_that_do_not_come_are_not_waited_for(two_ports):
    for name in ("half a head", "half a body", "half a change", "half a request"):
        sock = sockets.connect(two_ports.admin, patience(20))
        sock.sendall(HOLDERS[name])
        received = b""
        while piece := sock.recv(65536):
            received += piece
        sock.close()
        if HOLDERS[name].startswith(b"PRI"):
            continue
        # An answer that needs no body comes at once, and ends the connection too.
        assert received.startswith(b"HTTP/1.1 405" if name == "half a body" else b"HTTP/1.1 408")
        assert b"connection: close" in received.lower(), (name, received)
