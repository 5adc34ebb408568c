"""Context variables: a request has a context of its own, the same in all of its stages, and no
thread keeps anything of it. Beside it: synchronous code may call back into the event loop."""

import itertools

import pytest

from fake_sidecar import READY

HEAD = """
import contextvars
tenant = contextvars.ContextVar("tenant", default="nobody")
def swap(value):
    before = tenant.get()
    tenant.set(value)
    return before
class Model:
"""

# Each answers with the tenant that it finds, and sets another one.
STAGES = {
    "predict": "def predict(self, x): return swap(x)",
    "async predict": "async def predict(self, x): return swap(x)",
    "coroutine": """
    def predict(self, x):
        async def answer(): return swap(x)
        return answer()""",
    "preprocess": """
    def preprocess(self, x): return swap(x)
    def predict(self, x): return x""",
    "async preprocess": """
    async def preprocess(self, x): return swap(x)
    def predict(self, x): return x""",
    "postprocess": """
    def predict(self, x): return x
    def postprocess(self, x): return swap(x)""",
    "async postprocess": """
    def predict(self, x): return x
    async def postprocess(self, x): return swap(x)""",
    "generator": "def predict(self, x): yield swap(x)",
    "async generator": "async def predict(self, x): yield swap(x)",
    "generator of an async predict": """
    async def predict(self, x): return (swap(each) for each in [x])""",
    "value that runs code when it is encoded": """
    def predict(self, x):
        import numpy
        class Array(numpy.ndarray):
            def tolist(self): return swap(x)
        return numpy.zeros(1).view(Array)""",
    "input type": """
    from pydantic import BaseModel
    class Input(BaseModel):
        from pydantic import validator
        a: str
        @validator("a")
        def check(cls, value): return swap(value)
    def predict(self, x: Input): return x.a""",
}


@pytest.mark.parametrize("concurrency", [1, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_no_request_sees_what_another_has_set(serve, stage, concurrency):
    code = HEAD + "    " + STAGES[stage] + "\n"
    sidecar = serve(code, concurrency=concurrency, preprocess_threads=1, postprocess_threads=1)
    first = "preprocess" in stage
    for turn in range(60):  # long enough for a predict to become short, and shared
        value = {"a": f"t{turn}"} if stage == "input type" else f"t{turn}"
        request = sidecar.invoke(value, go=not first)
        if first:
            request.wait(READY)
            request.predict()
        done = request.done()
        text = request.chunks() or done.body
        assert text.decode().strip('"') == "nobody", turn


def test_requests_that_overlap(serve):
    sidecar = serve(HEAD + "    def predict(self, x): return swap(x)\n", concurrency=2)
    requests = [sidecar.invoke(f"t{turn}") for turn in range(100)]
    assert {request.done().json for request in requests} == {"nobody"}


SYNC, ASYNC = "", "async "
FIRST = "{}def preprocess(self, x):\n        tenant.set(x)\n        return None"
SECOND = "{}def predict(self, _):\n        tenant.set(tenant.get() + '+')\n        return None"
LAST = "{}def postprocess(self, _):\n        return tenant.get()"


@pytest.mark.parametrize("kinds", itertools.product([SYNC, ASYNC], repeat=3))
def test_stages_of_one_request_share_its_context(serve, kinds):
    stages = [stage.format(kind) for stage, kind in zip([FIRST, SECOND, LAST], kinds)]
    sidecar = serve(HEAD + "".join(f"    {stage}\n" for stage in stages))
    for turn in range(30):
        request = sidecar.invoke(f"t{turn}", go=False)
        request.wait(READY)
        request.predict()
        assert request.done().json == f"t{turn}+"


@pytest.mark.parametrize("kind", [SYNC, ASYNC])
def test_a_generator_of_the_last_stage_has_it_too(serve, kind):
    sidecar = serve(f"""{HEAD}
    {kind}def preprocess(self, x):
        tenant.set(x)
        return x
    {kind}def predict(self, x):
        for _ in range(3):
            yield tenant.get()
            tenant.set(tenant.get() + "+")
""")
    for turn in range(3):
        request = sidecar.invoke(f"t{turn}", go=False)
        request.wait(READY)
        request.predict()
        request.done()
        assert request.chunks().decode() == f"t{turn}t{turn}+t{turn}++"


@pytest.mark.parametrize("task", ["later", "later_async"])
@pytest.mark.parametrize("kind", [SYNC, ASYNC])
def test_a_background_task_belongs_to_its_request(serve, kind, task):
    sidecar = serve(f"""
from starlette.responses import Response
from starlette.background import BackgroundTask
{HEAD}
    {kind}def predict(self, x):
        before = swap(x)
        return Response(before, background=BackgroundTask({task}))
def later(): say("background of " + swap("later"))
async def later_async(): later()
""")
    for turn in range(3):
        assert sidecar.call(f"t{turn}").body == b"nobody"
        sidecar.wait_line(f"background of t{turn}")


def test_websockets_have_contexts_too(serve):
    sidecar = serve(HEAD + """
    async def websocket(self, ws):
        await ws.send_text(swap("set"))
""")
    for _ in range(3):
        request = sidecar.invoke(b"", operation="websocket")
        request.done()
        assert b"nobody" in b"".join(frame.payload for frame in request.frames)


def test_is_healthy_leaves_nothing_behind(serve):
    sidecar = serve(HEAD + """
    def predict(self, x): return swap(x)
    def is_healthy(self): return swap("asked") == "nobody"
""")
    for turn in range(3):
        assert sidecar.healthy(turn + 1)
        assert sidecar.call("a").json == "nobody"


# Called from the event loop's point of view, from any thread that runs a synchronous stage.
CALLS_BACK = """
import anyio.from_thread
def back(x):
    async def doubled(value):
        await anyio.sleep(0)
        return 2 * value
    def set_it(): return swap("from the thread")
    anyio.from_thread.run_sync(set_it)
    return anyio.from_thread.run(doubled, x)
"""


@pytest.mark.parametrize(
    "stages",
    {
        "predict": "def predict(self, x): return back(x)",
        "short": "def predict(self, x): return back(x) if x > 40 else 2 * x",
        "preprocess": """
    def preprocess(self, x): return back(x)
    def predict(self, x): return x""",
        "postprocess": """
    def predict(self, x): return x
    def postprocess(self, x): return back(x)""",
        "generator": "def predict(self, x): yield str(back(x))",
        "generator of an async predict": """
    async def predict(self, x): return (str(back(each)) for each in [x])""",
        "run_in_threadpool": """
    async def predict(self, x):
        from starlette.concurrency import run_in_threadpool
        return await run_in_threadpool(back, x)""",
        "both ways": """
    def predict(self, x):
        from starlette.concurrency import run_in_threadpool
        return anyio.from_thread.run(run_in_threadpool, back, x)""",
    }.items(),
    ids=lambda item: item[0],
)
def test_synchronous_stages_reach_the_event_loop(serve, stages):
    name, code = stages
    sidecar = serve(CALLS_BACK + HEAD + f"    {code}\n")
    for turn in range(50):
        request = sidecar.invoke(turn, go=name != "preprocess")
        if name == "preprocess":
            request.wait(READY)
            request.predict()
        done = request.done()
        assert int(request.chunks() or done.body) == 2 * turn, sidecar.logs()


def test_is_healthy_reaches_the_event_loop(serve):
    sidecar = serve(CALLS_BACK + HEAD + """
    def predict(self, x): return x
    def is_healthy(self): return back(1) == 2
""")
    assert sidecar.healthy()
