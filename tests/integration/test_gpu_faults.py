"""A GPU that has no memory left, one that is lost, and one whose kernel never ends.

Promised: a request for which the device has no memory gets 503, is marked as not executed, and the next one
runs; a lost device ends the process with status 1, after one line that says so with file and line, so that a
supervisor can start it again; a kernel that never ends holds its lane, what waits leaves at its deadline, and the process
ends when draining has taken too long, or the request is past its deadline by the hang timeout. With and without running
ahead.

Shown: a real sidecar with a model on a fake device.
"""

import concurrent.futures

import pytest

from support.h1_client import H1Client, fetch
from support.h1_wire import Closed
from support.programs import Sidecar
from support.waiting import equals, eventually


@pytest.fixture(params=[0, 1], ids=["called", "ahead"])
def sidecar(request, tmp_path):
    (tmp_path / "config.yaml").write_text(
        "penstock: { library: libpenstock_fake_gpu.so, run_ahead: %d, hang_timeout: 1s }\n" % request.param,
        encoding="utf-8")
    program = Sidecar(tmp_path, ["--drain-timeout", "0.5"])
    yield program
    program.kill()


def test_out_of_memory_is_not_executed_and_the_model_goes_on(sidecar):
    with H1Client(sidecar.address) as client:
        assert client.fetch(path="/predict", body=b"before").body == b"BEFORE"
        refused = client.fetch(path="/predict", body=b"100000000")
        assert refused.status == 503
        assert refused.header("x-penstock-not-executed") == "true"
        assert refused.header("x-penstock-reason") == "out_of_device_memory"
        assert client.fetch(path="/predict", body=b"after").body == b"AFTER"
    equals(lambda: sidecar.metric("penstock_requests_total", stage="predict",
                                  outcome="out_of_device_memory"), 1)
    equals(lambda: sidecar.metric("penstock_gate_in_predict"), 0)
    assert sidecar.stop() == 0


def test_many_at_once_get_their_own_answers(sidecar):
    def ask(number):
        body = b"request %d " % number * (1 + number % 7)
        return fetch(sidecar.address, "POST", "/predict", body=body).body == body.upper()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(200)))
    assert sidecar.stop() == 0


def test_a_lost_device_ends_the_process_with_one_line(sidecar):
    with pytest.raises(Closed):
        fetch(sidecar.address, "POST", "/predict", body=b"lost")
    assert sidecar.wait() == 1
    said = sidecar.logged("the model cannot go on")
    assert len(said) == 1
    assert "fake_gpu_model.cc:" in said[0]["error"] and "device is lost" in said[0]["error"]


def test_a_kernel_that_never_ends_holds_its_lane_until_the_drain_timeout(sidecar):
    with H1Client(sidecar.address) as first, H1Client(sidecar.address) as second:
        first.request(path="/predict", body=b"endless")
        eventually(lambda: sidecar.metric("penstock_gate_in_predict") == 1)
        second.request(path="/predict", body=b"behind it, launched or not")
        eventually(lambda: sidecar.metric("penstock_gate_waiting") == 1)
        third = fetch(sidecar.address, "POST", "/predict", [("x-request-timeout-ms", "500")], b"waits")
        assert third.status == 504
        assert sidecar.metric("penstock_gate_in_predict") == 1
        assert fetch(sidecar.address, "GET", "/health/ready").status == 200
        assert sidecar.stop() == 1
    assert sidecar.logged("draining took too long: what runs is cut off")


def test_a_kernel_that_never_ends_ends_the_process_after_its_deadline(sidecar):
    with H1Client(sidecar.address) as client:
        client.request("POST", "/predict", [("x-request-timeout-ms", "1500"), ("x-request-id", "hanging")], b"endless")
        assert sidecar.wait() == 1
    said = sidecar.logged("the model cannot go on")
    assert len(said) == 1
    assert said[0]["error"].endswith("the model's predict, long after its deadline: hanging")
