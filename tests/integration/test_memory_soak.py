"""Memory over time, under what costs most of it.

Promised: large bodies, streams that fail half-way, clients that leave, and WebSockets of every kind of end
leave nothing behind in proxy, sidecar and worker: after a warm-up none of them grows.

Shown: rounds of such requests by a few clients at once; after each, when nothing runs, the resident memory
of the three. PENSTOCK_SOAK_SECONDS says for how long (default 12), PENSTOCK_TEST_SEED repeats a run; the
figures are printed (pytest -s).
"""

import concurrent.futures
import faulthandler
import json
import os
import random
import statistics
import time

import pytest

from support.families import resident_bytes
from support.h1_client import H1Client
from support.h1_wire import Closed
from support.h2_client import H2Client
from support.truss import Served, truss
from support.tunnels import H1Tunnel, H2Tunnel
from support.waiting import SLOWNESS, equals, patience
from support.websocket_frames import CLOSE, PING, PONG, TEXT, frame, server_frame

SECONDS = float(os.environ.get("PENSTOCK_SOAK_SECONDS", "12"))
CLIENTS, PER_ROUND = 4, 40
BODY = 2 << 20
# What one round's bodies may come to rest in, wherever they lie; over the whole run.
MAY_GROW = 12 << 20

MODEL = """
    class Model:
        def completions(self, inputs):
            return {"size": len(inputs["text"]), "text": inputs["text"][:inputs["answer"]]}

        def embeddings(self, inputs):
            for number in range(50):
                if number == inputs.get("fails_at"):
                    raise RuntimeError("half-way")
                yield "x" * 50_000

        async def websocket(self, websocket):
            async for text in websocket.iter_text():
                if text == "raise":
                    raise RuntimeError("on request")
                await websocket.send_text(text)
"""


class Mix:
    """One client's requests, each on a connection of its own, chosen by a seed."""

    def __init__(self, served, seed):
        self.served = served
        self.chance = random.Random(seed)

    def round(self):
        for _ in range(PER_ROUND // CLIENTS):
            kind = self.chance.choice([self.large, self.large, self.stream, self.failing, self.leaves,
                                       self.websocket, self.websocket_fails, self.websocket_vanishes])
            kind(self.chance.choice(["h1", "h2"]))

    def fetch(self, kind, path, **inputs):
        with {"h1": H1Client, "h2": H2Client}[kind](self.served.address) as client:
            if kind == "h1":
                return client.fetch("POST", path, body=json.dumps(inputs).encode(), timeout=60)
            return client.request("POST", path, body=json.dumps(inputs).encode()).end(60)

    def large(self, kind):
        answer = self.fetch(kind, "/v1/completions", text="x" * BODY,
                            answer=self.chance.choice([10, BODY]))
        assert answer.status == 200 and answer.json()["size"] == BODY

    def stream(self, kind):
        assert len(self.fetch(kind, "/v1/embeddings").body) == 2_500_000

    def failing(self, kind):
        try:
            answer = self.fetch(kind, "/v1/embeddings", fails_at=self.chance.randrange(1, 50))
            assert answer.status == 200 and (kind == "h1" or answer.reset is not None)
        except Closed:
            assert kind == "h1"

    def leaves(self, kind):
        if kind == "h1":
            with H1Client(self.served.address, receive_buffer=4096) as client:
                client.request("POST", "/v1/embeddings", body=b"{}")
                client.head(60)
        else:
            with H2Client(self.served.address, auto_window=False) as client:
                client.request("POST", "/v1/embeddings", body=b"{}").head(60)

    def open(self, kind):
        tunnel = {"h1": H1Tunnel, "h2": H2Tunnel}[kind](self.served.address, path="/v1/websocket")
        assert tunnel.answer(60).status == tunnel.accepted
        return tunnel

    def websocket(self, kind):
        tunnel = self.open(kind)
        for size in (0, 10, 100_000):
            tunnel.send(frame(PING, b"there?") + frame(TEXT, b"t" * size))
            assert server_frame(tunnel, 60) == (PONG, b"there?")
            assert server_frame(tunnel, 60) == (TEXT, b"t" * size)
        tunnel.send(frame(CLOSE, b"\x03\xe8"))
        assert server_frame(tunnel, 60)[0] == CLOSE
        self.end(tunnel)

    def websocket_fails(self, kind):
        tunnel = self.open(kind)
        tunnel.send(frame(TEXT, b"raise"))
        opcode, payload = server_frame(tunnel, 60)
        assert (opcode, payload[:2]) == (CLOSE, b"\x03\xf3")
        self.end(tunnel)

    def websocket_vanishes(self, kind):
        tunnel = self.open(kind)
        tunnel.send(frame(TEXT, b"t" * 100_000) + frame(TEXT, b"t" * 100_000, fin=False))
        tunnel.vanish()

    def end(self, tunnel):
        tunnel.client.close()


@pytest.mark.skipif(SLOWNESS > 1, reason="a sanitizer's memory is not the program's")
def test_nothing_grows(tmp_path):
    seed = int(os.environ.get("PENSTOCK_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"\nPENSTOCK_TEST_SEED={seed}")
    faulthandler.dump_traceback_later(patience(150) + SECONDS, exit=True)  # conftest's is for short ones
    served = Served(truss(tmp_path, MODEL, runtime={"predict_concurrency": 2}), "proxy-h2", target=CLIENTS)
    programs = {"proxy": served.proxy.pid, "sidecar": served.sidecar.pid, "worker": served.worker()}
    mixes = [Mix(served, seed + number) for number in range(CLIENTS)]
    samples = []
    deadline = time.monotonic() + SECONDS
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        while time.monotonic() < deadline or len(samples) < 16:
            for done in [pool.submit(mix.round) for mix in mixes]:
                done.result()
            served.wait_idle(60)
            equals(lambda: served.sidecar.metric("penstock_buffered_bytes"), 0)
            samples.append({name: resident_bytes(pid) for name, pid in programs.items()})

    quarter = len(samples) // 4
    grown = {}
    for name in programs:
        after_warm_up = statistics.median(each[name] for each in samples[quarter:2 * quarter])
        at_the_end = statistics.median(each[name] for each in samples[-quarter:])
        grown[name] = at_the_end - after_warm_up
        print(f"{name}: {len(samples)} rounds of {PER_ROUND}; first {samples[0][name] / 1e6:.1f} MB, after "
              f"warm-up {after_warm_up / 1e6:.1f} MB, at the end {at_the_end / 1e6:.1f} MB, most "
              f"{max(each[name] for each in samples) / 1e6:.1f} MB")
    assert all(each < MAY_GROW for each in grown.values()), grown
