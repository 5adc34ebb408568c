"""Load reports (ORCA) of the sidecar.

Promised: a subscriber of StreamCoreMetrics gets a report at once, at the interval that it asked for,
and when a figure changes; the figures are those of the sidecar's own metrics; they say why lanes were idle, of C++
models and Python ones; a sidecar that drains says so and ends the stream; and an answer carries a report in the form
that its request asks for.

Shown: the real sidecar, read by grpcio with code generated from a .proto of its own.
"""

import json

import grpc
import pytest

from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body, stages_model
from support.orca import IDLE_SHARES, METHOD, Subscription, named
from support.programs import Sidecar
from support.truss import truss
from support.waiting import SLOWNESS, equals, patience

LONG_MS = int(1500 * max(1, SLOWNESS))


def predict(client, headers=(), **fields):
    return client.request(path="/predict", headers=headers, body=stages_body(**fields))


def test_a_report_comes_at_once_and_has_every_figure():
    sidecar = Sidecar(EXAMPLES / "stages", ["--concurrency-limit", 7])
    with Subscription(sidecar.address) as subscription:
        report = subscription.next()
    assert 0 < report.mem_utilization <= 1
    assert report.application_utilization == 0
    figures = named(report)
    assert figures.pop("gate_busy") == 0
    for reason in IDLE_SHARES:
        figures.pop(reason, None)  # not in the first second
    assert figures.pop("incarnation") >= 1
    assert figures == {"in_flight": 0, "limit": 7, "predict_in_flight": 0,
                       "predict_concurrency": 1, "gate_waiting": 0, "draining": 0}


def test_a_change_is_pushed_and_agrees_with_the_metrics(tmp_path):
    sidecar = Sidecar(stages_model(2, tmp_path), ["--concurrency-limit", 8])
    with Subscription(sidecar.address) as subscription, H2Client(sidecar.address) as client:
        subscription.until(in_flight=0)
        streams = [predict(client, predict_ms=LONG_MS) for _ in range(4)]
        report = subscription.until(in_flight=4, predict_in_flight=2, gate_waiting=2)
        assert report.application_utilization == 0.5
        assert sidecar.metric("penstock_application_utilization") == 0.5
        assert sidecar.metric("penstock_gate_waiting") == 2
        assert all(stream.response().status == 200 for stream in streams)
        subscription.until(in_flight=0, predict_in_flight=0, gate_waiting=0)


def native_model(folder):
    return stages_model(1, folder), stages_body(preprocess_ms=3_600_000)


def python_model(folder):
    source = """
        import time
        class Model:
            def preprocess(self, body):
                time.sleep(3600)
            def predict(self, body):
                return body
        """
    return truss(folder, source), b"{}"


@pytest.mark.parametrize("model", [native_model, python_model])
def test_a_report_says_why_lanes_were_idle(tmp_path, model):
    directory, body = model(tmp_path)
    sidecar = Sidecar(directory)
    with Subscription(sidecar.address, interval_ms=500) as subscription, \
            H2Client(sidecar.address) as client:
        subscription.until_mostly("gate_idle_no_request")
        client.request(path="/v1/models/m:predict", body=body)
        subscription.until_mostly("gate_idle_preprocess")
        for reason in ("no_request", "preprocess"):
            assert sidecar.metric("penstock_gate_idle_seconds_total", reason=reason) > 0.9
    sidecar.kill()


def test_without_a_change_reports_come_at_the_interval():
    sidecar = Sidecar(EXAMPLES / "stages")
    with Subscription(sidecar.address, interval_ms=100) as subscription:
        assert all(named(subscription.next())["in_flight"] == 0 for _ in range(4))


def test_a_sidecar_that_drains_says_so_and_does_not_wait_for_its_subscribers():
    sidecar = Sidecar(EXAMPLES / "stages")
    with Subscription(sidecar.address) as subscription, H2Client(sidecar.address) as client:
        subscription.until(draining=0)
        stream = predict(client, predict_ms=LONG_MS)
        subscription.until(in_flight=1)
        sidecar.signal(15)
        subscription.until(draining=1, in_flight=1)
        assert subscription.next() is None
        assert subscription.error is None, "the stream ends as it should"
        assert stream.response().status == 200
        client.close()
    assert sidecar.wait() == 0


def test_subscribers_are_bounded_and_given_back():
    sidecar = Sidecar(EXAMPLES / "stages")
    subscriptions = [Subscription(sidecar.address) for _ in range(64)]
    assert all(subscription.next() is not None for subscription in subscriptions)
    with Subscription(sidecar.address) as refused:
        assert refused.next() is None
        assert refused.error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    for subscription in subscriptions:
        subscription.close()
    equals(lambda: sidecar.metric("penstock_load_report_streams"), 0)
    with Subscription(sidecar.address) as subscription:
        assert subscription.next() is not None


def test_a_request_that_is_none_is_refused():
    sidecar = Sidecar(EXAMPLES / "stages")
    with grpc.insecure_channel("%s:%d" % sidecar.address) as channel:
        call = channel.unary_stream(METHOD)
        for odd in (b"\x09", b"x" * 5000):
            with pytest.raises(grpc.RpcError) as error:
                list(call(odd, timeout=patience(20)))
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with H2Client(sidecar.address) as client:
        assert client.request(path=METHOD, body=b"{}").response().status == 415
        assert client.request("GET", METHOD).response().status == 405


@pytest.mark.parametrize("form", ["TEXT", "JSON"])
def test_an_answer_carries_a_report_in_the_form_that_is_asked_for(form):
    sidecar = Sidecar(EXAMPLES / "stages", ["--concurrency-limit", 7])
    with H2Client(sidecar.address) as client:
        answer = predict(client, [("endpoint-load-metrics-format", form)]).response()
        plain = predict(client).response()
    assert plain.header("endpoint-load-metrics") is None
    prefix, value = answer.header("endpoint-load-metrics").split(" ", 1)
    assert prefix == form
    if form == "JSON":
        metrics = json.loads(value)["named_metrics"]
    else:
        pairs = dict(pair.split("=") for pair in value.split(","))
        metrics = {name.removeprefix("named_metrics."): float(value)
                   for name, value in pairs.items() if name.startswith("named_metrics.")}
    assert metrics["penstock.limit"] == 7
    assert metrics["penstock.in_flight"] == 0
