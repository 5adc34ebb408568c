"""The forms that a model's methods may have, what they are given, what becomes of their results.

Promised: everything of Truss's model class works unmodified. Shown: a real worker over a socket
pair.
"""

import json

import pytest

from fake_sidecar import DONE, ENDED, READY, RESPONSE, STARTED, STREAM_ENDED

JSON = {"content-type": "application/json"}


def test_a_sync_predict_from_end_to_end(serve):
    sidecar = serve(
        "class Model:\n    def predict(self, inputs):\n        return {'got': inputs}\n"
    )
    loaded = sidecar.loaded()
    assert loaded["operations"] == ["predict"] and loaded["preprocess"] is None
    assert loaded["is_healthy"] is False and loaded["schema"] is None
    request = sidecar.invoke({"a": [1, 2.5, None, "é"]})
    done = request.done()
    assert (done.kind, done.outcome, done.status, done.headers) == (RESPONSE, 0, 200, JSON)
    assert done.json == {"got": {"a": [1, 2.5, None, "é"]}}
    assert [frame.kind for frame in request.frames] == [STARTED, ENDED, DONE]
    assert request.frames[0].when <= request.frames[1].when


FORMS = {
    "sync": "def predict(self, x): return [x]",
    "async": "async def predict(self, x): return [x]",
    "sync that returns a coroutine": """
    def predict(self, x):
        async def answer(): return [x]
        return answer()""",
    "no argument": "def predict(self): return [1]",
    "callable object": """
    class Predict:
        def __call__(self, x): return [x]
    predict = Predict()""",
}


@pytest.mark.parametrize("form", FORMS)
def test_whole_results(serve, form):
    sidecar = serve(f"class Model:\n    {FORMS[form]}\n")
    for _ in range(3):
        assert sidecar.call(1).json == [1]
    ready = sidecar.invoke(1, go=False)
    assert ready.wait(READY).payload == bytes(16)
    assert not ready.has(STARTED)
    ready.predict()
    assert ready.done().json == [1]


STREAMS = {
    "generator": """
    def predict(self, x):
        yield "a"
        yield b"b" """,
    "async generator": """
    async def predict(self, x):
        yield "a"
        yield b"b" """,
    "sync that returns a generator": """
    def predict(self, x):
        return (each for each in ["a", b"b"])""",
    "sync that returns an async generator": """
    def predict(self, x):
        async def chunks():
            yield "a"
            yield b"b"
        return chunks()""",
    "async that returns a generator": """
    async def predict(self, x):
        return (each for each in ["a", b"b"])""",
    "async that returns an async generator": """
    async def predict(self, x):
        async def chunks():
            yield "a"
            yield b"b"
        return chunks()""",
}


@pytest.mark.parametrize("form", STREAMS)
def test_streams(serve, form):
    sidecar = serve(f"class Model:\n    {STREAMS[form]}\n")
    for _ in range(3):
        request = sidecar.invoke(1)
        done = request.done()
        assert (done.kind, done.outcome, done.status) == (STREAM_ENDED, 0, 0)
        assert request.head() == (200, {"content-type": "application/octet-stream"})
        assert request.chunks() == b"ab"
        assert sidecar.call(1, gather=True).json == "ab"


@pytest.mark.parametrize("prefix", ["", "async "])
def test_three_stages(serve, prefix):
    sidecar = serve(f"""
class Model:
    {prefix}def preprocess(self, x): return x + ["pre"]
    {prefix}def predict(self, x): return x + ["predict"]
    {prefix}def postprocess(self, x): return x + ["post"]
""")
    assert sidecar.loaded()["preprocess"] == ("async" if prefix else "sync")
    for _ in range(3):
        request = sidecar.invoke([], go=False)
        ready = request.wait(READY)
        begin = ready.when
        assert 0 < begin
        request.predict()
        assert request.done().json == ["pre", "predict", "post"]


