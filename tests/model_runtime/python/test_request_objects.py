"""What a request says of itself, with Starlette and without: where it came from, the application,
the path's parameters; and the watch for the client's departure."""

import pytest

from fake_sidecar import CANCELLED

BARE = ["/usr/bin/python3", "-S"]
WITH = "from starlette.requests import Request\nfrom starlette.websockets import WebSocket\n"


@pytest.fixture(params=["starlette", "bare"])
def ask(request, serve):
    """ask(expression, **options): the value of an expression about the request, `r`."""

    def make(expression, environment=None, **options):
        head, kind = (WITH, ": Request") if request.param == "starlette" else ("", "")
        sidecar = serve(
            f"""{head}
class Model:
    def predict(self, x, request{kind}):
        r = request
        return {expression}
""",
            python=BARE if request.param == "bare" else None,
            environment=environment,
        )
        return lambda meta=None: sidecar.call(meta=meta or {}).json

    return make


def test_the_two_ends(ask):
    answer = ask("[r.client.host, r.client.port, r.scope['server'], r.scope['client']]")
    assert answer({"client": ["192.0.2.7", 9], "server": ["::1", 80]}) == [
        "192.0.2.7",
        9,
        ["::1", 80],
        ["192.0.2.7", 9],
    ]


def test_no_ends(ask):
    answer = ask("[r.client, r.scope['server']]")
    assert answer({"client": None, "server": None}) == [None, None]


def fields(*values, name="x-forwarded-for"):
    return [[name, value] for value in values]


FORWARDED = [
    # trusted, peer, x-forwarded-for, client
    (None, "127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
    (None, "::1", ["192.0.2.1"], "192.0.2.1"),
    (None, "127.0.0.1", ["192.0.2.1, 198.51.100.2"], "198.51.100.2"),
    (None, "127.0.0.1", ["192.0.2.1", "198.51.100.2, 127.0.0.1"], "198.51.100.2"),
    (None, "127.0.0.1", ["127.0.0.1"], "127.0.0.1"),
    (None, "127.0.0.1", ["unix:"], "unix:"),
    (None, "127.0.0.1", [" , "], "127.0.0.1"),
    (None, "203.0.113.9", ["192.0.2.1"], "203.0.113.9"),
    ("203.0.113.0/24, 10.0.0.1", "203.0.113.9", ["192.0.2.1, 10.0.0.1"], "192.0.2.1"),
    ("203.0.113.0/24", "127.0.0.1", ["192.0.2.1"], "127.0.0.1"),
    ("*", "203.0.113.9", ["192.0.2.1, 198.51.100.2"], "192.0.2.1"),
    ("", "127.0.0.1", ["192.0.2.1"], "127.0.0.1"),
]


@pytest.mark.parametrize("trusted, peer, said, client", FORWARDED)
def test_a_trusted_peer_says_who_the_client_is(serve, trusted, peer, said, client):
    sidecar = serve(
        WITH + "class Model:\n    def predict(self, x, r: Request): return r.client.host\n",
        environment={} if trusted is None else {"FORWARDED_ALLOW_IPS": trusted},
    )
    meta = {"client": [peer, 9], "headers": fields(*said)}
    assert sidecar.call(meta=meta).json == client


def test_a_trusted_peer_says_the_scheme(serve):
    code = "class Model:\n    def predict(self, x, r: Request): return r.scope['scheme']\n"
    sidecar = serve(WITH + code)
    for said, scheme in (("https", "https"), ("HTTPS", "http"), ("gopher", "http")):
        headers = fields(said, name="x-forwarded-proto")
        assert sidecar.call(meta={"headers": headers}).json == scheme
    meta = {"headers": fields("https", name="x-forwarded-proto"), "client": ["192.0.2.1", 9]}
    assert sidecar.call(meta=meta).json == "http"


def test_the_application_has_state_of_the_process(ask):
    answer = ask("r.app.state.__dict__.setdefault('first', []).append(1) or len(r.app.state.first)")
    assert [answer(), answer()] == [1, 2]


@pytest.mark.parametrize(
    "path, parameters",
    [
        ("/v1/models/my%20m:predict", {"model_name": "my m"}),
        ("/v1/models/m:predict_binary", {"model_name": "m"}),
        ("/predict", {}),
        ("/v1/chat/completions", {}),
    ],
)
def test_parameters_of_the_path(ask, path, parameters):
    assert ask("dict(r.path_params)")({"path": path}) == parameters


@pytest.mark.parametrize("bare", [False, True])
def test_a_websocket_says_the_same(serve, bare):
    sidecar = serve(
        """
import json
class Model:
    async def websocket(self, ws):
        ws.app.state.seen = 1
        await ws.send_text(json.dumps([ws.client.host, ws.scope["server"], ws.url.scheme,
                                       dict(ws.path_params), ws.app.state.seen]))
""",
        python=BARE if bare else None,
    )
    request = sidecar.invoke(
        b"", operation="websocket", meta={"server": ["::1", 80], "path": "/v1/websocket"}
    )
    request.done()
    text = b"".join(frame.payload for frame in request.frames)
    assert b'["127.0.0.1", ["::1", 80], "ws", {}, 1]' in text


WATCHES = {
    "with": """
        with request.state.watch_disconnect() as gone:
            say(f"watching {gone.is_set()}")
            gone.wait()""",
    "with, polled": """
        import threading
        with request.state.watch_disconnect() as gone:
            assert type(gone) is threading.Event
            say(f"watching {gone.is_set()}")
            while not gone.is_set(): pass""",
    "awaited": """
        async def watch():
            say("watching False")
            await request.state.watch_disconnect()
        asyncio.run(watch())""",
    "as a task": """
        async def watch():
            say("watching False")
            await asyncio.create_task(request.state.watch_disconnect())
        asyncio.run(watch())""",
    "among others": """
        async def watch():
            say("watching False")
            await asyncio.wait({asyncio.ensure_future(request.state.watch_disconnect())})
        asyncio.run(watch())""",
}


@pytest.mark.parametrize("watch", WATCHES)
def test_watching_the_client(serve, watch):
    sidecar = serve(f"""
import asyncio
from starlette.requests import Request
class Model:
    def predict(self, x, request: Request):
        {WATCHES[watch].strip()}
        say("gone")
""")
    request = sidecar.invoke()
    sidecar.wait_line("watching False")
    request.cancel()
    assert request.done().kind == CANCELLED
    sidecar.wait_line("gone")


def test_watches_that_end_before_the_client_goes(serve):
    sidecar = serve("""
import asyncio, gc, warnings
from starlette.requests import Request
class Model:
    def predict(self, x, request: Request):
        watch = request.state.watch_disconnect
        with watch() as gone, watch() as other:
            assert not gone.is_set() and not other.is_set()
        assert not gone.is_set()
        async def cancelled():
            task = asyncio.create_task(watch())
            await asyncio.sleep(0)
            task.cancel()
            return await asyncio.gather(task, return_exceptions=True)
        [error] = asyncio.run(cancelled())
        with warnings.catch_warnings(record=True) as seen:
            watch()
            gc.collect()
        return [type(error).__name__, len(seen)]
    def completions(self, x, request: Request):
        say("running")
        wait("gate")
        with request.state.watch_disconnect() as gone:
            say(f"found {gone.is_set()}")
""")
    assert sidecar.call().json == ["CancelledError", 0]
    sidecar.gate("gate")
    request = sidecar.invoke(operation="completions")
    sidecar.wait_line("running")
    request.cancel()
    sidecar.settle()
    sidecar.release("gate")
    sidecar.wait_line("found True")
