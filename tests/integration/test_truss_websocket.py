"""WebSockets to a Python model.

Promised: one holds a permit while the model handles it, so the limit holds for them too; a client that closes, or
vanishes, is a disconnect for the model, after which the permit is back; an exception closes with 1011, a model
without a websocket method with 1003; a refusal is 403; subprotocols are the model's choice.

Shown: the `websockets` library as the client, directly and through the proxy.
"""

import asyncio

import pytest
import websockets

from support.truss import Served, truss
from support.waiting import eventually, patience

both = pytest.mark.parametrize("way", ["direct-h1", "proxy-h1"])

MODEL = """
    import stage

    class Model:
        async def websocket(self, websocket):
            if websocket.query_params.get("refuse"):
                await websocket.close(4000)
                return
            if websocket.scope["subprotocols"]:
                await websocket.accept(subprotocol=websocket.scope["subprotocols"][-1])
            stage.note("open", websocket.query_params.get("id"))
            try:
                async for text in websocket.iter_text():
                    if text == "raise":
                        raise RuntimeError("on request")
                    await websocket.send_text(text.upper())
            finally:
                stage.note("ended", websocket.query_params.get("id"))
"""


def url(served, query=""):
    return "ws://%s:%d/v1/websocket?%s" % (*served.address, query)


def connect(*arguments, **options):
    return websockets.connect(*arguments, open_timeout=patience(60), **options)


def run(conversation):
    asyncio.run(asyncio.wait_for(conversation, patience(90)))


async def soon(condition, what):
    await asyncio.to_thread(eventually, condition, what)


@both
def test_the_limit_holds_and_every_kind_of_end_gives_the_permit_back(tmp_path, way):
    served = Served(truss(tmp_path, MODEL, runtime={"predict_concurrency": 2}), way)

    async def talk():
        one = await connect(url(served, "id=1"))
        two = await connect(url(served, "id=2"))
        await one.send("a")
        assert await one.recv() == "A"
        await soon(lambda: served.gate() == (0, 2), "both hold a permit")
        waiting = asyncio.create_task(connect(url(served, "id=3")).__aenter__())
        await soon(lambda: served.gate() == (1, 2), "the third waits")
        await one.close()
        three = await waiting
        await three.send("c")
        assert await three.recv() == "C"
        two.transport.abort()
        await soon(lambda: served.gate() == (0, 1), "who vanished gave its permit back")
        await three.send("raise")
        with pytest.raises(websockets.ConnectionClosedError):
            await three.recv()
        assert three.close_code == 1011

    run(talk())
    for number in (1, 2, 3):
        served.stage.wait("ended", number)
    served.wait_idle()


@both
def test_subprotocols_and_refusals_are_the_models_choice(tmp_path, way):
    served = Served(truss(tmp_path, MODEL), way)

    async def talk():
        async with connect(url(served), subprotocols=["chat.v1", "chat.v2"]) as client:
            assert client.subprotocol == "chat.v2"
        with pytest.raises(websockets.InvalidStatusCode) as refused:
            await connect(url(served, "refuse=1"))
        assert refused.value.status_code == 403

    run(talk())
    served.wait_idle()


@both
def test_a_model_without_the_method_closes_with_1003(tmp_path, way):
    served = Served(truss(tmp_path, "class Model:\n    def predict(self, inputs):\n        return 1\n"), way)

    async def talk():
        async with connect(url(served)) as client:
            with pytest.raises(websockets.ConnectionClosedError):
                await client.recv()
            assert client.close_code == 1003

    run(talk())
    served.wait_idle()
    assert served.get("/v1/websocket").status in (400, 405, 426)
