"""Where a model that can use a GPU runs: `device: cpu | cuda | auto`, on a machine that shows it none or a fake one.

Promised: with `cuda` demanded and no GPU, loading fails with a sentence that says why, and the process ends
with 1; with `auto` the model says so once and uses the processor; running ahead changes no answer; a model
that cannot run ahead is refused; a GPU on which the model's kernels cannot be launched is found out while it is
loaded, not by a request.

Shown: examples/denoise, with CUDA_VISIBLE_DEVICES empty, and with a fake device that inverts in place of its own.
"""

import io

import pytest
from PIL import Image

from support.h1_client import H1Client, fetch
from support.models import EXAMPLES, model_copy
from support.programs import Sidecar, binary, run_to_end

NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


def model(folder, name="denoise", run_ahead=None, **options):
    def change(config):
        config["penstock"].setdefault("options", {}).update(options)
        if run_ahead is not None:
            config["penstock"]["run_ahead"] = run_ahead
    return model_copy(name, change, folder)


def on_fake_device(folder):
    def change(config):
        config["penstock"]["library"] = "libpenstock_fake_denoise.so"
        config["penstock"]["options"]["device"] = "cuda"
    return model_copy("denoise", change, folder)


def load_fails(directory, environment=NO_GPU):
    code, _, stderr = run_to_end([binary("penstock-sidecar"), "--model", directory,
                                  "--listen", "127.0.0.1:0"], environment=environment)
    assert code == 1
    return stderr


def small_image():
    with Image.open(EXAMPLES / "denoise" / "sample.png") as sample:
        cut = sample.crop((0, 0, 64, 48))
    file = io.BytesIO()
    cut.save(file, "PNG")
    return file.getvalue()


def test_cuda_demanded_without_a_gpu_is_an_error(tmp_path):
    assert "options: device: cuda: no GPU to use: " in load_fails(model(tmp_path, device="cuda"))


def test_an_unknown_device_is_an_error(tmp_path):
    assert "expected cpu, cuda or auto" in load_fails(model(tmp_path, device="gpu"))


def test_running_ahead_is_for_models_that_launch(tmp_path):
    assert "nothing can run ahead" in load_fails(model(tmp_path, "uppercase", run_ahead=1))


@pytest.mark.parametrize("run_ahead", [0, 1])
def test_auto_says_once_that_there_is_no_gpu_and_uses_the_processor(tmp_path, run_ahead):
    sidecar = Sidecar(model(tmp_path, run_ahead=run_ahead, device="auto"), environment=NO_GPU)
    answers = []
    with H1Client(sidecar.address) as client:
        for _ in range(3):
            answers.append(client.fetch(path="/predict", body=small_image()))
    with Image.open(io.BytesIO(answers[0].body)) as image:
        assert image.size == (64, 48)
    assert all(answer.status == 200 and answer.body == answers[0].body for answer in answers)
    assert fetch(sidecar.address, "GET", "/health/ready").status == 200
    assert sidecar.stop() == 0
    said = [event for event in sidecar.logged("model says") if "no GPU" in event["text"]]
    assert len(said) == 1


def test_cpu_does_not_ask(tmp_path):
    sidecar = Sidecar(model(tmp_path, device="cpu"), environment=NO_GPU)
    assert sidecar.stop() == 0
    assert not sidecar.logged("model says")


def test_an_image_goes_to_the_device_and_back(tmp_path):
    sidecar = Sidecar(on_fake_device(tmp_path))
    body = small_image()
    answer = fetch(sidecar.address, "POST", "/predict", body=body)
    assert answer.status == 200
    with Image.open(io.BytesIO(body)) as sent, Image.open(io.BytesIO(answer.body)) as got:
        assert got.tobytes() == bytes(255 - value for value in sent.convert("RGB").tobytes())
    assert sidecar.stop() == 0


@pytest.mark.parametrize("channels", ["1", "3"])
def test_a_model_whose_first_launch_fails_is_not_loaded(tmp_path, channels):
    said = load_fails(on_fake_device(tmp_path), {"PENSTOCK_FAKE_LAUNCH": channels})
    assert "the first launch: device_filter.cc:" in said and "as the test said" in said
