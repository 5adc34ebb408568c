"""The predict gate: how busy it keeps the lane, and how long the lane idles between two predicts.

The five loads of the comparison with Truss, straight to penstock-sidecar with examples/stages, which
tells in each answer when its own stages began and ended.
"""

import asyncio
import json
import time

import load
import processes
import proxies
import table

# preprocess, predict, postprocess in ms; clients.
ROWS = [(0, 5, 0, 32), (0, 20, 0, 32), (50, 20, 50, 64), (1000, 20, 100, 100), (200, 2, 0, 200)]


def start_sidecar(folder, binaries, model):
    port = processes.free_port()
    program = processes.Program(
        "sidecar",
        [binaries / "penstock-sidecar", "--model", model, "--listen", f"127.0.0.1:{port}"], folder)
    processes.wait_for_port(port, program)
    return proxies.Target("sidecar", "h1->h1", port, program)


async def client(port, message, until, predicts):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while time.monotonic() < until:
            writer.write(message)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head.split(b" ", 2)[1])
            size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = await reader.readexactly(size)
            if status != 200:
                raise RuntimeError(f"{status}: {body.decode(errors='replace')}")
            predict = json.loads(body)["stages"]["predict"]
            predicts.append((predict["start"], predict["end"]))
    finally:
        writer.close()


async def drive(port, work, clients, seconds):
    """All predicts as (start, end), and the span in which the load was steady."""
    body = json.dumps(work).encode()
    message = (f"POST /predict HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
               f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n").encode()
    begin = time.monotonic()
    warm = begin + 1 + (work["preprocess_ms"] + clients * work["predict_ms"]) / 1e3
    predicts = []
    await asyncio.gather(
        *(client(port, message + body, warm + seconds, predicts) for _ in range(clients)))
    return sorted(p for p in predicts if p[0] >= warm and p[1] <= warm + seconds)


def evaluate(predicts):
    gaps = sorted(after[0] - before[1] for before, after in zip(predicts, predicts[1:]))
    span = predicts[-1][1] - predicts[0][0]
    busy = sum(end - start for start, end in predicts) / span
    return len(predicts) / span, busy, load.percentile(gaps, 0.5), load.percentile(gaps, 0.99)


def measured(port, work, clients, seconds):
    """The last three columns of a row."""
    rate, busy, p50, p99 = evaluate(asyncio.run(drive(port, work, clients, seconds)))
    return [f"{rate:.1f} ({1000 / work['predict_ms']:.0f})", f"{100 * busy:.2f} %",
            f"{p50 * 1e3:.4f} / {p99 * 1e3:.4f}"]


def wait_ready(port):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            asyncio.run(drive(port, dict(preprocess_ms=0, predict_ms=0, postprocess_ms=0), 1, 0))
            return
        except (RuntimeError, OSError, asyncio.IncompleteReadError):
            time.sleep(0.05)
    raise RuntimeError("the model did not become ready")


def run(folder, binaries, model, seconds):
    rows = []
    target = start_sidecar(folder, binaries, model)
    try:
        wait_ready(target.port)
        for preprocess, predict, postprocess, clients in ROWS:
            work = dict(preprocess_ms=preprocess, predict_ms=predict, postprocess_ms=postprocess)
            rows.append([f"{preprocess} / {predict} / {postprocess}", clients]
                        + measured(target.port, work, clients, seconds))
        table.show("Gate: preprocess / predict / postprocess, sleeping (aim: busy ≥ 98 %, gap p99 < 0.1 ms)",
                   ["ms", "clients", "predicts/s (ideal)", "busy", "idle gap p50 / p99 ms"], rows)
        empty_model(target, folder, seconds)
    finally:
        target.program.stop()


def empty_model(target, folder, seconds):
    workload = load.Workload("empty model", "/predict", low=False, upload=True)
    (proxies.pathlib.Path(folder) / "download").write_bytes(b"{}")
    rows = []
    for path in ("h2->h2", "h1->h1"):
        result = load.measure(
            proxies.Target("sidecar", path, target.port, target.program), workload, seconds, folder)
        rows.append([path[:2], f"{result.cpu_us:.1f}", f"{1e6 / result.cpu_us:.0f}",
                     f"{result.per_second:.0f}", table.milliseconds(result.p50_us / 1e6),
                     table.milliseconds(result.p99_us / 1e6), result.failed])
    table.show("Empty native model, 64 at a time, through the sidecar alone",
               ["protocol", "CPU µs/request", "requests per CPU second", "requests/s", "p50 ms",
                "p99 ms", "failed"], rows)
