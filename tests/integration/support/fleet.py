"""Replicas that the proxy starts itself: sidecars with examples/stages, and how they are."""

from .models import EXAMPLES
from .readers import metric
from .sockets import parse
from .waiting import equals

# Refuses, and so counts, one request more than the target of 1.
STAGES = ["penstock-sidecar", "--model", str(EXAMPLES / "stages"), "--listen", "{address}",
          "--concurrency-limit", "1"]


def states(proxy, name="m"):
    return [replica["state"] for replica in proxy.cluster(name)["replicas"]]


def ready(proxy, count, name="m", timeout=60):
    equals(lambda: states(proxy, name), ["ready"] * count, timeout=timeout)


def predicting(proxy):
    """Waits until each replica is in predict: what one has only been chosen for would, should it die, be
    sent to another."""
    for replica in proxy.cluster()["replicas"]:
        equals(lambda: metric(parse(replica["address"]), "penstock_gate_in_predict"), 1)
