"""examples/fastapi_chat: a real FastAPI application under uvicorn behind the gate.

Promised: it needs no change; its streams pass as they come; a client that leaves is noticed by the application.

Shown: the example itself, started by the sidecar on a free port.
"""

import json
import shutil

import pytest
import yaml

from support.h1_client import H1Client, fetch
from support.h2_client import H2Client
from support.model_servers import free_port
from support.models import EXAMPLES
from support.programs import Sidecar
from support.waiting import equals

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
CHAT = "/v1/chat/completions"


@pytest.fixture
def start(tmp_path):
    def make(word_seconds):
        model = tmp_path / "chat"
        shutil.copytree(EXAMPLES / "fastapi_chat", model)
        config = yaml.safe_load((model / "config.yaml").read_text(encoding="utf-8"))
        port = free_port()
        config["environment_variables"]["WORD_SECONDS"] = str(word_seconds)
        server = config["docker_server"]
        server["server_port"] = port
        server["start_command"] = server["start_command"].replace("8000", str(port))
        (model / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return Sidecar(model)
    return make


def body(text, stream=False):
    return json.dumps({"messages": [{"role": "user", "content": text}], "stream": stream}).encode()


def running(sidecar):
    return fetch(sidecar.address, "GET", "/v1/models").json()["running"]


def test_chat_through_every_path(start):
    sidecar = start(0.001)
    for path in (CHAT, "/predict", "/v1/models/parrot:predict"):
        answer = fetch(sidecar.address, "POST", path, body=body("a b c"))
        assert answer.json()["choices"][0]["message"]["content"] == "a b c"
    assert fetch(sidecar.address, "GET", "/v1/models/parrot").json() == {"status": "ok"}
    assert fetch(sidecar.address, "GET", "/").json() == {"status": "ok"}
    assert fetch(sidecar.address, "POST", CHAT, body=b"{").status == 500, "as the server says"


def test_streams_pass_word_by_word_two_at_a_time(start):
    sidecar = start(0.3)
    text = " ".join(["word"] * 8)
    with H2Client(sidecar.address) as client:
        streams = [client.request("POST", CHAT, body=body(text, stream=True)) for _ in range(4)]
        for stream in streams[:2]:
            stream.data(20)
            assert stream.answer.header("content-type").startswith("text/event-stream")
            assert b"[DONE]" not in stream.answer.body
        assert running(sidecar) == 2
        assert (sidecar.metric("penstock_gate_waiting"),
                sidecar.metric("penstock_gate_in_predict")) == (2, 2)
        for stream in streams:
            assert bytes(stream.response().body).endswith(b"data: [DONE]\n\n")
            assert stream.answer.body.count(b"word") == 8


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_the_application_notices_that_a_client_has_gone(start, client_class):
    sidecar = start(0.05)
    client = client_class(sidecar.address)
    client.request("POST", CHAT, body=body("word " * 10000, stream=True))
    equals(lambda: running(sidecar), 1)
    client.close(abrupt=True)
    equals(lambda: running(sidecar), 0)
    equals(lambda: sidecar.metric("penstock_gate_in_predict"), 0)
