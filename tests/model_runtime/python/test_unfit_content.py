"""What a model says, or a client through it, that no frame can carry.

Promised: content is never a broken protocol. The worker cleans and bounds what it sends; what still
does not fit fails that one call with 500 and a line in the log, and the next call runs in the same
process. (The fake sidecar refuses what the real one's parsers would.)
"""

import json

import pytest

from fake_sidecar import ACCEPT, CLOSE, HEAD, READY, RESPONSE, SEND, STREAM_ABORTED

SURROGATE = b'{"voice": "\\ud800"}'
MODEL_ERROR = {"error": "Internal Server Error (in model/chainlet)."}


def still_serves(sidecar):
    assert sidecar.call("next", operation="completions").json == "next"
    return sidecar.process.poll() is None


@pytest.mark.parametrize("form", ["", "async "])
@pytest.mark.parametrize("stage", ["preprocess", "predict", "postprocess"])
def test_half_a_character_in_an_exception(serve, form, stage):
    stages = {name: "return x" for name in ("preprocess", "predict", "postprocess")}
    stages[stage] = "raise ValueError('unknown voice: ' + x['voice'])"
    sidecar = serve(
        "class Model:\n    def completions(self, x): return x\n"
        + "".join(f"    {form}def {name}(self, x): {body}\n" for name, body in stages.items())
    )
    request = sidecar.invoke(SURROGATE, go=False)
    if stage != "preprocess":
        request.wait(READY)
        request.predict()
    done = request.done()
    assert (done.status, done.json) == (500, MODEL_ERROR)
    [log] = sidecar.logs()
    assert log["message"] == f"{stage} raised ValueError: unknown voice: \\ud800"
    assert "unknown voice" in log["traceback"]
    assert still_serves(sidecar)


STREAMS = """
class Model:
    {form}def predict(self, x):
        yield "first"
        raise ValueError(x["voice"])
    def completions(self, x): return x
"""


@pytest.mark.parametrize("form", ["", "async "])
def test_half_a_character_in_the_exception_of_a_stream(serve, form):
    sidecar = serve(STREAMS.format(form=form))
    assert sidecar.call(SURROGATE).kind == STREAM_ABORTED
    assert still_serves(sidecar)


@pytest.mark.parametrize("text", ["'\\U0001f600' * 1_000_000", "'\\0' * 1_000_000", "chr(0xD800) * 300_000"])
def test_an_exception_of_a_million_characters(serve, text):
    sidecar = serve(f"""
class Model:
    def predict(self, x): raise ValueError({text})
    def completions(self, x): return x
""")
    assert sidecar.call().status == 500
    assert sidecar.logs()[0]["message"].startswith("predict raised ValueError")
    assert still_serves(sidecar)


ODD_EXCEPTIONS = {
    "a text that raises": "class Odd(Exception):\n    def __str__(self): raise SystemExit(1)",
    "a syntax error with a number for text": (
        "def Odd():\n    error = SyntaxError('x')\n    error.text, error.filename = 5, 5\n"
        "    error.lineno, error.offset, error.end_offset = 1, 1, object()\n    return error"
    ),
    "a class that is asked": (
        "class Odd(Exception):\n    @property\n    def __class__(self): raise RuntimeError('no')"
    ),
}


@pytest.mark.parametrize("name", ODD_EXCEPTIONS)
@pytest.mark.parametrize("form", ["", "async "])
def test_an_exception_that_cannot_be_described(serve, name, form):
    sidecar = serve(f"""
import starlette.exceptions
{ODD_EXCEPTIONS[name]}
class Model:
    {form}def predict(self, x): raise Odd()
    def completions(self, x): return x
""")
    done = sidecar.call()
    assert (done.status, done.json) == (500, MODEL_ERROR)
    assert sidecar.logs()[0]["message"].startswith("predict raised")
    assert still_serves(sidecar)


