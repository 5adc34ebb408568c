"""What a client is told when something goes wrong, and what the log is told.

Promised: bodies, headers and codes as Truss has them; the traceback only in the log; one failing
request hurts no other.
"""

import pytest

from fake_sidecar import ENDED, HEAD, READY, RESPONSE, STARTED, STREAM_ABORTED

MODEL_ERROR = {"error": "Internal Server Error (in model/chainlet)."}


def codes(done):
    return done.status, done.headers["x-baseten-error-source"], done.headers["x-baseten-error-code"]


FAILING = {
    "sync": "def predict(self, x): raise ValueError('bad thing')",
    "async": "async def predict(self, x): raise ValueError('bad thing')",
    "generator": """
    def predict(self, x):
        raise ValueError('bad thing')
        yield""",
    "async generator": """
    async def predict(self, x):
        raise ValueError('bad thing')
        yield""",
}


@pytest.mark.parametrize("form", FAILING)
@pytest.mark.parametrize("gather", [False, True])
def test_an_exception_in_predict(serve, form, gather):
    sidecar = serve(f"class Model:\n    {FAILING[form]}\n    def completions(self, x): return x\n")
    request = sidecar.invoke(gather=gather)
    done = request.done()
    assert (done.kind, done.outcome) == (RESPONSE, 2)
    assert codes(done) == (500, "04", "600") and done.json == MODEL_ERROR
    assert not request.has(HEAD) and request.has(ENDED)
    [log] = sidecar.logs()
    assert log["level"] == "error" and log["message"] == "predict raised ValueError: bad thing"
    assert log["request_id"] == "r1"
    assert "model.py" in log["traceback"] and "ValueError: bad thing" in log["traceback"]
    assert "penstock_worker" not in log["traceback"]
    assert sidecar.call(5, operation="completions").json == 5


@pytest.mark.parametrize("prefix", ["", "async "])
@pytest.mark.parametrize("stage", ["preprocess", "postprocess"])
def test_an_exception_in_another_stage(serve, prefix, stage):
    methods = {"preprocess": "return x", "predict": "return x", "postprocess": "return x"}
    methods[stage] = "raise KeyError('k')"
    sidecar = serve(
        "class Model:\n"
        + "".join(f"    {prefix}def {name}(self, x): {body}\n" for name, body in methods.items())
    )
    request = sidecar.invoke(1, go=False)
    if stage == "postprocess":
        request.wait(READY)
        request.predict()
    done = request.done()
    assert codes(done) == (500, "04", "600") and done.json == MODEL_ERROR and done.outcome == 2
    assert request.has(STARTED) is (stage == "postprocess")
    assert sidecar.logs()[0]["message"] == f"{stage} raised KeyError: 'k'"


@pytest.mark.parametrize("prefix", ["", "async "])
@pytest.mark.parametrize("leave", ["sys.exit(3)", "raise KeyboardInterrupt"])
def test_leaving_the_process_is_an_exception_like_any_other(serve, prefix, leave):
    sidecar = serve(f"""
import sys
class Model:
    {prefix}def predict(self, x):
        if x: {leave}
        return x
""")
    assert codes(sidecar.call(1)) == (500, "04", "600")
    assert sidecar.call(0).json == 0


def test_http_exception_keeps_status_and_detail(serve):
    sidecar = serve("""
import fastapi
class Model:
    def predict(self, x):
        raise fastapi.HTTPException(status_code=x, detail={"why": "so"})
""")
    done = sidecar.call(418)
    assert codes(done) == (418, "04", "600") and done.json == {"error": {"why": "so"}}
    assert done.outcome == 1
    assert sidecar.call(503).outcome == 2


BAD_BODIES = {
    "no JSON": (b"{'a': 1}", "Invalid JSON payload: Expecting property name"),
    "empty": (b"", "Invalid JSON payload: Expecting value"),
    "two values": (b"1 2", "Invalid JSON payload: Extra data"),
    "invalid UTF-8": (b'"\xff\xfe\xfd\xfc"', "Invalid JSON payload: "),
    "lone surrogate": (b'"\xed\xa0\x80"', "Invalid JSON payload: "),
    "deep": (b"[" * 60_000 + b"]" * 60_000, "Invalid JSON payload: nested too deep"),
    "deep object": (
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        "Invalid JSON payload: nested too deep",
    ),
    "many digits": (b"1" * 5000, "Invalid JSON payload: "),
}


@pytest.mark.parametrize("name", BAD_BODIES)
@pytest.mark.parametrize("go", [True, False])
@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_body_that_is_no_json(serve, name, go, prefix):
    body, message = BAD_BODIES[name]
    sidecar = serve(f"class Model:\n    {prefix}def predict(self, x): return x\n")
    done = sidecar.call(body, go=go)
    assert codes(done) == (400, "04", "700") and done.outcome == 1
    assert done.json["error"].startswith(message)
    assert sidecar.call(2).json == 2


