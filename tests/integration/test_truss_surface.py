"""The surface of a Truss as its clients know it.

Promised: the routes, methods and content types of Truss; arguments in each of its forms; a request of another
form is answered with Truss's own body and its two headers: the model at fault is 500 with a constant text and
the traceback in the log only, an HTTPException keeps its status and detail, a Response is passed on, a body
that is no JSON or not what the type says is 400, a method that is not there 404.

Shown: models of a few lines, over both protocols, directly.
"""

import json

import msgpack
import numpy
import pytest

from support.truss import Served, truss

both = pytest.mark.parametrize("way", ["direct-h1", "direct-h2"])
CONSTANT = "Internal Server Error (in model/chainlet)."

SURFACE = """
    import fastapi
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, StreamingResponse

    class Model:
        def predict(self, inputs, request: Request):
            what = inputs["do"]
            if what == "raise":
                raise ValueError("secret detail")
            if what == "http":
                raise fastapi.HTTPException(status_code=429, detail="come back later")
            if what == "response":
                return PlainTextResponse("teapot", status_code=inputs["status"], headers={"x-own": "1"})
            if what == "stream":
                return StreamingResponse(iter([b"a", b"b"]), media_type="text/plain")
            if what == "chunks":
                return (word for word in ("one ", "two ", "three"))
            return {"header": request.headers.get("x-own"), "query": request.query_params.get("q"),
                    "method": request.method, "path": request.url.path}

        async def chat_completions(self, request: Request):
            return {"raw": (await request.body()).decode()}
"""


@pytest.fixture(scope="module", params=["direct-h1", "direct-h2"])
def surface(request, tmp_path_factory):
    served = Served(truss(tmp_path_factory.mktemp("surface"), SURFACE), request.param)
    yield served
    assert not served.sidecar.finish()


def ask(served, what, headers=(), path="/v1/models/t:predict", **fields):
    return served.fetch(json.dumps({"do": what, **fields}).encode(), path, headers)


def is_truss_error(answer, status, code, message=None):
    assert answer.status == status, answer
    assert answer.header("x-baseten-error-source") == "04"
    assert answer.header("x-baseten-error-code") == str(code)
    if message is not None:
        assert answer.json() == {"error": message}
    return True


def test_the_get_routes(surface):
    assert surface.get("/").body == b"true"
    for path in ("/v1/models/t", "/v1/models/anything", "/v1/models/t/loaded", "/ping"):
        answer = surface.get(path)
        assert (answer.status, answer.body) == (200, b"{}"), path
    assert surface.get("/metrics").status == 200
    assert surface.get("/v1/models/t/schema").status in (200, 404)
    assert surface.get("/nothing").status == 404
    refused = surface.get("/v1/models/t:predict")
    assert (refused.status, refused.header("allow")) == (405, "POST")


@pytest.mark.parametrize("path", ["/v1/models/t:predict", "/v1/models/other:predict", "/invocations",
                                  "/v1/models/t:predict?q=1"])
def test_the_predict_routes_and_the_request_object(surface, path):
    answer = ask(surface, "tell", [("x-own", "here")], path)
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert answer.json() == {"header": "here", "query": "1" if "?" in path else None,
                             "method": "POST", "path": path.partition("?")[0]}


def test_an_exception_of_the_model_is_a_constant_text_and_a_traceback_in_the_log(surface):
    answer = ask(surface, "raise", [("x-request-id", "find-me")])
    assert is_truss_error(answer, 500, 600, CONSTANT)
    event = surface.sidecar.wait_log("predict raised ValueError: secret detail", request_id="find-me")
    assert "model.py" in event["traceback"] and "penstock_worker" not in event["traceback"]


def test_an_http_exception_keeps_its_status_and_detail(surface):
    assert is_truss_error(ask(surface, "http"), 429, 600, "come back later")


def test_a_response_is_passed_on_and_marked_if_it_is_no_success(surface):
    good = ask(surface, "response", status=201)
    assert (good.status, good.body, good.header("x-own")) == (201, b"teapot", "1")
    assert good.header("content-type").startswith("text/plain")
    assert good.header("x-baseten-error-code") is None
    bad = ask(surface, "response", status=418)
    assert is_truss_error(bad, 418, 700) and bad.body == b"teapot"