@pytest.mark.parametrize("status", [-1, 0, 101, 199, 600, 999, 70_000, "None", "'word'"])
@pytest.mark.parametrize("form", ["Response(b'x', status_code={})", "StreamingResponse(iter([b'x']), status_code={})"])
def test_a_status_that_http_does_not_have(serve, form, status):
    sidecar = serve(f"""
from starlette.responses import Response, StreamingResponse
class Model:
    def predict(self, x): return {form.format(status)}
    def completions(self, x): return x
""")
    request = sidecar.invoke()
    done = request.done()
    assert (done.kind, done.status, done.json) == (RESPONSE, 500, MODEL_ERROR)
    assert not request.has(HEAD)
    assert sidecar.logs()[0]["message"].startswith("predict raised")
    assert still_serves(sidecar)


@pytest.mark.parametrize("status", [-1, 0, 199, 600, 70_000, "None", "'word'"])
def test_the_status_of_an_http_exception_that_http_does_not_have(serve, status):
    sidecar = serve(f"""
from starlette.exceptions import HTTPException
class Model:
    def predict(self, x): raise HTTPException(status_code={status}, detail="d")
    def completions(self, x): return x
""")
    done = sidecar.call()
    assert (done.status, done.json) == (500, MODEL_ERROR)
    assert still_serves(sidecar)


@pytest.mark.parametrize("detail", ["float('nan')", "chr(0xD800)", "{1: object()}", "Odd()", "deep"])
def test_the_detail_of_an_http_exception_that_json_does_not_have(serve, detail):
    sidecar = serve(f"""
from starlette.exceptions import HTTPException
class Odd:
    def __str__(self): raise KeyError(1)
deep = []
for _ in range(100_000): deep = [deep]
class Model:
    def predict(self, x): raise HTTPException(status_code=418, detail={detail})
    def completions(self, x): return x
""")
    done = sidecar.call()
    assert done.status in (418, 500) and "error" in json.loads(done.body)
    assert still_serves(sidecar)


