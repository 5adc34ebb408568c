"""Starlette's responses, returned by a model.

Promised: passed on as they are, marked with Truss's headers from 300 on; a streaming one holds its
lane until its last byte; background tasks run after the answer.
"""

import pytest

from fake_sidecar import CANCELLED, DONE, ENDED, HEAD, RESPONSE, STREAM_ABORTED, STREAM_ENDED

MODEL = """
import asyncio
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
class Model:
    {prefix}def predict(self, x):
        return {value}
"""


@pytest.fixture(params=["", "async "])
def returning(serve, request):
    return lambda value, **options: serve(
        MODEL.format(prefix=request.param, value=value), **options
    )


def test_a_plain_response(returning):
    sidecar = returning("PlainTextResponse('text', status_code=202, headers={'X-A': 'b'})")
    done = sidecar.call()
    assert (done.kind, done.outcome, done.status, done.body) == (RESPONSE, 0, 202, b"text")
    assert done.headers == {"x-a": "b", "content-type": "text/plain; charset=utf-8"}


@pytest.mark.parametrize("status, outcome", [(302, 0), (404, 1), (503, 2)])
def test_a_response_that_is_an_error_is_marked(returning, status, outcome):
    done = returning(f"JSONResponse({{'a': 1}}, status_code={status})").call()
    assert (done.status, done.outcome, done.json) == (status, outcome, {"a": 1})
    assert done.headers["x-baseten-error-code"] == "700"
    assert done.headers["x-baseten-error-source"] == "04"


def test_a_streaming_response(returning):
    sidecar = returning("StreamingResponse(iter(['a', b'b']), media_type='text/event-stream')")
    request = sidecar.invoke()
    done = request.done()
    assert (done.kind, done.outcome) == (STREAM_ENDED, 0)
    assert request.head() == (200, {"content-type": "text/event-stream; charset=utf-8"})
    assert request.chunks() == b"ab"
    kinds = [frame.kind for frame in request.frames]
    assert kinds.index(ENDED) > kinds.index(HEAD)
    assert kinds[-1] == DONE
    assert sidecar.invoke().done().kind == STREAM_ENDED


def test_a_streaming_response_that_fails_before_and_after_its_first_chunk(serve):
    sidecar = serve("""
from starlette.responses import StreamingResponse
async def chunks(x):
    if x: yield "a"
    raise ValueError("broken")
class Model:
    def predict(self, x): return StreamingResponse(chunks(x))
""")
    assert sidecar.call(0).status == 500
    request = sidecar.invoke(1)
    assert request.done().kind == STREAM_ABORTED and request.chunks() == b"a"


def test_a_background_task_runs_after_the_answer(serve):
    sidecar = serve("""
from starlette.background import BackgroundTask
from starlette.responses import Response
class Model:
    def predict(self, x):
        return Response(b"now", background=BackgroundTask(self.later))
    def later(self):
        wait("later")
        say("the task has run")
    def completions(self, x): return x
""")
    sidecar.gate("later")
    done = sidecar.call()
    assert (done.kind, done.body) == (RESPONSE, b"now")
    assert sidecar.call(3, operation="completions").json == 3
    assert not sidecar.has_line("the task has run")
    sidecar.release("later")
    sidecar.wait_line("the task has run")


def test_a_cancelled_streaming_response_is_closed(serve):
    sidecar = serve("""
import asyncio
from starlette.responses import StreamingResponse
async def chunks():
    try:
        yield "a"
        await asyncio.Event().wait()
    finally:
        say("closed")
class Model:
    def predict(self, x): return StreamingResponse(chunks())
""")
    request = sidecar.invoke()
    request.head()
    request.cancel()
    assert request.done().kind == CANCELLED
    sidecar.wait_line("closed")


def test_a_response_from_postprocess(serve):
    sidecar = serve("""
from starlette.responses import Response, StreamingResponse
class Model:
    def predict(self, x): return x
    def postprocess(self, x): return StreamingResponse(iter("ab")) if x else Response("whole")
""")
    assert sidecar.call(0).body == b"whole"
    request = sidecar.invoke(1)
    assert request.done().kind == STREAM_ENDED and request.chunks() == b"ab"