def test_stages_of_mixed_kinds(serve):
    sidecar = serve("""
class Model:
    def preprocess(self, x):
        async def answer(): return x + ["pre"]
        return answer()
    async def predict(self, x): return x + ["predict"]
    def postprocess(self, x):
        async def answer(): return x + ["post"]
        return answer()
""")
    request = sidecar.invoke([], go=False)
    request.wait(READY)
    request.predict()
    assert request.done().json == ["pre", "predict", "post"]


@pytest.mark.parametrize("body", ['yield "a"', 'await asyncio.sleep(0); yield "a"'])
def test_postprocess_may_stream_without_a_lane(serve, body):
    sidecar = serve(f"""
import asyncio
class Model:
    def predict(self, x): return x
    {"async " if "await" in body else ""}def postprocess(self, x):
        {body}
""")
    request = sidecar.invoke(1)
    assert request.done().kind == STREAM_ENDED and request.chunks() == b"a"
    kinds = [frame.kind for frame in request.frames]
    assert kinds.index(ENDED) == 1


def test_a_flood_of_slow_preprocess_and_postprocess_delays_no_predict(serve):
    sidecar = serve(
        """
class Model:
    def preprocess(self, x):
        if str(x).startswith("pre"): wait(x)
        return x
    def predict(self, x): return x
    def postprocess(self, x):
        if str(x).startswith("post"): wait(x)
        return x
    def completions(self, x): return x
""",
        preprocess_threads=8,
        postprocess_threads=2,
    )
    before, after = [f"pre{i}" for i in range(7)], [f"post{i}" for i in range(2)]
    sidecar.gate(*before, *after)
    slow_before = [sidecar.invoke(name, go=False) for name in before]
    slow_after = [sidecar.invoke(name, go=False) for name in after]
    for request in slow_after:
        request.wait(READY)
        request.predict()
        request.wait(ENDED)
    assert sidecar.call(1, operation="completions").json == 1
    behind = sidecar.invoke(2, go=False)
    behind.wait(READY)
    behind.predict()
    behind.wait(ENDED)
    assert not behind.has(DONE) and not any(each.has(READY) for each in slow_before)
    for name in after + before:
        sidecar.release(name)
    assert behind.done().json == 2
    for request in slow_before:
        request.wait(READY)


def test_every_operation(serve):
    names = ["chat_completions", "completions", "embeddings", "messages", "responses"]
    methods = "\n".join(f"    def {name}(self, x): return ['{name}', x]" for name in names)
    sidecar = serve(f"class Model:\n    def predict(self, x): return x\n{methods}\n")
    assert sidecar.loaded()["operations"] == ["predict"] + names
    for name in names:
        assert sidecar.call(5, operation=name).json == [name, 5]


def test_other_operations_have_no_stages(serve):
    sidecar = serve("""
class Model:
    def preprocess(self, x): return "pre"
    def predict(self, x): return x
    def postprocess(self, x): return "post"
    def completions(self, x): return x
""")
    assert sidecar.call(5, operation="completions").json == 5


def test_inputs_and_request(serve):
    sidecar = serve("""
from starlette.requests import Request
class Model:
    async def predict(self, inputs, request: Request):
        return [inputs, request.headers["x-a"], request.method, request.url.path,
                dict(request.query_params), request.client.host, (await request.body()).decode(),
                await request.json(), await request.is_disconnected(), request.url.scheme]
""")
    done = sidecar.call(
        {"a": 1}, meta={"headers": [["x-a", "é"], ["host", "h"]], "query": "q=1", "path": "/x/y"}
    )
    assert done.json == [
        {"a": 1},
        "é",
        "POST",
        "/x/y",
        {"q": "1"},
        "127.0.0.1",
        '{"a": 1}',
        {"a": 1},
        False,
        "http",
    ]


def test_only_the_request_leaves_the_body_unread(serve):
    sidecar = serve("""
import fastapi
class Model:
    async def predict(self, request: fastapi.Request):
        return len(await request.body())
""")
    assert sidecar.call(b"this is no JSON").json == 15
    assert sidecar.call(b"x" * 100_000).json == 100_000


