#!/usr/bin/python3
"""Measures Penstock beside HAProxy, nginx and nghttpx; see scripts/bench.sh.

Loopback only, bounded in requests and time, and everything it starts is gone when it ends.
"""

import argparse
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile

import comparison
import gate
import handover
import memory
import proxies
import python_model
import queue_section

SECTIONS = ("comparison", "handover", "queue", "gate", "python", "memory")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries", type=pathlib.Path, help="folder of Penstock's programs")
    parser.add_argument("--stages", default="examples/stages", help="the model of the gate section")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, and rougher")
    parser.add_argument("--section", action="append", choices=SECTIONS, help="only this (repeatable)")
    parser.add_argument("--workload", default="", help="of comparison, those whose name has this")
    parser.add_argument("--rounds", type=int, help="of comparison; 5 if not said, 1 with --quick")
    parser.add_argument("--peers-only", action="store_true", help="only the peers, in comparison")
    chosen = parser.parse_args()
    if not chosen.peers_only and chosen.binaries is None:
        parser.error("--binaries is needed unless --peers-only")
    return chosen


def version(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def describe():
    cpu = next((line.split(":", 1)[1].strip()
                for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())
    print(f"{cpu}, Linux {platform.release()}; client, proxy and replica share the machine.")
    print(f"One worker each, limit {proxies.LIMIT}; medians over rounds that alternate the order.")
    for command in (["/usr/sbin/haproxy", "-v"], ["/usr/sbin/nginx", "-v"],
                    ["/usr/sbin/nghttpx", "--version"]):
        print(f"- {version(command)}")
    sys.stdout.flush()


def main():
    chosen = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sections = ["comparison"] if chosen.peers_only else chosen.section or SECTIONS
    binaries = None if chosen.peers_only else chosen.binaries.resolve()
    quick = chosen.quick
    proxies.open_files()
    describe()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        if "comparison" in sections:
            comparison.run(
                folder, binaries, workload=chosen.workload, rounds=chosen.rounds or (1 if quick else 5),
                seconds=0.5 if quick else 2)
        if "handover" in sections:
            handover.run(folder, binaries, requests=1000 if quick else 5000)
        if "queue" in sections:
            queue_section.run(binaries, rounds=3 if quick else 9)
        if "gate" in sections:
            gate.run(folder, binaries, chosen.stages, seconds=3 if quick else 10)
        if "python" in sections:
            python_model.run(folder, binaries, seconds=3 if quick else 10)
        if "memory" in sections:
            connections = min(1000 if quick else 10000, (proxies.open_files() - 200) // 2 - 100)
            memory.run_idle(folder, binaries, connections)
            memory.run_waiting(folder, binaries, 1000 if quick else 10000)


if __name__ == "__main__":
    main()
