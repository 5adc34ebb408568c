"""Both limits under thousands of requests through the proxy, whose clients leave and whose worker is killed.

Promised: whatever happens, permits, slots, requests and bytes return to zero; no more than predict_concurrency
predict, and no more than the concurrency target are at the replica, at any time; no request runs twice.

Shown: a model that counts for itself in its process and notes each id in a file; clients that choose what to do
with a seed, which is printed; the worker killed every so often.
"""

import collections
import json
import os
import random
import signal
import threading
import time

from support.families import children
from support.h2_client import H2Client
from support.truss import Served, truss
from support.waiting import SLOWNESS, equals, eventually

LIMIT, TARGET, CLIENTS = 3, 8, 16
REQUESTS = 5_000 if SLOWNESS <= 1 else 1_000
KILLS = 2  # each costs its worker's back-off: 1, 2 s

MODEL = """
    import asyncio
    import os
    import threading
    import time

    LOCK = threading.Lock()
    RECORD = os.open(os.environ["STAGE_FOLDER"] + "/ids", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    class Model:
        def __init__(self):
            self.now = 0

        def _enter(self, inputs):
            with LOCK:
                self.now += 1
                os.write(RECORD, b"%d %d\\n" % (inputs["id"], self.now))

        def _leave(self):
            with LOCK:
                self.now -= 1

        def predict(self, inputs):
            self._enter(inputs)
            try:
                if inputs["do"] == "raise":
                    raise RuntimeError("on request")
                if inputs["do"] == "slow":
                    time.sleep(0.004)
                return {"id": inputs["id"]}
            finally:
                self._leave()

        async def completions(self, inputs):
            self._enter(inputs)
            try:
                await asyncio.sleep(0.002)
                return {"id": inputs["id"]}
            finally:
                self._leave()

        def embeddings(self, inputs):
            self._enter(inputs)
            try:
                for number in range(4):
                    if number == 2 and inputs["do"] == "raise":
                        raise RuntimeError("in the middle")
                    yield "x" * 1000
            finally:
                self._leave()
"""
PATHS = ["/predict", "/predict", "/v1/completions", "/v1/embeddings"]


class Crowd:
    """Clients on threads of their own, each with one connection at a time."""

    def __init__(self, served, seed):
        self.served = served
        self.seed = seed
        self.lock = threading.Lock()
        self.begun = 0
        self.outcomes = collections.Counter()
        self.problems = []
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def run(self):
        for thread in self.threads:
            thread.start()

    def _next(self):
        with self.lock:
            self.begun += 1
            return self.begun if self.begun <= REQUESTS else None

    def _run(self, number):
        chance = random.Random(self.seed * 1000 + number)
        client = H2Client(self.served.address)
        try:
            while (request := self._next()) is not None:
                if client.closed:
                    client = H2Client(self.served.address)
                self._one(client, chance, request)
        except Exception as error:  # a test's thread that fails has to tell
            self.problems.append(f"client {number}: {error!r}")
        finally:
            client.close()

    def _one(self, client, chance, request):
        path = chance.choice(PATHS)
        do = chance.choice(["quick"] * 6 + ["slow", "raise"])
        stream = client.request("POST", path, body=json.dumps({"id": request, "do": do}).encode())
        if chance.random() < 0.1:
            if chance.random() < 0.5:
                time.sleep(chance.random() * 0.01)  # leave at any point of the way
            stream.reset()
            if chance.random() < 0.1:
                client.close(abrupt=True)
            self._count("left")
            return
        answer = stream.end(60)
        if answer.status in (502, 503):  # as a client would: later
            equals(lambda: self.served.get("/ping").status, 200, timeout=40)
        self._count(answer.status if stream.complete else "cut")
        if stream.complete and answer.status == 200 and path != "/v1/embeddings":
            assert answer.json() == {"id": request}, "somebody else's answer"

    def _count(self, outcome):
        with self.lock:
            self.outcomes[outcome] += 1


def test_every_kind_of_trouble_at_once(tmp_path):
    seed = int(os.environ.get("PENSTOCK_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"seed {seed}")
    served = Served(truss(tmp_path, MODEL, runtime={"predict_concurrency": LIMIT}), "proxy-h2",
                    ["--concurrency-limit", TARGET], target=TARGET)
    crowd = Crowd(served, seed)
    crowd.run()
    for kill in range(1, KILLS + 1):
        eventually(lambda k=kill: crowd.begun >= k * REQUESTS // (KILLS + 1) or crowd.problems,
                   "a share of the requests", 60)
        equals(lambda: served.get("/ping").status, 200, timeout=40)
        os.kill(served.worker(), signal.SIGKILL)
    for thread in crowd.threads:
        thread.join(120 * SLOWNESS)
    assert not crowd.problems, crowd.problems
    print(dict(crowd.outcomes))

    served.wait_idle()
    equals(lambda: served.sidecar.metric("penstock_buffered_bytes"), 0)
    assert served.proxy.metric("penstock_cluster_limit_exceeded_total") in (None, 0)
    ran = [tuple(map(int, line.split())) for line in
           (served.stage.folder / "ids").read_text(encoding="ascii").splitlines()]
    assert max(now for _, now in ran) == LIMIT, "the limit is reached, and never passed"
    twice = [number for number, count in collections.Counter(number for number, _ in ran).items()
             if count > 1]
    assert not twice, twice
    assert crowd.outcomes[200] > REQUESTS // 2, crowd.outcomes
    assert crowd.outcomes.total() == REQUESTS
    assert set(crowd.outcomes) <= {200, 500, 502, 503, "left", "cut"}, crowd.outcomes
    equals(lambda: children(served.sidecar.pid), [served.worker()])
    assert served.fetch(b'{"id": 0, "do": "quick"}', "/predict").status == 200