def test_generators_and_streaming_responses(surface):
    assert ask(surface, "chunks").body == b"one two three"
    streamed = ask(surface, "stream")
    assert (streamed.body, streamed.header("content-type")) == (b"ab", "text/plain; charset=utf-8")


def test_accept_json_gathers_a_generator_unless_openai_asks(surface):
    accept = ("accept", "application/json")
    gathered = ask(surface, "chunks", [accept])
    assert gathered.json() == "one two three"
    assert gathered.header("content-type") == "application/json"
    streamed = ask(surface, "chunks", [accept, ("user-agent", "AsyncOpenAI/Python 1.30")])
    assert streamed.body == b"one two three"


TYPED = """
    import pydantic

    class Words(pydantic.BaseModel):
        words: list[str]
        times: int = 1

    class Said(pydantic.BaseModel):
        said: str

    class Model:
        async def predict(self, inputs: Words) -> Said:
            return Said(said=" ".join(inputs.words * inputs.times))
"""


@both
def test_pydantic_types_are_checked(tmp_path, way):
    served = Served(truss(tmp_path, TYPED), way)
    good = served.fetch(b'{"words": ["a", "b"], "times": 2}')
    assert good.json() == {"said": "a b a b"}
    bad = served.fetch(b'{"words": "a"}')
    assert is_truss_error(bad, 400, 700)
    assert "words" in bad.json()["error"]


def test_a_model_that_takes_only_the_request_gets_any_body(surface):
    assert surface.fetch(b"not json \xc3\xa9", "/v1/chat/completions").json() == {"raw": "not json é"}


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": }', b"[1] 2"])
def test_what_is_no_json_is_400(surface, body):
    answer = surface.fetch(body)
    assert is_truss_error(answer, 400, 700)
    assert answer.json()["error"].startswith("Invalid JSON payload")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/messages", "/v1/responses"])
def test_a_method_that_is_not_there_is_404(surface, path):
    assert is_truss_error(surface.fetch(b"{}", path), 404, 700)


BINARY = """
    import datetime
    import decimal
    import uuid
    import numpy

    class Model:
        def predict(self, inputs):
            if "array" in inputs:
                return {"twice": inputs["array"] * 2, "kind": str(inputs["array"].dtype)}
            return {"array": numpy.arange(3), "scalar": numpy.float32(1.5)}
"""


def numpy_to(value):
    if isinstance(value, numpy.ndarray):
        return {b"nd": True, b"type": value.dtype.str, b"kind": b"", b"shape": value.shape,
                b"data": value.tobytes()}
    raise TypeError(type(value))


def numpy_from(value):
    if b"nd" in value:
        array = numpy.frombuffer(value[b"data"], dtype=numpy.dtype(value[b"type"].decode()
                                 if isinstance(value[b"type"], bytes) else value[b"type"]))
        return array.reshape(value[b"shape"]) if value[b"nd"] else array[0]
    return value


def decoded(data):
    return msgpack.unpackb(data, object_hook=numpy_from, raw=True)


@both
def test_msgpack_with_numpy_in_and_out(tmp_path, way):
    served = Served(truss(tmp_path, BINARY), way)
    array = numpy.arange(12, dtype=numpy.float32).reshape(3, 4)
    octets = [("content-type", "application/octet-stream")]
    body = msgpack.packb({"array": array}, default=numpy_to)
    for path in ("/v1/models/t:predict", "/v1/models/t:predict_binary"):
        answer = served.fetch(body, path, octets)
        assert answer.status == 200, answer
        assert answer.header("content-type") == "application/octet-stream"
        values = decoded(bytes(answer.body))
        assert values[b"kind"] == b"float32"
        assert numpy.array_equal(values[b"twice"], array * 2)
    assert served.fetch(b"{}").json() == {"array": [0, 1, 2], "scalar": 1.5}
    broken = served.fetch(body[:-3], headers=octets)
    assert is_truss_error(broken, 400, 700)
