"""Load reports over gRPC, by Google's own implementation, with code that protoc makes of orca.proto."""

import pathlib
import queue
import threading

import grpc

from .protobuf import generated
from .waiting import PATIENCE_S, patience

METHOD = "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"

# Of the lanes' time: in predict, and what idle ones waited for. Together 1.
IDLE_SHARES = ("gate_idle_no_request", "gate_idle_preprocess", "gate_idle_hand_over")
LANE_SHARES = ("gate_busy", *IDLE_SHARES)

pb = generated(pathlib.Path(__file__).parent / "orca.proto")


class Subscription:
    """StreamCoreMetrics of one replica: its reports as they come."""

    def __init__(self, address, interval_ms=60_000):
        self.channel = grpc.insecure_channel("%s:%d" % address)
        request = pb.OrcaLoadReportRequest()
        request.report_interval.FromMilliseconds(interval_ms)
        self.call = self.channel.unary_stream(
            METHOD, request_serializer=pb.OrcaLoadReportRequest.SerializeToString,
            response_deserializer=pb.OrcaLoadReport.FromString)(request, timeout=patience(60))
        self.reports = queue.Queue()
        self.error = None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        try:
            for report in self.call:
                self.reports.put(report)
        except grpc.RpcError as error:
            self.error = error
        self.reports.put(None)

    def next(self, timeout=PATIENCE_S):
        """The next report; None at the end."""
        return self.reports.get(timeout=patience(timeout))

    def until(self, timeout=PATIENCE_S, **figures):
        """Reads on until a report has these penstock.* figures, and returns it."""
        seen = []
        while (report := self.next(timeout)) is not None:
            seen.append(named(report))
            if all(seen[-1].get(name) == value for name, value in figures.items()):
                return report
        raise AssertionError(f"no report with {figures}: {seen}; {self.error}")

    def until_mostly(self, share):
        """Reads on until nearly all of the lanes' time was of that share."""
        seen = []
        for _ in range(100):
            figures = named(self.next())
            seen.append([figures.get(name) for name in LANE_SHARES])
            if figures.get(share, 0) > 0.9:
                assert 0.95 < sum(seen[-1]) < 1.05, seen[-1]
                return
        raise AssertionError(f"never mostly {share}: {LANE_SHARES} were {seen}")

    def close(self):
        self.call.cancel()
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def named(report):
    """penstock.* of a report, without the prefix."""
    return {name.removeprefix("penstock."): value for name, value in report.named_metrics.items()
            if name.startswith("penstock.")}
