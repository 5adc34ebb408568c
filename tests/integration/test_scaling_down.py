"""Replicas that are taken away while they work.

Promised: a replica that is to go gets nothing new, finishes what it has and is stopped then; no request fails
for it; a client that waits gets the next slot wherever it is.

Shown: the bounds of autoscaling changed through the admin interface while clients ask without a pause: fifty
replicas go; a long request on a replica that goes is answered; real sidecars with examples/stages.
"""

import os
import signal

from support.configs import proxy_config
from support.fleet import STAGES, predicting, ready, states
from support.h2_client import H2Client
from support.load import Load, predict
from support.programs import Proxy
from support.settings import accepted
from support.waiting import SLOWNESS, equals, eventually

def start(replicas):
    proxy = Proxy(proxy_config([], cluster={
        "replicas": {"process": {"command": STAGES}},
        "autoscaling": {"min_replicas": replicas, "max_replicas": replicas, "window": "10s",
                        "scale_down_delay": "0s"}}))
    ready(proxy, replicas)
    return proxy


def scale(proxy, replicas):
    accepted(proxy, {"autoscaling": {"min_replicas": replicas, "max_replicas": replicas}})


def test_fifty_replicas_go_under_load_and_no_request_fails():
    proxy = start(1)
    load = Load(proxy, 4, predict_ms=2, preprocess_ms=2)
    for _ in range(25):
        scale(proxy, 3)
        ready(proxy, 3)
        scale(proxy, 1)
        ready(proxy, 1)
    assert load.stop() == {200}
    assert proxy.metric("penstock_cluster_limit_exceeded_total", cluster="m") == 0
    assert proxy.metric("penstock_replica_stop_seconds_count", cluster="m") == 50
    assert len(load.statuses) > 50
    assert proxy.stop() == 0


def test_a_long_request_on_a_replica_that_goes_is_finished():
    proxy = start(2)
    with H2Client(proxy.address) as client:
        streams = [predict(client, predict_ms=int(2000 * SLOWNESS)) for _ in range(2)]
        proxy.wait_queue(waiting=0, in_flight=2)
        scale(proxy, 1)
        equals(lambda: sorted(states(proxy)), ["draining", "ready"])
        waiting = predict(client)
        assert [stream.response(60).status for stream in streams] == [200, 200]
        assert waiting.response(60).status == 200
    ready(proxy, 1)
    proxy.wait_log("replica ended", how="exit code 0")


def test_one_that_crashes_while_it_drains_is_not_started_again():
    proxy = start(2)
    with H2Client(proxy.address) as client:
        streams = [predict(client, predict_ms=int(30000 * SLOWNESS)) for _ in range(2)]
        predicting(proxy)
        scale(proxy, 1)
        equals(lambda: sorted(states(proxy)), ["draining", "ready"])
        gone = next(r["address"] for r in proxy.cluster()["replicas"] if r["state"] == "draining")
        os.kill(proxy.logged("replica started", address=gone)[0]["pid"], signal.SIGKILL)
        eventually(lambda: any(stream.ended for stream in streams), "the crash is told", 20)
        ready(proxy, 1)
        assert [stream.answer.status for stream in streams if stream.ended] == [502]
    assert len(proxy.logged("replica started")) == 2