def test_unusual_json_that_python_reads(serve):
    sidecar = serve("class Model:\n    def predict(self, x): return repr(x)\n")
    assert sidecar.call(b'{"a": 1, "a": 2}').json == "{'a': 2}"
    assert sidecar.call(b"[NaN, -Infinity]").json == "[nan, -inf]"
    assert sidecar.call('"é"'.encode("utf-16")).json == "'é'"
    assert sidecar.call('"é"'.encode("utf-8-sig")).json == "'é'"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x92\x01",
        b"\xc1",
        b"\x01\x01",
        b"\x81\x01\x02",
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
        b"\xa2\xff\xff",
    ],
)
def test_a_body_that_is_no_msgpack(serve, body):
    sidecar = serve("class Model:\n    def predict(self, x): return x\n")
    done = sidecar.call(body, binary=True)
    assert codes(done) == (400, "04", "700")
    start, what = done.json["error"].split(": ", 1)
    assert start == "Invalid msgpack payload" and what, "says what is wrong"


@pytest.mark.parametrize("go", [True, False])
@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_validator_that_fails_otherwise(serve, go, prefix):
    sidecar = serve(f"""
import pydantic
class Special(str):
    @classmethod
    def __get_validators__(cls): yield cls.check
    @classmethod
    def __get_pydantic_core_schema__(cls, *_):
        from pydantic_core import core_schema
        return core_schema.no_info_plain_validator_function(cls.check)
    @classmethod
    def check(cls, value): raise RuntimeError("validator")
class Input(pydantic.BaseModel):
    name: Special
class Model:
    {prefix}def predict(self, x: Input): return 1
""")
    assert codes(sidecar.call({"name": "a"}, go=go)) == (500, "04", "600")
    assert codes(sidecar.call({}, go=go)) == (400, "04", "700")


def test_a_response_without_what_a_response_has(serve):
    sidecar = serve("""
from starlette.responses import Response
class Odd(Response):
    def __init__(self): pass
class Model:
    def predict(self, x): return Odd() if x else 0
""")
    assert codes(sidecar.call(1)) == (500, "04", "600")
    assert sidecar.call(0).json == 0


def test_results_that_have_no_json(serve):
    sidecar = serve("""
class Model:
    def predict(self, x): return [object(), {1, 2}, b"bytes"][x]
""")
    for index, name in enumerate(["object", "set", "bytes"]):
        done = sidecar.call(index)
        assert codes(done) == (500, "04", "500") and done.outcome == 2
        assert done.json["error"] == (
            "Unhandled exception: TypeError: " f"Object of type {name} is not JSON serializable"
        )


def test_a_result_that_contains_itself(serve):
    sidecar = serve(
        "class Model:\n    def predict(self, x):\n        x = []\n        x.append(x)\n"
        "        return x\n"
    )
    assert codes(sidecar.call()) == (500, "04", "500")
    assert codes(sidecar.call()) == (500, "04", "500")


@pytest.mark.parametrize(
    "predict",
    [
        'def predict(self, x): yield "a"',
        'async def predict(self, x): yield "a"',
        "def predict(self, x): return Response('a')",
        "async def predict(self, x): return StreamingResponse(iter('a'))",
    ],
)
def test_postprocess_cannot_follow_a_stream_or_a_response(serve, predict):
    sidecar = serve(f"""
from starlette.responses import Response, StreamingResponse
class Model:
    {predict}
    def postprocess(self, x): return x
""")
    for _ in range(2):
        request = sidecar.invoke()
        assert codes(request.done()) == (500, "04", "600") and request.done().json == MODEL_ERROR
        assert not request.has(HEAD)
    assert "postprocess" in sidecar.logs()[0]["message"]


@pytest.mark.parametrize("prefix", ["", "async "])
def test_a_failure_in_the_middle_of_a_stream_is_told(serve, prefix):
    sidecar = serve(f"""
class Model:
    {prefix}def predict(self, x):
        yield "one"
        yield "two"
        raise ValueError("broken")
""")
    request = sidecar.invoke()
    done = request.done()
    assert (done.kind, done.outcome, done.status) == (STREAM_ABORTED, 2, 0)
    assert request.chunks() == b"onetwo"
    assert sidecar.logs()[0]["message"] == "predict raised ValueError: broken while it streamed"
    assert codes(sidecar.call(gather=True)) == (500, "04", "600")


def test_chunks_that_are_neither_text_nor_bytes(serve):
    sidecar = serve(
        "class Model:\n    def predict(self, x):\n        if x: yield 'a'\n        yield 5\n"
    )
    assert codes(sidecar.call(0)) == (500, "04", "600")
    assert sidecar.call(1).kind == STREAM_ABORTED
    assert sidecar.call(1, gather=True).json == "a5"
