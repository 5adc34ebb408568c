"""The examples, spoken to by the clients that people use.

Promised: examples/truss_* do what their docstrings say, with curl, requests, httpx (HTTP/1.1 and HTTP/2), the
openai package (streaming and not) and a WebSocket client; directly and through the proxy.

Shown: those very programs and libraries. openai comes from PyPI: scripts/setup.sh --test puts it into
build/test-venv.
"""

import asyncio
import json
import pathlib
import subprocess

import httpx
import msgpack
import numpy
import pytest
import requests
import websockets

from support.programs import SOURCE
from support.truss import Served, example
from support.waiting import patience
from test_truss_surface import decoded, numpy_to

VENV = SOURCE / "build" / "test-venv" / "bin" / "python"


def served_example(name):
    """A fixture: the example in each of the ways, for all tests of this file."""
    @pytest.fixture(scope="module", params=["direct-h1", "proxy-h1"], name=name)
    def serve(request, tmp_path_factory):
        served = Served(example(tmp_path_factory.mktemp(name), f"truss_{name}"), request.param)
        yield served
        for program in (served.proxy, served.sidecar):
            assert program is None or not program.finish()
    return serve


sentiment, similarity, chat, echo = map(served_example, ("sentiment", "similarity", "chat", "echo"))


def url(served, path, scheme="http"):
    return "%s://%s:%d%s" % (scheme, *served.address, path)


@pytest.mark.parametrize("version", ["--http1.1", "--http2-prior-knowledge"])
def test_curl(sentiment, version):
    said = subprocess.run(
        ["curl", "-sS", version, "-d", '{"text": ["What a wonderful day", "not good", "a day"]}',
         url(sentiment, "/v1/models/sentiment:predict")],
        capture_output=True, timeout=patience(20), check=True).stdout
    assert json.loads(said) == {"predictions": [{"label": "positive", "score": 3},
                                                {"label": "negative", "score": -1},
                                                {"label": "neutral", "score": 0}]}


def test_requests_keeps_its_connection(sentiment):
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(url(sentiment, "/predict"), json={"text": "I love it"}, timeout=patience(20))
            assert answer.json()["predictions"][0]["label"] == "positive"
        bad = session.post(url(sentiment, "/predict"), data=b"{", timeout=patience(20))
        assert bad.status_code == 400 and bad.headers["X-BASETEN-ERROR-CODE"] == "700"


@pytest.mark.parametrize("http2", [False, True])
def test_httpx_many_at_a_time(sentiment, http2):

    async def talk():
        async with httpx.AsyncClient(http2=http2, http1=not http2, timeout=patience(30)) as client:
            answers = await asyncio.gather(*(
                client.post(url(sentiment, "/predict"), json={"text": "bad " * number})
                for number in range(1, 33)))
        assert {answer.http_version for answer in answers} == {"HTTP/2" if http2 else "HTTP/1.1"}
        return [answer.json()["predictions"][0]["score"] for answer in answers]

    assert asyncio.run(talk()) == [-number for number in range(1, 33)]


def test_numpy_arrays_over_msgpack(similarity):
    vectors = numpy.eye(4, dtype=numpy.float32)
    query = numpy.array([0, 3, 4, 0], dtype=numpy.float32)
    answer = requests.post(
        url(similarity, "/v1/models/similarity:predict_binary"), timeout=patience(20),
        data=msgpack.packb({"vectors": vectors, "query": query, "top": 2}, default=numpy_to),
        headers={"content-type": "application/octet-stream"})
    values = decoded(answer.content)
    assert values[b"nearest"].tolist() == [2, 1]
    assert numpy.allclose(values[b"similarity"], [0.8, 0.6])
    as_json = requests.post(url(similarity, "/predict"), timeout=patience(20),
                            json={"vectors": vectors.tolist(), "query": query.tolist()}).json()
    assert as_json["nearest"] == [2]


OPENAI = """
import asyncio, sys
import openai

def chat(client, **options):
    return client.chat.completions.create(
        model="parrot", messages=[{"role": "user", "content": "how are you"}], **options)

with openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0) as client:
    answer = chat(client)
    assert answer.choices[0].message.content == "You said: how are you", answer
    assert answer.usage.completion_tokens == 5, answer
    chunks = list(chat(client, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "You said: how are you", chunks
    assert len(chunks) == 7 and chunks[-1].choices[0].finish_reason == "stop", chunks
    try:
        client.embeddings.create(model="parrot", input="x")
        raise SystemExit("embeddings: expected an error")
    except openai.NotFoundError as error:
        assert "embeddings" in str(error), error

async def many():
    async with openai.AsyncOpenAI(base_url=sys.argv[1], api_key="none", max_retries=0) as client:
        async def one(number):
            stream = await client.chat.completions.create(
                model="parrot", stream=True, max_tokens=4,
                messages=[{"role": "user", "content": f"number {number} of many"}])
            return "".join([c.choices[0].delta.content or "" async for c in stream])
        said = await asyncio.gather(*(one(number) for number in range(8)))
        assert said == [f"You said: number {number}" for number in range(8)], said

asyncio.run(many())
print("all is well")
"""


def test_the_openai_package_against_the_chat_example(chat):
    assert pathlib.Path(VENV).exists(), f"{VENV} is missing: scripts/setup.sh --test makes it"
    done = subprocess.run([VENV, "-c", OPENAI, url(chat, "/v1")], capture_output=True, text=True,
                          timeout=patience(60), check=False)
    assert done.stdout == "all is well\n", done.stderr
    assert done.returncode == 0, done.stderr


def test_server_sent_events_come_as_they_are_made(chat):
    body = {"stream": True, "messages": [{"role": "user", "content": "a b"}]}
    with requests.post(url(chat, "/v1/chat/completions"), json=body, stream=True,
                       timeout=patience(20)) as answer:
        events = [line for line in answer.iter_lines() if line]
    assert events[-1] == b"data: [DONE]"
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == [
        "", "You", " said:", " a", " b", None]
    assert requests.post(url(chat, "/predict"), json={"text": "a"},
                         timeout=patience(20)).json() == {"text": "You said: a"}


def test_a_websocket_client(echo):

    async def talk():
        async with websockets.connect(url(echo, "/v1/websocket", "ws"), max_size=None,
                                      open_timeout=patience(60)) as client:
            await client.send("hello")
            assert await client.recv() == "1: hello"
            for size in (0, 125, 126, 70_000, 1 << 20):
                await client.send(b"x" * size)
                assert await client.recv() == b"x" * size
            await (await client.ping())
            await client.send("bye")
            assert await client.recv() == "bye after 7 messages"
            await client.wait_closed()
            assert client.close_code == 1000

    asyncio.run(asyncio.wait_for(talk(), patience(90)))
    echo.wait_idle()
