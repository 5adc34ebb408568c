"""One form of errors for each kind of route, whoever makes the error.

Promised: on OpenAI's routes an error is OpenAI's, on Anthropic's it has their type beside that, on Truss's it is
Truss's with its two fields: for a wrong method as for a failed model, and in front of a model server as with a
Truss. A gRPC client of the sidecar gets a status.

Shown: a Truss and a model server that fail in each way, and what their clients read.
"""

import pytest

from support.h1_client import H1Client
from support.h2_client import H2Client
from support.model_servers import CHAT, attached_model
from support.programs import Sidecar
from support.truss import Served, truss
from support.waiting import equals

OPENAI = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"]
TRUSS = ["/v1/models/t:predict", "/v1/models/t%3Apredict/", "/predict", "/invocations"]
JSON = [("content-type", "application/json")]

MODEL = """
    import os

    import fastapi
    import stage

    class Model:
        def predict(self, inputs):
            what = inputs["do"]
            if what == "raise":
                raise ValueError("secret")
            if what == "http":
                raise fastapi.HTTPException(status_code=429, detail="later")
            if what == "exit":
                os._exit(3)
            if what == "set":
                return {1, 2}
            stage.note("holds")
            stage.hold("held")

        chat_completions = completions = embeddings = responses = messages = predict
"""


def is_api_error(answer, path, status):
    """OpenAI's form; on Anthropic's route theirs as well."""
    assert answer.status == status, answer
    body = answer.json()
    assert body.get("type") == ("error" if path == "/v1/messages" else None)
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    assert error["type"] == ("rate_limit_error" if status == 429 else
                             "invalid_request_error" if status < 500 else "server_error")


def is_truss_error(answer, path, status):
    assert answer.status == status, (path, answer)
    assert isinstance(answer.json()["error"], str), answer
    assert answer.header("x-baseten-error-source") == "04"
    assert answer.header("x-baseten-error-code") in ("500", "600", "700")


FORMS = [(path, is_api_error) for path in OPENAI] + [(path, is_truss_error) for path in TRUSS]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    served = Served(truss(tmp_path_factory.mktemp("forms"), MODEL,
                          penstock={"max_request_body": "1KiB", "gate_timeout": "50ms"}))
    yield served
    assert not served.sidecar.finish()


@pytest.mark.parametrize("path, form", FORMS)
def test_a_truss_has_the_form_of_the_route(model, path, form):
    def ask(body=b"{}", method="POST", headers=()):
        return model.fetch(body, path, [*JSON, *headers], method)

    form(ask(b"", "GET"), path, 405)
    form(ask(b"", "DELETE"), path, 405)
    form(ask(b"x" * 1025), path, 413)
    form(ask(b"{"), path, 400)
    form(ask(headers=[("x-request-timeout-ms", "soon")]), path, 400)
    form(ask(headers=[("x-request-timeout-ms", "0")]), path, 504)
    form(ask(b'{"do": "raise"}'), path, 500)
    form(ask(b'{"do": "http"}'), path, 429)
    form(ask(b'{"do": "set"}'), path, 500)


@pytest.mark.parametrize("path, form", [FORMS[0], FORMS[4], FORMS[5]])
def test_waiting_too_long_and_a_lost_worker_too(tmp_path, path, form):
    served = Served(truss(tmp_path, MODEL, penstock={"gate_timeout": "50ms"}))
    with served.call(b'{"do": "hold"}') as held:
        served.stage.wait("holds")
        late = served.fetch(b'{"do": "raise"}', path, JSON)
        form(late, path, 503)
        assert late.reason == "gate_timeout"
        served.stage.release("held")
        assert held.response().status == 200
    form(served.fetch(b'{"do": "exit"}', path, JSON), path, 502)


def test_a_model_that_has_no_such_method_or_is_not_loaded_yet(tmp_path):
    served = Served(truss(tmp_path, """
        import stage

        class Model:
            def load(self):
                stage.hold("load")

            def predict(self, inputs):
                return 1
    """), ready=False)
    for path, form in FORMS:
        form(served.fetch(b"{}", path, JSON), path, 503)
    served.stage.release("load")
    served.sidecar.wait_log("model ready")
    for path in OPENAI:
        is_api_error(served.fetch(b"{}", path, JSON), path, 404)
    is_truss_error(served.fetch(b"{}", "/nowhere", JSON), "/nowhere", 404)


def test_an_http_exception_may_bring_its_own_openai_error(tmp_path):
    served = Served(truss(tmp_path, """
        import fastapi

        class Model:
            def chat_completions(self, inputs):
                raise fastapi.HTTPException(404, detail={
                    "message": "no such model", "code": "model_not_found"})

            def predict(self, inputs):
                return 1
    """))
    assert served.fetch(b"{}", CHAT, JSON).json() == {"error": {
        "message": "no such model", "type": "invalid_request_error", "param": None,
        "code": "model_not_found"}}


def is_own_error(answer, path, status):
    assert (answer.status, answer.json()["error"]["code"]) == (status, status), path


@pytest.mark.parametrize("path, form", [
    (CHAT, is_api_error), ("/v1/rerank", is_api_error), ("/v1/messages", is_api_error),
    ("/v1/models/m:predict", is_truss_error), ("/predict", is_truss_error),
    ("/generate", is_own_error),
])
def test_in_front_of_a_model_server(replica, tmp_path, path, form):
    server = replica()
    sidecar = Sidecar(attached_model(tmp_path, server, max_request_body="1KiB"),
                      ["--concurrency-limit", "1"])
    with H1Client(sidecar.address) as client:
        form(client.fetch("POST", path, body=b"x" * 1025), path, 413)
    with H1Client(sidecar.address) as client, H1Client(sidecar.address) as other:
        client.request("POST", path, [("x-test-id", "a")], b"{}")
        request = server.by_id("a")
        form(other.fetch("POST", path, body=b"{}"), path, 503)
        server.hang_up(abrupt=True)
        form(client.response(), path, 502)


GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def test_a_grpc_client_of_the_sidecar_gets_a_status(replica, tmp_path):
    server = replica("h2")
    sidecar = Sidecar(attached_model(tmp_path, server, protocol="h2"), ["--concurrency-limit", "1"])
    with H2Client(sidecar.address) as client:
        def call(*fields):
            return client.fetch(path="/s.S/Call", headers=[*GRPC, *fields], body=b"\0\0\0\0\0")

        def is_status(answer, status, reason):
            assert answer.status == 200 and not answer.body, answer
            assert answer.header("content-type") == "application/grpc"
            assert (answer.header("grpc-status"), answer.reason) == (status, reason)
            assert answer.header("grpc-message")

        is_status(call(("x-request-timeout-ms", "soon")), "3", "bad_request")
        is_status(call(("x-request-timeout-ms", "0")), "4", "deadline_exceeded")
        from_a_proxy = call(("x-request-timeout-ms", "soon"), ("x-penstock-attempt-id", "1"))
        assert from_a_proxy.status == 400, "a proxy knows a refusal by its status"
        held = client.request(path="/s.S/Call", headers=[*GRPC, ("x-test-id", "a")], body=b"")
        request = server.by_id("a")
        is_status(call(), "14", "concurrency_limit")
        server.hang_up(abrupt=True)
        is_status(held.response(), "14", "server_connection_lost")
        equals(lambda: sidecar.metric("penstock_in_flight"), 0)
