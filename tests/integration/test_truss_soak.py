"""Ten thousand requests to a Python model, of which some leave, some fail, and some kill the worker.

Promised: whatever happens, predict never runs more often at a time than it may, no request runs
twice, every request ends, and afterwards lanes, requests and bytes are at zero, with nothing left
behind in either process's descriptors. Shown by the model's own record: it counts who is in predict,
and appends each id to a file. The seed is printed; PENSTOCK_SOAK_SEED repeats it.
"""

import asyncio
import json
import os
import random
import sys
import textwrap
from collections import Counter

import pytest
import yaml

from support.programs import Sidecar
from support.truss import descriptors as open_descriptors
from support.waiting import equals, eventually, patience

CONCURRENCY = 4
CLIENTS = 64
# Each costs its worker's back-off: 1, 2 and 4 s.
KILLS = 3
REQUESTS = 10_000 if patience(1) == 1 else 2_000

MODEL = '''
    import os
    import signal
    import threading
    import time


    class Model:
        def __init__(self):
            self.lock = threading.Lock()
            self.inside = 0

        def preprocess(self, inputs):
            if inputs["what"] == "fail early":
                raise ValueError("early")
            return inputs

        def predict(self, inputs):
            with self.lock:
                self.inside += 1
                inside = self.inside
            try:
                with open(os.environ["SOAK_RECORD"], "a", encoding="ascii") as record:
                    record.write(f"{inputs['id']} {inside}\\n")
                if inputs["what"] == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(inputs["seconds"])
                if inputs["what"] == "fail":
                    raise ValueError("late")
                if inputs["what"] == "stream":
                    return (f"{i}\\n" for i in range(20))
                return inputs["id"]
            finally:
                with self.lock:
                    self.inside -= 1
'''


@pytest.fixture
def soaked(tmp_path):
    model = tmp_path / "truss"
    (model / "model").mkdir(parents=True)
    (model / "model" / "model.py").write_text(textwrap.dedent(MODEL), encoding="utf-8")
    (model / "config.yaml").write_text(
        yaml.safe_dump({"model_name": "soak", "runtime": {"predict_concurrency": CONCURRENCY},
                        "penstock": {"python": sys.executable}}), encoding="utf-8")
    record = tmp_path / "record"
    sidecar = Sidecar(model, environment={"SOAK_RECORD": str(record)})
    yield sidecar, record
    sidecar.finish()


async def ask(address, body, leaves_after=None):
    """The status of the answer, "left", or "cut"."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(b"POST /predict HTTP/1.1\r\nhost: m\r\nconnection: close\r\n"
                     b"content-length: %d\r\n\r\n" % len(body) + body)
        if leaves_after is not None:
            await asyncio.sleep(leaves_after)
            return "left"
        answer = await asyncio.wait_for(reader.read(), patience(60))
        whole = b"chunked" not in answer or answer.endswith(b"0\r\n\r\n")
        return answer[9:12].decode() if answer and whole else "cut"
    except ConnectionError:
        return "cut"
    finally:
        writer.close()


async def request(address, number, what, chance):
    """Asks until it is run; what was refused was not."""
    body = json.dumps({"id": number, "what": what, "seconds": chance.random() / 1000}).encode()
    leaves_after = chance.random() / 50 if what == "leave" else None
    while True:
        outcome = await ask(address, body, leaves_after)
        if outcome != "503":
            return outcome
        await asyncio.sleep(0.05)


def plan(chance):
    kinds = chance.choices(["plain", "stream", "fail", "fail early", "leave"],
                           [70, 10, 4, 3, 13], k=REQUESTS)
    # So far apart that no worker is killed by two of them.
    part = REQUESTS // KILLS
    for first in range(0, part * KILLS, part):
        kinds[first + chance.randrange(part - 3 * CLIENTS)] = "kill"
    return kinds


async def run(address, seed):
    chance = random.Random(seed)
    kinds = plan(chance)
    turn = asyncio.Semaphore(CLIENTS)
    outcomes = Counter()

    async def one(number, what):
        async with turn:
            outcomes[what, await request(address, number, what, random.Random(seed + number))] += 1

    await asyncio.gather(*(one(number, what) for number, what in enumerate(kinds)))
    return kinds, outcomes


def descriptors(pid):
    """What a process has open, but for the clients' sockets, which may close a little later."""
    return Counter(each.split(":")[0] for each in open_descriptors(pid))


def test_nothing_is_lost_nothing_runs_twice_and_everything_returns_to_zero(soaked):
    sidecar, record = soaked
    seed = int(os.environ.get("PENSTOCK_SOAK_SEED", "0")) or random.randrange(1, 1 << 30)
    print(f"PENSTOCK_SOAK_SEED={seed}")
    before = descriptors(sidecar.pid)
    kinds, outcomes = asyncio.run(run(sidecar.address, seed))

    assert sum(outcomes.values()) == REQUESTS
    for (what, outcome), count in outcomes.items():
        expected = {"plain": {"200"}, "stream": {"200"}, "fail": {"500"}, "fail early": {"500"},
                    "leave": {"left"}, "kill": set()}[what]
        # 502 and a cut stream: the worker died while it ran.
        assert outcome in expected | {"502", "cut"}, (what, outcome, count)
    lost = sum(n for (what, outcome), n in outcomes.items() if outcome in ("502", "cut"))
    assert KILLS <= lost <= KILLS * CLIENTS, outcomes

    runs = [line.split() for line in record.read_text(encoding="ascii").splitlines()]
    twice = [number for number, n in Counter(number for number, _ in runs).items() if n > 1]
    assert not twice
    assert max(int(inside) for _, inside in runs) <= CONCURRENCY
    must_run = {str(i) for i, what in enumerate(kinds) if what in ("plain", "stream", "fail")}
    assert len(must_run - {number for number, _ in runs}) <= lost

    for name in ("penstock_in_flight", "penstock_gate_waiting", "penstock_gate_in_predict",
                 "penstock_buffered_bytes"):
        equals(lambda name=name: sidecar.metric(name), 0, name, timeout=20)
    equals(lambda: sidecar.metric("penstock_worker_restarts_total"), KILLS, timeout=20)
    eventually(lambda: sidecar.metric("penstock_connections") <= 1, "all clients are gone", 20)
    eventually(lambda: descriptors(sidecar.pid)["/memfd"] <= before["/memfd"],
               "no body is left open", 20)
    eventually(lambda: descriptors(sidecar.pid).total() <= before.total() + 2,
               "no descriptor is left open", 20)