def test_request_in_each_stage_is_one_object(serve):
    sidecar = serve("""
from starlette.requests import Request
class Model:
    def preprocess(self, x, request: Request):
        request.state.mark = 7
        return x
    def predict(self, x, request: Request): return [x, request.state.mark]
    def postprocess(self, x, request: Request): return x + [request.state.mark]
""")
    request = sidecar.invoke(1, go=False)
    request.wait(READY)
    request.predict()
    assert request.done().json == [1, 7, 7]


def test_annotations_as_text(serve):
    sidecar = serve("""
from __future__ import annotations
from starlette.requests import Request
class Model:
    def predict(self, inputs: dict, request: Request): return [inputs, request.method]
""")
    assert sidecar.call(1).json == [1, "POST"]


PYDANTIC = """
import typing, pydantic
class Input(pydantic.BaseModel):
    name: str
    sizes: typing.List[int] = []
class Output(pydantic.BaseModel):
    text: str
class Model:
    def predict(self, inputs: Input) -> Output:
        return Output(text=f"{inputs.name} {inputs.sizes}")
    def completions(self, inputs): return type(inputs).__name__
"""


def test_pydantic_types(serve):
    sidecar = serve(PYDANTIC)
    schema = sidecar.schema()
    assert schema["input_schema"]["required"] == ["name"]
    assert schema["output_schema"]["title"] == "Output" and schema["supports_streaming"] is False
    assert sidecar.call({"name": "a", "sizes": ["3"]}).json == {"text": "a [3]"}
    assert sidecar.call({"name": "a"}, operation="completions").json == "Input"


def test_a_body_that_pydantic_refuses(serve):
    done = serve(PYDANTIC).call({"name": "a", "sizes": [1, "x"]})
    assert (done.status, done.outcome) == (400, 1)
    assert done.headers["x-baseten-error-code"] == "700"
    assert done.json["error"].startswith("Input Parsing Error:\n  `sizes[1]`: ")


def test_pydantic_result_in_msgpack(serve):
    msgpack = pytest.importorskip("msgpack")
    done = serve(PYDANTIC).call(msgpack.packb({"name": "b"}), binary=True)
    assert done.headers == {"content-type": "application/octet-stream"}
    assert msgpack.unpackb(done.body) == {"text": "b []"}


def test_numpy_in_json(serve):
    sidecar = serve("""
import numpy as np
class Model:
    def predict(self, x):
        return {"array": np.arange(4).reshape(2, 2), "i": np.int64(3), "f": np.float32(0.5),
                "d": np.float64(1.5), "b": np.bool_(True)}
""")
    assert sidecar.call().json == {"array": [[0, 1], [2, 3]], "i": 3, "f": 0.5, "d": 1.5, "b": True}


def test_numbers_that_json_lacks_become_null(serve):
    sidecar = serve("""
class Model:
    def predict(self, x):
        return {"a": [float("nan"), float("inf"), -float("inf"), 1.0], "b": float("nan")}
""")
    assert sidecar.call().json == {"a": [None, None, None, 1.0], "b": None}


def test_large_results_go_by_descriptor(serve):
    sidecar = serve("class Model:\n    def predict(self, x): return 'x' * x\n")
    small, large = sidecar.call(1000), sidecar.call(1_000_000)
    assert not small.by_descriptor and large.by_descriptor
    assert json.loads(large.body) == "x" * 1_000_000


def test_what_is_printed_disturbs_nothing(serve):
    sidecar = serve("""
import logging, os, sys
class Model:
    def predict(self, x):
        print("printed")
        os.write(1, b"written\\n")
        print("to stderr", file=sys.stderr)
        logging.info("logged %s", 5)
        return x
""")
    assert sidecar.call(1).json == 1
    for line in ("printed", "written", "to stderr", "INFO root: logged 5"):
        sidecar.wait_line(line)
