"""Python models: the sidecar with its worker beside uvicorn and Starlette (asgi_peer.py), the same
model in both: cost of an empty model, the gate's five loads, a stream, and 10 MiB in and out."""

import http.client
import json
import pathlib
import statistics
import struct
import sys
import time

import gate
import load
import processes
import proxies
import table

HERE = pathlib.Path(__file__).parent
ARRAY_BYTES = 10 << 20


def start(kind, model, folder, binaries):
    port = processes.free_port()
    if kind == "Penstock":
        command = [binaries / "penstock-sidecar", "--model", HERE / "models" / model,
                   "--listen", f"127.0.0.1:{port}", "--log-level", "warning"]
    else:
        command = [sys.executable, HERE / "asgi_peer.py", HERE / "models" / model, port]
    program = processes.Program(f"{kind}-{model}", command, folder)
    processes.wait_for_port(port, program)
    wait_until_it_answers(port)
    return proxies.Target(kind, "h1->h1", port, program)


def post(connection, body, content_type="application/json"):
    connection.request("POST", "/predict", body, {"content-type": content_type})
    return connection.getresponse()


def wait_until_it_answers(port):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            if post(connection, b'{"chunks":0,"bytes":0,"array":0}').status != 503:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise RuntimeError("the model did not become ready")


def empty(kind, folder, binaries, seconds):
    target = start(kind, "empty", folder, binaries)
    try:
        (pathlib.Path(folder) / "download").write_bytes(b'{"a": 1}')
        workload = load.Workload("empty model", "/predict", low=False, upload=True)
        result = load.measure(target, workload, seconds, folder)
        return [kind, f"{result.cpu_us:.1f}", f"{1e6 / result.cpu_us:.0f}",
                f"{result.per_second:.0f}", table.milliseconds(result.p50_us / 1e6),
                table.milliseconds(result.p99_us / 1e6), result.failed], result.cpu_us
    finally:
        target.program.stop()


def gate_rows(kind, folder, binaries, seconds):
    rows = []
    target = start(kind, "stages", folder, binaries)
    try:
        for preprocess, predict, postprocess, clients in gate.ROWS:
            work = dict(preprocess_ms=preprocess, predict_ms=predict, postprocess_ms=postprocess)
            rows.append([f"{preprocess} / {predict} / {postprocess}", clients, kind]
                        + gate.measured(target.port, work, clients, seconds))
    finally:
        target.program.stop()
    return rows


def stream(kind, folder, binaries, chunks):
    target = start(kind, "stream", folder, binaries)
    try:
        first, rates = [], []
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
        for _ in range(30):
            begin = time.monotonic()
            response = post(connection, json.dumps(dict(chunks=1, bytes=16)).encode())
            response.read1(1)
            first.append(time.monotonic() - begin)
            response.read()
        for _ in range(3):
            begin = time.monotonic()
            response = post(connection, json.dumps(dict(chunks=chunks, bytes=16)).encode())
            size = len(response.read())
            if size != 16 * chunks:
                raise RuntimeError(f"{size} bytes of {16 * chunks}")
            rates.append(chunks / (time.monotonic() - begin))
        connection.close()
        return [kind, table.milliseconds(statistics.median(first)),
                f"{statistics.median(rates):.0f}"]
    finally:
        target.program.stop()


def packed_array():
    """{"array": …} as msgpack-numpy writes it: one-dimensional bytes."""
    head = (b"\x81\xa5array\x85\xc4\x02nd\xc3\xc4\x04type\xa3|u1\xc4\x04kind\xc4\x00\xc4\x05shape\x91"
            + b"\xce" + struct.pack(">I", ARRAY_BYTES) + b"\xc4\x04data\xc6"
            + struct.pack(">I", ARRAY_BYTES))
    return head + bytes(ARRAY_BYTES)


def binary(kind, folder, binaries, rounds):
    target = start(kind, "echo", folder, binaries)
    try:
        body = packed_array()
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=60)
        times = []
        cpu = target.program.cpu_seconds()
        for _ in range(rounds):
            begin = time.monotonic()
            response = post(connection, body, "application/octet-stream")
            size = len(response.read())
            if response.status != 200 or size < ARRAY_BYTES:
                raise RuntimeError(f"{response.status}, {size} bytes")
            times.append(time.monotonic() - begin)
        connection.close()
        cpu = (target.program.cpu_seconds() - cpu) / rounds
        return [kind, table.milliseconds(statistics.median(times)),
                f"{2 * ARRAY_BYTES / statistics.median(times) / 1e9:.2f}", f"{cpu * 1e3:.1f}"]
    finally:
        target.program.stop()


def run(folder, binaries, seconds):
    kinds = ("Penstock", "uvicorn + Starlette")
    measured = [empty(kind, folder, binaries, seconds) for kind in kinds]
    table.show("Empty Python model, 64 at a time (aim: 5 times the requests per CPU second)",
               ["server", "CPU µs/request", "requests per CPU second", "requests/s", "p50 ms",
                "p99 ms", "failed"],
               [row for row, _ in measured] + [["ratio", f"{measured[1][1] / measured[0][1]:.2f}"]
                                               + [""] * 5])
    rows = [gate_rows(kind, folder, binaries, seconds) for kind in kinds]
    table.show("Gate, Python model, sleeping (aim: busy ≥ 98 %, gap p99 < 0.5 ms)",
               ["ms", "clients", "server", "predicts/s (ideal)", "busy", "idle gap p50 / p99 ms"],
               [row for pair in zip(*rows) for row in pair])
    table.show("Stream of 16-byte chunks, one client",
               ["server", "first chunk ms", "chunks/s"],
               [stream(kind, folder, binaries, 20000) for kind in kinds])
    table.show("10 MiB array in and out (msgpack), one client",
               ["server", "ms a request", "GB/s in and out", "CPU ms/request"],
               [binary(kind, folder, binaries, 20) for kind in kinds])