HEADS = {
    "a megabyte": "[(b'x-a', b'v' * 1_000_000)]",
    "many": "[(b'x-%d' % n, b'v') for n in range(100_000)]",
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("form", ["Response(b'x')", "StreamingResponse(iter([b'x', b'y']))"])
def test_header_fields_that_are_too_long(serve, name, form):
    sidecar = serve(f"""
from starlette.responses import Response, StreamingResponse
class Model:
    def predict(self, x):
        response = {form}
        response.raw_headers = {HEADS[name]}
        return response
    def completions(self, x): return x
""")
    request = sidecar.invoke()
    assert request.done().status == 500 and not request.has(HEAD)
    assert "header fields of" in sidecar.logs()[0]["message"]
    assert still_serves(sidecar)


VALUES = {
    "a dict that another changes": (
        "class Changed(dict):\n    def items(self):\n"
        "        raise RuntimeError('dictionary changed size during iteration')",
        "{'a': Changed(b=1)}",
    ),
    "an object that leaves": (
        "class Leaves(dict):\n    def items(self): raise SystemExit(3)", "Leaves(a=1)"
    ),
    "a proxy of nothing": (
        "class Unbound:\n    @property\n    def __class__(self): raise RuntimeError('unbound')",
        "Unbound()",
    ),
    "a number of many digits": ("", "10 ** 5000"),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("stages", ["predict", "async predict", "postprocess", "async postprocess"])
def test_a_value_that_cannot_be_looked_at(serve, name, stages):
    definition, value = VALUES[name]
    form, stage = stages.removesuffix("postprocess").removesuffix("predict"), stages.split()[-1]
    other = "" if stage == "predict" else "    def predict(self, x): return x\n"
    sidecar = serve(
        f"{definition}\nclass Model:\n{other}    {form}def {stage}(self, x): return {value}\n"
        "    def completions(self, x): return x\n"
    )
    for _ in range(2):
        assert sidecar.call().status == 500
    assert len(sidecar.logs()) == 2
    assert still_serves(sidecar)


def test_an_answer_for_which_no_descriptor_is_left(serve):
    sidecar = serve("""
import resource
class Model:
    def predict(self, x):
        if x:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return "x" * 100_000
    def completions(self, x):
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return x
""")
    assert sidecar.call(True).status == 500
    assert "the answer cannot be passed on: OSError" in sidecar.logs()[0]["message"]
    assert still_serves(sidecar)
    assert len(sidecar.call(False).json) == 100_000


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("go", [False, True])
def test_a_body_for_which_no_descriptor_is_left(serve, go, binary):
    sidecar = serve("""
import resource
class Model:
    def completions(self, x):
        resource.setrlimit(resource.RLIMIT_NOFILE, (x, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return x
    def predict(self, x): return len(x)
""")
    assert sidecar.call(3, operation="completions").json == 3
    large = b"\xc5\xff\xff" + bytes(65535) if binary else json.dumps("y" * 100_000).encode()
    assert sidecar.call(large, by_descriptor=True, go=go, binary=binary).status == 500
    assert sidecar.call(100, operation="completions").json == 100
    assert sidecar.call(json.dumps("y" * 100_000).encode()).json == 100_000


SCHEMAS = {
    "nan": ("a: float = float('nan')", None),
    "infinity": ("a: float = float('inf')", None),
    "half a character": ("a: str = chr(0xD800)", "\\ud800"),
    "a date": (
        "model_config = {'json_schema_extra': {'d': datetime.date(2020, 1, 2)}}\n    a: int = 1", 1
    ),
    "an object": ("model_config = {'json_schema_extra': {'d': object()}}\n    a: int = 1", 1),
    "a key that is a tuple": ("model_config = {'json_schema_extra': {(1, 2): 3}}\n    a: int = 1", 1),
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_with_what_json_does_not_have(serve, name):
    fields, default = SCHEMAS[name]
    sidecar = serve(f"""
import datetime, pydantic
class Input(pydantic.BaseModel):
    {fields}
class Model:
    def predict(self, x: Input): return "ok"
""")
    schema = sidecar.schema()["input_schema"]
    if schema is not None:  # pydantic 1 has no schema for some
        assert schema["properties"]["a"].get("default") == default
    assert sidecar.call({}).json == "ok"


@pytest.mark.parametrize("text", ["'x' * 2_000_000", "'\\0' * 300_000", "'\"' * 600_000"])
def test_a_schema_that_is_too_long_is_not_offered(serve, text):
    sidecar = serve(f"""
import pydantic
class Input(pydantic.BaseModel):
    a: str = {text}
class Model:
    def predict(self, x: Input): return "ok"
""")
    assert sidecar.loaded()["schema"] is None
    assert "schema is not offered" in sidecar.logs()[0]["message"]
    assert sidecar.call({}).json == "ok"


@pytest.mark.parametrize("text", ["'x' * 2_000_000", "'\\0' * 1_000_000", "chr(0xDFFF)"])
def test_a_load_that_fails_with_a_text_that_no_frame_can_carry(start, text):
    sidecar = start(f"class Model:\n    def load(self): raise RuntimeError('why: ' + {text})\n"
                    "    def predict(self, x): pass\n",
                    environment={"NUM_LOAD_RETRIES_TRUSS": "0"})
    assert sidecar.load_error().startswith("Model.load failed: RuntimeError: why: ")


def test_is_healthy_raises_what_no_frame_can_carry(serve):
    sidecar = serve("""
class Model:
    def is_healthy(self): raise ValueError(chr(0xD800))
    def predict(self, x): return x
    def completions(self, x): return x
""")
    assert not sidecar.healthy()
    assert still_serves(sidecar)


WEBSOCKETS = {
    "half a character as subprotocol": "await ws.accept(subprotocol=chr(0xD800))",
    "a sentence as subprotocol": "await ws.accept(subprotocol='two words')",
    "a number as subprotocol": "await ws.accept(subprotocol=5)",
    "a line break in the subprotocol": "await ws.accept(subprotocol='a\\r\\nx: y')",
    "header fields beyond latin-1": "await ws.accept(headers=[(b'x-a', chr(0x3042))])",
    "header fields that are none": "await ws.accept(headers=[5])",
    "header fields that are too long": "await ws.accept(headers=[(b'x-a', b'v' * 2_000_000)])",
}


@pytest.mark.parametrize("name", WEBSOCKETS)
def test_a_websocket_that_cannot_be_accepted_so(serve, name):
    sidecar = serve(f"""
class Model:
    async def websocket(self, ws):
        if "good" in str(ws.url):
            await ws.send_text("fine")
            return
        {WEBSOCKETS[name]}
""")
    request = sidecar.invoke(b"", operation="websocket")
    done = request.done()
    assert (done.kind, done.status, done.json) == (RESPONSE, 500, MODEL_ERROR)
    assert not request.has(ACCEPT) and not request.has(CLOSE)
    assert sidecar.logs()[0]["message"].startswith("websocket raised")
    good = sidecar.invoke(b"", operation="websocket", meta={"path": "/good"})
    good.wait(SEND)
    good.done()


@pytest.mark.parametrize("act", [
    "await ws.send_text(chr(0xD800))",
    "await ws.close(70_000)", "await ws.close(-1)", "await ws.close(1005)", "await ws.close(5)",
    "await ws.close(1000, 5)", "await ws.send({'type': 'websocket.send', 'bytes': object()})",
])
def test_an_accepted_websocket_that_says_what_no_frame_can_carry(serve, act):
    sidecar = serve(f"""
class Model:
    async def websocket(self, ws):
        await ws.accept()
        {act}
""")
    request = sidecar.invoke(b"", operation="websocket")
    assert request.wait(CLOSE).payload[:2] == (1011).to_bytes(2, "little")
    assert request.done().outcome == 2
    assert len(sidecar.logs()) == 1
    sidecar.settle()
    assert sidecar.process.poll() is None


def test_a_task_that_a_websocket_left_behind_says_nothing_after_the_end(serve):
    sidecar = serve("""
import asyncio
class Model:
    async def websocket(self, ws):
        async def late():
            await asyncio.sleep(0)
            try:
                while True: await ws.receive_text()
            finally:
                try: await ws.send_text("late")
                finally: say("left")
        self.task = asyncio.create_task(late())
        await ws.send_text("hello")
        await ws.receive_text() if "stay" in str(ws.url) else None
""")
    for _ in range(20):
        request = sidecar.invoke(b"", operation="websocket")
        request.wait(SEND)
        request.message("to nobody")
        request.done()
    sidecar.wait_for(lambda: len([x for x in sidecar.lines if "left" in x]) == 20 or None, "the ends")
    sidecar.settle()
    assert sidecar.process.poll() is None


def test_a_loop_of_the_models_that_waited_for_the_departure_and_is_closed(serve):
    sidecar = serve("""
import asyncio
class Model:
    def predict(self, x, request):
        loop = asyncio.new_event_loop()
        task = loop.create_task(request.state.watch_disconnect())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        self.task = task
        say("closed")
        wait("gate")
        return 1
    def completions(self, x): return x
""")
    sidecar.gate("gate")
    request = sidecar.invoke()
    sidecar.wait_line("closed")
    request.cancel()
    sidecar.settle()
    sidecar.release("gate")
    request.done()
    assert still_serves(sidecar)


def test_a_header_value_is_bytes(serve):
    sidecar = serve("""
from starlette.responses import Response
class Model:
    def predict(self, x): return Response(b"x", headers={"x-name": chr(0xE9)})
""")
    assert sidecar.call().headers["x-name"] == "\u00e9"
