"""One run of h2load against one target, with what it cost the proxy."""

import pathlib
import re
import subprocess
from dataclasses import dataclass

FINISHED = re.compile(r"finished in [0-9.]+m?s, ([0-9.]+) req/s")
STATUSES = re.compile(r"status codes: (\d+) 2xx")


@dataclass
class Workload:
    name: str
    url: str
    low: bool
    upload: bool = False


WORKLOADS = [
    Workload("3 bytes, one at a time", "/small", low=True),
    Workload("3 bytes, 64 at a time", "/small", low=False),
    Workload("1 MiB down, one at a time", "/download", low=True),
    Workload("1 MiB down, 64 at a time", "/download", low=False),
    Workload("1 MiB up, one at a time", "/upload", low=True, upload=True),
    Workload("1 MiB up, 64 at a time", "/upload", low=False, upload=True),
]


# A run takes a few seconds at most.
PATIENCE_S = 30


class StoodStill(Exception):
    """A run did not end, as with proxies that let queued uploads take the window of admitted ones."""


@dataclass
class Result:
    cpu_us: float
    per_second: float
    p50_us: float
    p99_us: float
    failed: int


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


# HTTP/2 clients at high load, each with so many requests at once.
H2_CLIENTS = 8
H2_STREAMS = 8


def concurrency(path, low):
    """HTTP/1.1 clients need a connection for each request."""
    if low:
        return ["-c1", "-m1"]
    return [f"-c{H2_CLIENTS}", f"-m{H2_STREAMS}"] if path.startswith("h2") else ["-c64", "-m1"]


def h2load(port, path, workload, requests, folder):
    log = pathlib.Path(folder) / "h2load.log"
    log.unlink(missing_ok=True)
    shape = concurrency(path, workload.low)
    clients = int(shape[0][2:])
    command = ["h2load", f"-n{max(requests, clients)}", *shape, f"--log-file={log}"]
    if path.startswith("h1"):
        command.append("--h1")
    if workload.upload:
        command += ["-d", str(pathlib.Path(folder) / "download")]
    command.append(f"http://127.0.0.1:{port}{workload.url}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except subprocess.TimeoutExpired:
        raise StoodStill from None
    return done.stdout, log


def rate_of(output):
    found = FINISHED.search(output)
    return float(found.group(1)) if found else 0.0


def measure(target, workload, seconds, folder):
    """A short run to warm up and to learn the rate, then one of about that many seconds. A run that
    stood still has no figures, and one failure."""
    try:
        return figures(target, workload, seconds, folder)
    except StoodStill:
        nothing = float("nan")
        return Result(nothing, nothing, nothing, nothing, failed=1)


def figures(target, workload, seconds, folder):
    small = 256 if workload.url == "/small" else 64
    output, _ = h2load(target.port, target.path, workload, small, folder)
    requests = max(small, int(rate_of(output) * seconds))
    cpu_before = target.program.cpu_seconds()
    output, log = h2load(target.port, target.path, workload, requests, folder)
    cpu = target.program.cpu_seconds() - cpu_before
    target.program.check_running()
    statuses = STATUSES.search(output)
    good = int(statuses.group(1)) if statuses else 0
    latencies = sorted(
        int(line.split("\t")[2]) for line in log.read_text().splitlines() if line.count("\t") == 2)
    return Result(
        cpu_us=cpu * 1e6 / good if good else float("nan"), per_second=rate_of(output),
        p50_us=percentile(latencies, 0.5), p99_us=percentile(latencies, 0.99),
        failed=requests - good)
