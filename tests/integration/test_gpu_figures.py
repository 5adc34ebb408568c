"""What the driver says of the GPUs, in /metrics and in load reports.

Promised: where NVML is found at run time, the figures of the GPUs that CUDA_VISIBLE_DEVICES shows are there; what
the driver does not say of one is NaN, and so is what its library has no function for, old or new; of a part of a GPU
(MIG) there is nothing, and the log says why; a library that is not what it should be, or whose calls fail, is said once in
the log and costs nothing else.

Shown: a sidecar that finds a library of the tests' in place of the driver's.
"""

import math
import os
import pathlib

import pytest

from support.h1_client import fetch
from support.models import EXAMPLES
from support.orca import Subscription, named
from support.programs import Sidecar
from support.waiting import eventually


def sidecar(library="fake_nvml", failing="", visible=None):
    environment = {"LD_LIBRARY_PATH": str(pathlib.Path(os.environ["PENSTOCK_BIN_DIR"]).parent / library),
                   "PENSTOCK_FAKE_NVML": failing}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    return Sidecar(EXAMPLES / "uppercase", environment=environment)


def test_figures_of_all_gpus_are_on_the_page_and_in_reports():
    program = sidecar()
    eventually(lambda: program.metric("penstock_gpu_throttled", gpu="1", reason="hardware") == 0)
    first = {"gpu": "0", "name": "Fake H200"}
    second = {"gpu": "1", "name": "Fake A100"}
    assert program.metric("penstock_gpu_utilization", **first) == 0.37
    assert math.isnan(program.metric("penstock_gpu_utilization", **second))
    assert program.metric("penstock_gpu_memory_bytes", **first) == 100 * 2**30
    assert program.metric("penstock_gpu_memory_used_bytes", **second) == 55 * 2**30
    assert program.metric("penstock_gpu_temperature_celsius", **second) == 88
    assert program.metric("penstock_gpu_throttled", reason="thermal", **first) == 0
    assert program.metric("penstock_gpu_throttled", reason="thermal", **second) == 1
    with Subscription(program.address) as subscription:
        figures = named(subscription.next())
    assert figures["gpu_utilization"] == pytest.approx(0.37)
    assert figures["gpu_memory"] == pytest.approx(80 / 160)
    assert program.stop() == 0


def test_gpus_that_are_not_shown_are_not_looked_at():
    program = sidecar(visible="1")
    eventually(lambda: program.metric("penstock_gpu_temperature_celsius", gpu="0") == 88)
    assert program.metric("penstock_gpu_utilization", gpu="1") is None
    assert program.stop() == 0


def test_what_fails_for_one_gpu_leaves_the_others_their_numbers():
    program = sidecar(failing="gpu_0", visible="1")
    eventually(lambda: program.metric("penstock_gpu_temperature_celsius", name="Fake A100") == 88)
    assert program.metric("penstock_gpu_memory_bytes", name="Fake H200") is None
    assert program.stop() == 0


def test_figures_that_fail_are_no_numbers():
    program = sidecar(failing="figures")
    eventually(lambda: program.metric("penstock_gpu_throttled", gpu="1", reason="hardware") is not None)
    for figure in ("utilization", "memory_bytes", "memory_used_bytes", "temperature_celsius", "throttled"):
        assert math.isnan(program.metric("penstock_gpu_" + figure, gpu="0")), figure
    with Subscription(program.address) as subscription:
        assert "gpu_utilization" not in named(subscription.next())
    assert not program.logged("no GPU figures")
    assert program.stop() == 0


def test_what_a_library_has_no_function_for_is_no_number():
    program = sidecar("bare_nvml")
    eventually(lambda: program.metric("penstock_gpu_throttled", gpu="1", reason="hardware") is not None)
    assert program.metric("penstock_gpu_utilization", gpu="0") == 0.37
    assert math.isnan(program.metric("penstock_gpu_temperature_celsius", gpu="0"))
    assert math.isnan(program.metric("penstock_gpu_throttled", gpu="0", reason="thermal"))
    assert not program.logged("no GPU figures")
    assert program.stop() == 0


def test_of_a_part_of_a_gpu_the_log_says_why_there_is_nothing():
    program = sidecar(visible="MIG-5f6c,0")
    assert "MIG-5f6c is a part of a GPU" in program.wait_log("no GPU figures")["why"]
    assert program.metric("penstock_gpu_utilization") is None
    assert program.stop() == 0
    assert len(program.logged("no GPU figures")) == 1


@pytest.mark.parametrize("library, failing, why", [
    ("poor_nvml", "", "libnvidia-ml.so.1 has no nvmlShutdown"),
    ("fake_nvml", "init", "libnvidia-ml.so.1: an error"),
    ("fake_nvml", "count", "libnvidia-ml.so.1: an error"),
])
def test_a_library_that_does_not_work_is_said_once(library, failing, why):
    program = sidecar(library, failing)
    assert program.wait_log("no GPU figures")["why"] == why
    assert fetch(program.address, "POST", "/predict", body=b"text").body == b"TEXT"
    assert program.metric("penstock_gpu_utilization") is None
    assert program.stop() == 0
    assert len(program.logged("no GPU figures")) == 1
