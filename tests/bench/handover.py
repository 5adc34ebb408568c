"""What a freed slot costs: from the replica's answer to the first byte of its next request.

One slot, sixteen clients that never stop asking, a replica that works 1 ms on each request and
takes the times itself.
"""

import subprocess
import urllib.request

import processes
import proxies
import table


class HandoverReplica:
    """Looks to proxies.py like the other replica: one port that speaks both protocols."""

    def __init__(self, folder, binaries, work_us=1000):
        self.h1 = self.h2 = processes.free_port()
        self.program = processes.Program(
            "handover_replica", [binaries / "handover_replica", self.h1, work_us], folder)
        processes.wait_for_port(self.h1, self.program)

    def report(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.h1}/report", timeout=10) as answer:
            samples, p50, p99, most = answer.read().split()
        return int(samples), float(p50), float(p99), int(most)


def measure(start, path, folder, binaries, requests):
    replica = HandoverReplica(folder, binaries)
    targets = start(folder, replica)
    try:
        target = next(target for target in targets if target.path == path)
        processes.wait_for_port(target.port, target.program)
        shape = ["-c2", "-m8"] if path.startswith("h2") else ["-c16", "-m1", "--h1"]
        subprocess.run(
            ["h2load", f"-n{requests}", *shape, f"http://127.0.0.1:{target.port}/small"],
            capture_output=True, timeout=120, check=True)
        return replica.report()
    finally:
        proxies.stop_all(targets)
        replica.program.stop()


def run(folder, binaries, requests):
    starts = {
        "Penstock": lambda *where: proxies.penstock(*where, binaries, limit=1),
        "HAProxy": lambda *where: proxies.haproxy(*where, limit=1),
    }
    rows = []
    for path in proxies.PATHS:
        for name, start in starts.items():
            samples, p50, p99, most = measure(start, path, folder, binaries, requests)
            rows.append([path, name, samples, f"{p50:.0f}", f"{p99:.0f}", most])
    table.show(
        "Hand-over: replica's answer to the first byte of its next request (aim: p50 ≤ 100, p99 ≤ 1000 µs)",
        ["path", "proxy", "samples", "p50 µs", "p99 µs", "most at once (limit 1)"], rows)
