"""The worker without any package: nothing but Python's standard library is needed."""

import pytest

from fake_sidecar import CANCELLED

PYTHON = ["/usr/bin/python3", "-S"]


@pytest.fixture
def bare(serve):
    return lambda model, **options: serve(model, python=PYTHON, **options)


def test_nothing_else_can_be_imported(start):
    assert "starlette" in start("import starlette\n", python=PYTHON).load_error()


def test_json_and_msgpack(bare):
    sidecar = bare("class Model:\n    def predict(self, x): return [x, 1.5, None]\n")
    assert sidecar.call("a").json == ["a", 1.5, None]
    assert sidecar.call(b"\xa1a", binary=True).body == b"\x93\xa1a\xcb\x3f\xf8\0\0\0\0\0\0\xc0"
    array = b"\x83\xc4\x02nd\xc3\xc4\x04type\xa3<i2\xc4\x04data\xc4\x00"
    assert "numpy is not installed" in sidecar.call(array, binary=True).json["error"]


def test_the_stand_in_for_the_request(bare):
    sidecar = bare("""
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from starlette.requests import Request
class Model:
    async def predict(self, x, request: "Request"):
        chunks = [chunk async for chunk in request.stream()]
        return [request.headers["X-A"], request.headers.get("nothing"),
                request.headers.getlist("x-a"), request.method, request.url.path, str(request.url),
                request.query_params["q"],
                request.client[0], await request.json(), b"".join(chunks).decode(),
                await request.is_disconnected(), request.cookies, list(request.headers)]
    def completions(self, x, request):
        return request.method
""")
    done = sidecar.call(
        {"a": 1},
        meta={
            "headers": [["host", "h:1"], ["x-a", "b"], ["x-a", "c"], ["cookie", "k=v; l=w"]],
            "path": "/p/q",
            "query": "q=1&q=2",
        },
    )
    assert done.json == [
        "b",
        None,
        ["b", "c"],
        "POST",
        "/p/q",
        "http://h:1/p/q?q=1&q=2",
        "2",
        "127.0.0.1",
        {"a": 1},
        '{"a": 1}',
        False,
        {"k": "v", "l": "w"},
        ["host", "x-a", "cookie"],
    ]
    assert sidecar.call(operation="completions").json == "POST"


def test_cancelling(bare):
    sidecar = bare("""
class Model:
    def predict(self, x, request):
        say("running")
        while not request.state.is_cancelled(): pass
""")
    request = sidecar.invoke()
    sidecar.wait_line("running")
    request.cancel()
    assert request.done().kind == CANCELLED
