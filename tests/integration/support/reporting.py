"""Replicas that say of their load what the test wants, true or not."""

import struct
import threading

from .orca import pb

GRPC = [("content-type", "application/grpc")]


def report(draining=0, cpu=0.0, **figures):
    """A report's bytes; figures: penstock.* by their short names."""
    message = pb.OrcaLoadReport(cpu_utilization=cpu)
    for name, value in {**figures, "draining": draining}.items():
        message.named_metrics[f"penstock.{name}"] = value
    return message.SerializeToString()


def framed(message, compressed=0):
    return struct.pack(">BI", compressed, len(message)) + message


class Reporter:
    """Answers subscriptions at a fake replica with the report that is set, and when it changes."""

    def __init__(self, replica, **figures):
        self.replica = replica
        self.lock = threading.Lock()
        self.figures = figures
        self.streams = []
        replica.on_subscribe = self._begin

    def _begin(self, stream):
        with self.lock:
            self.streams.append(stream)
            stream.start(200, GRPC)
            stream.send(framed(report(**self.figures)))

    def say(self, **figures):
        with self.lock:
            self.figures = figures
            for stream in self.streams:
                stream.send(framed(report(**figures)))


def load_report(proxy, replica, cluster="m"):
    """What /clusters shows of a replica's load."""
    return next(shown["load_report"] for shown in proxy.cluster(cluster)["replicas"]
                if shown["address"] == replica)
