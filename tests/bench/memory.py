"""What holding costs: an idle HTTP/2 connection, and a request that waits for a slot."""

import time

import h2_raw
import handover
import processes
import proxies
import table

BODY = b"x" * 100


def settled_rss(program, seconds=1.0):
    """The resident size once it has not changed for a while."""
    last, since = program.rss_bytes(), time.monotonic()
    deadline = time.monotonic() + 30
    while time.monotonic() < min(since + seconds, deadline):
        time.sleep(0.1)
        now = program.rss_bytes()
        if now != last:
            last, since = now, time.monotonic()
    return last


def idle_connection(target, count):
    """Each connection has had one request answered, then stays."""
    connections = [h2_raw.Connection(target.port) for _ in range(50)]
    try:
        for connection in connections:
            connection.settle()
            connection.fetch("/small")
        before = settled_rss(target.program)
        for _ in range(count):
            connection = h2_raw.Connection(target.port)
            connections.append(connection)
            connection.settle()
            connection.fetch("/small")
        return (settled_rss(target.program) - before) / count
    finally:
        for connection in connections:
            connection.close()


def waiting_request(target, count):
    """Requests behind one slot that never comes free, 100 on each connection."""
    connections = [h2_raw.Connection(target.port) for _ in range((count + 99) // 100)]
    try:
        for connection in connections:
            connection.settle()
        before = settled_rss(target.program)
        for connection in connections:
            for _ in range(100):
                connection.start("/small", BODY)
        return (settled_rss(target.program) - before) / (len(connections) * 100)
    finally:
        for connection in connections:
            connection.close()


def run_idle(folder, binaries, count):
    replica = proxies.Replica(folder)
    targets = proxies.start_all(folder, replica, binaries)
    rows = []
    try:
        for name in sorted({target.name for target in targets}):
            target = next(t for t in targets if t.name == name and t.path in ("h2->h2", "h2->h1"))
            rows.append([name, count, f"{idle_connection(target, count) / 1024:.1f}"])
    finally:
        proxies.stop_all(targets)
        replica.program.stop()
    table.show("Memory per idle HTTP/2 connection (aim: ≤ 40 KiB)",
               ["proxy", "connections", "RSS KiB each"], rows)


def run_waiting(folder, binaries, count):
    starts = {
        "HAProxy": lambda replica: proxies.haproxy(folder, replica, limit=1),
        "Penstock": lambda replica: proxies.penstock(folder, replica, binaries, limit=1),
    }
    rows = []
    for name, start in starts.items():
        replica = handover.HandoverReplica(folder, binaries, work_us=600_000_000)
        targets = start(replica)
        try:
            target = next(target for target in targets if target.path == "h2->h2")
            processes.wait_for_port(target.port, target.program)
            rows.append([name, count, len(BODY), f"{waiting_request(target, count) / 1024:.2f}"])
        finally:
            proxies.stop_all(targets)
            replica.program.stop()
    table.show("Memory per waiting request (aim: ≤ its body + 4 KiB)",
               ["proxy", "waiting", "body bytes", "RSS KiB each"], rows)
