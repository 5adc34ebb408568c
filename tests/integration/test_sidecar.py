"""The sidecar as an HTTP server: routes, health, the second wall, errors of the model.

Promised: /v1/models/{any}:predict and /predict run the model; /health/live answers while it loads,
/health/ready once it has; every response carries x-penstock-sidecar; more than --concurrency-limit is refused
as "not executed"; a model's refusal is that request's own error; HTTP/2 and HTTP/1.1 alike.

Shown: a real sidecar with examples/stages.
"""

import pytest

from support.h1_client import H1Client, fetch
from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body
from support.programs import Sidecar
from support.waiting import SLOWNESS, equals, eventually


@pytest.fixture(scope="module")
def sidecar():
    program = Sidecar(EXAMPLES / "stages", ["--concurrency-limit", 3])
    yield program
    assert program.stop() == 0
    assert not program.finish()


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
@pytest.mark.parametrize("path", ["/predict", "/v1/models/stages:predict", "/v1/models/x:predict"])
def test_the_predict_routes(sidecar, client_class, path):
    with client_class(sidecar.address) as client:
        answer = client.fetch(path=path, body=stages_body(echo="hello"))
    assert answer.status == 200
    assert answer.header("content-type").startswith("application/json")
    assert answer.header("x-penstock-sidecar") == "1"
    said = answer.json()
    assert set(said["stages"]) == {"preprocess", "predict", "postprocess"}
    assert said["replica_in_flight"] == said["predict_in_flight"] == 1
    spans = [said["stages"][s] for s in ("preprocess", "predict", "postprocess")]
    assert all(span["start"] <= span["end"] for span in spans)
    assert spans[0]["end"] <= spans[1]["start"] and spans[1]["end"] <= spans[2]["start"]
    assert "hello" in answer.body.decode()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
def test_health_and_metrics(sidecar, path):
    answer = fetch(sidecar.address, "GET", path)
    assert answer.status == 200 and answer.header("x-penstock-sidecar") == "1"


def test_unknown_paths_methods_and_bodies(sidecar):
    for method, path, body, status in [
            ("GET", "/nowhere", b"", 404), ("GET", "/predict", b"", 405),
            ("POST", "/predict", b"{not json", 400), ("POST", "/predict", b"[1]", 400),
            ("POST", "/predict", b'{"predict_ms": "long"}', 400),
            ("POST", "/predict", b'{"predict_ms": -1}', 400)]:
        answer = fetch(sidecar.address, method, path, body=body)
        assert answer.status == status, (method, path, body, answer)
        assert answer.json()["error"]["message"]
        assert answer.header("x-penstock-sidecar") == "1"


def test_the_second_wall_refuses_what_is_too_much_as_not_executed(sidecar):
    with H2Client(sidecar.address) as client:
        body = stages_body(predict_ms=int(1000 * SLOWNESS))
        running = [client.request(path="/predict", body=body) for _ in range(3)]
        equals(lambda: sidecar.metric("penstock_in_flight"), 3)
        refused = client.fetch(path="/predict", body=body)
        assert (refused.status, refused.reason) == (503, "concurrency_limit")
        assert refused.header("x-penstock-not-executed") == "true"
        assert refused.json()["error"]["code"] == 503
        assert fetch(sidecar.address, "GET", "/health/ready").status == 200, "health is no work"
        answers = [stream.response() for stream in running]
        assert [answer.status for answer in answers] == [200] * 3
        assert max(answer.json()["replica_in_flight"] for answer in answers) <= 3
        equals(lambda: sidecar.metric("penstock_in_flight"), 0)
        assert client.fetch(path="/predict", body=stages_body()).status == 200


def test_it_starts_only_when_the_body_is_complete(sidecar):
    with H2Client(sidecar.address) as client:
        body = stages_body(echo="x" * 1000)
        stream = client.request(path="/predict", body=body[:500], end=False)
        before = sidecar.metric("penstock_stage_seconds_count", stage="preprocess")
        assert client.fetch(path="/predict", body=stages_body()).status == 200
        equals(lambda: sidecar.metric("penstock_stage_seconds_count", stage="preprocess"), before + 1)
        stream.send(body[500:], end=True)
        assert stream.response().status == 200


def test_requests_are_counted_by_stage_and_outcome(sidecar):
    before = sidecar.metric("penstock_requests_total") or 0
    assert fetch(sidecar.address, "POST", "/predict", body=stages_body()).status == 200
    eventually(lambda: sidecar.metric("penstock_requests_total") > before)
