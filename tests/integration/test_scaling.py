"""The fleet follows the load, with real processes.

Promised: replicas are started as load rises and drained, then stopped as it falls, to zero and back; every
request is answered 200; nobody waits for a tick when there is no replica; a replica never gets more than the
target, the first one after a sleep included; /autoscaler, the log and the metrics say why; replicas that never
become ready, or crash, cost no more than max_replicas processes; clusters do not disturb each other.

Shown: real sidecars with examples/stages and --concurrency-limit 1, which refuse (and so count) one request too
many; scripts that hang or crash.
"""

import signal

from support import readers
from support.configs import proxy_config
from support.fleet import STAGES, ready, states
from support.h2_client import H2Client
from support.load import Load, predict
from support.programs import Proxy, binary
from support.waiting import SLOWNESS, equals, eventually

def scaled(command=None, least=0, most=3, process=None, **autoscaling):
    return {"replicas": {"process": {"command": command or STAGES, **(process or {})}},
            "autoscaling": {"min_replicas": least, "max_replicas": most, "window": "10s",
                            "scale_down_delay": "0s", **autoscaling}}


def autoscaler(proxy, name="m"):
    clusters = readers.get(proxy.admin, "/autoscaler").json()["clusters"]
    return next(cluster for cluster in clusters if cluster["name"] == name)


def limit_exceeded(proxy):
    return proxy.metric("penstock_cluster_limit_exceeded_total", cluster="m") or 0


def test_from_zero_to_three_and_back_to_zero():
    proxy = Proxy(proxy_config([], cluster=scaled()))
    assert states(proxy) == []
    assert autoscaler(proxy)["latest"]["replicas"] == 0
    load = Load(proxy, 6, predict_ms=20)
    ready(proxy, 3)
    assert load.stop() == {200}
    proxy.wait_empty()
    equals(lambda: states(proxy), [], timeout=120)
    with H2Client(proxy.address) as client:
        assert predict(client).response(60).status == 200, "and wakes again"
    assert limit_exceeded(proxy) == 0

    reasons = [change["reason"] for change in autoscaler(proxy)["changes"]]
    assert "from_zero" in reasons, reasons
    assert max(change["replicas"] for change in autoscaler(proxy)["changes"]) == 3
    scalings = proxy.logged("scaling", cluster="m")
    # It falls one by one.
    down = [(e["from"], e["to"]) for e in scalings if e["to"] < e["from"]]
    assert down == [(3, 2), (2, 1), (1, 0)], scalings
    assert proxy.metric("penstock_replica_start_seconds_count", cluster="m") >= 4
    assert proxy.metric("penstock_replica_stop_seconds_count", cluster="m") >= 3
    assert proxy.stop() == 0


def test_a_hundred_at_once_from_zero():
    proxy = Proxy(proxy_config([], cluster=scaled()))
    with H2Client(proxy.address) as client:
        streams = [predict(client, predict_ms=5) for _ in range(100)]
        assert [stream.response(120).status for stream in streams] == [200] * 100
    assert limit_exceeded(proxy) == 0
    proxy.wait_log("scaling", **{"from": 0})
    assert autoscaler(proxy)["latest"]["replicas"] <= 3


def test_replicas_that_never_become_ready_are_not_piled_up():
    proxy = Proxy(proxy_config([], cluster=scaled(["/bin/sh", "-c", "exec sleep 1000 # {address}"])))
    with H2Client(proxy.address) as client:
        streams = [predict(client) for _ in range(20)]
        proxy.wait_queue(waiting=20)
        equals(lambda: states(proxy), ["starting"] * 3, timeout=30)
        # Two more decisions change nothing.
        changes = len(autoscaler(proxy)["changes"])
        eventually(lambda: autoscaler(proxy)["latest"]["short_demand"] > 10, "time passes", 30)
        assert states(proxy) == ["starting"] * 3
        assert len(autoscaler(proxy)["changes"]) <= changes + 1
        assert len(streams) == 20
    proxy.wait_queue(waiting=0)


def test_one_that_crashes_at_first_is_started_again_and_then_serves(tmp_path):
    record = tmp_path / "starts"
    script = tmp_path / "flaps"
    script.write_text(
        f'#!/bin/sh\necho x >> {record}\n[ "$(wc -l < {record})" -ge 3 ] || exit 1\nexec "$@"\n',
        encoding="utf-8")
    script.chmod(0o755)
    proxy = Proxy(proxy_config([], cluster=scaled([str(script), str(binary("penstock-sidecar")), *STAGES[1:]], most=1)))
    with H2Client(proxy.address) as client:
        assert predict(client).response(60).status == 200
    assert len(record.read_text().splitlines()) == 3
    assert states(proxy) == ["ready"]


def test_clusters_do_not_disturb_each_other():
    config = proxy_config([], cluster=scaled(most=2))
    config["clusters"].append({**config["clusters"][0], "name": "other"})
    config["listeners"][0]["routes"].insert(0, {"prefix": "/v1", "cluster": "other"})
    proxy = Proxy(config)
    with H2Client(proxy.address) as client:
        assert predict(client).response(60).status == 200
    # One that starts slowly makes the rule ask for a second.
    assert set(states(proxy, "m")) <= {"ready", "starting"}
    assert states(proxy, "other") == []
    assert autoscaler(proxy, "other")["latest"]["replicas"] == 0


def test_a_drain_serves_who_waits_for_a_replica_that_starts():
    proxy = Proxy(proxy_config([], cluster=scaled()))
    with H2Client(proxy.address) as client:
        streams = [predict(client, predict_ms=int(50 * SLOWNESS)) for _ in range(5)]
        proxy.wait_queue(waiting=5)
        proxy.signal(signal.SIGTERM)
        assert [stream.response(60).status for stream in streams] == [200] * 5
    assert proxy.wait() == 0
