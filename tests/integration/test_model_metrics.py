"""Figures of a model's own in /metrics, and those that every model on a GPU has.

Promised: what a model adds while it loads is on the page; a name that is not for models, or comes twice, ends the
loading with a sentence that says so; the time of each lane's kernels, by the GPU's clock, what buffers hold, and
allocations made and refused are there for each GPU.

Shown: a real sidecar with a model on a fake device, whose kernels take a millisecond of its clock each.
"""

import pytest

from support.h1_client import H1Client
from support.programs import Sidecar, binary, run_to_end
from support.waiting import equals

KERNEL_SECONDS = 0.001


def model(folder, metric="penstock_model_seven", run_ahead=0):
    (folder / "config.yaml").write_text(
        "penstock: { library: libpenstock_fake_gpu.so, run_ahead: %d, options: { metric: %s } }\n"
        % (run_ahead, metric), encoding="utf-8")
    return folder


@pytest.mark.parametrize("run_ahead", [0, 1], ids=["called", "ahead"])
def test_what_the_gpu_did_is_on_the_page(tmp_path, run_ahead):
    sidecar = Sidecar(model(tmp_path, run_ahead=run_ahead))
    lane = {"gpu": "0", "lane": "0"}
    assert sidecar.metric("penstock_model_seven") == 7
    assert sidecar.metric("penstock_model_gpu_kernel_seconds_total", **lane) == 0
    assert sidecar.metric("penstock_model_gpu_reserved_bytes", gpu="0", memory="device") == 0
    with H1Client(sidecar.address) as client:
        for _ in range(5):
            assert client.fetch(path="/predict", body=b"text").status == 200
        held = sidecar.metric("penstock_model_gpu_reserved_bytes", gpu="0", memory="device")
        assert held > 0
        assert sidecar.metric("penstock_model_gpu_reserved_bytes", gpu="0", memory="pinned") > 0
        assert sidecar.metric("penstock_model_gpu_refusals_total", gpu="0") == 0
        assert client.fetch(path="/predict", body=b"100000000").status == 503
    equals(lambda: sidecar.metric("penstock_model_gpu_kernel_seconds_total", **lane),
           pytest.approx(5 * KERNEL_SECONDS))
    equals(lambda: sidecar.metric("penstock_model_gpu_refusals_total", gpu="0"), 1)
    assert sidecar.metric("penstock_model_gpu_allocations_total", gpu="0") > 0
    assert sidecar.stop() == 0


@pytest.mark.parametrize("metric, why", [
    ("penstock_in_flight", "expected a name of a-z, 0-9 and _ that begins with penstock_model_"),
    ("penstock_model_gpu_refusals_total", "to end in _total"),
    ("penstock_model_gpu_reserved_bytes", "expected the same help as with other labels"),
])
def test_a_name_that_is_not_the_models_ends_the_loading(tmp_path, metric, why):
    code, _, stderr = run_to_end([binary("penstock-sidecar"), "--model", model(tmp_path, metric),
                                  "--listen", "127.0.0.1:0"])
    assert code == 1
    assert f"metric {metric}: " in stderr and why in stderr
