"""examples/matmul, the smallest complete model on a GPU.

Promised: rows of 64 numbers come back as rows of 10, which are what a perceptron with the weights of a fixed
seed makes of them, on the processor and on a device, running ahead or not; each request gets its own rows; what
is no such request is 400 and says what was expected; a request for which the device has no memory is not executed;
where nothing can be launched the model is not loaded.

Shown: the model in a real sidecar, on the processor and on a fake device, against arithmetic of this file.
"""

import concurrent.futures
import json
import random

import numpy
import pytest

from support.h1_client import H1Client, fetch
from support.models import model_copy
from support.programs import Sidecar, binary, run_to_end

INPUTS, HIDDEN, OUTPUTS = 64, 256, 10


def weights():
    state = 2026
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield ((state >> 40) - 2**23) / 2**23


def perceptron():
    """The two layers, each as (matrix, biases)."""
    source = weights()

    def numbers(count, scale):
        return numpy.array([next(source) * scale for _ in range(count)])
    return [(numbers(inputs * neurons, scale).reshape(inputs, neurons), numbers(neurons, scale))
            for inputs, neurons, scale in ((INPUTS, HIDDEN, 1 / 8), (HIDDEN, OUTPUTS, 1 / 16))]


LAYERS = perceptron()


def expected_of(rows):
    (first, first_biases), (second, second_biases) = LAYERS
    hidden = numpy.maximum(numpy.array(rows) @ first + first_biases, 0)
    return hidden @ second + second_biases


def assert_right(outputs, rows):
    numpy.testing.assert_allclose(numpy.array(outputs), expected_of(rows), rtol=0, atol=1e-4)


def model(folder, where):
    def change(config):
        section = config["penstock"]
        section["options"]["device"] = "cpu" if where == "processor" else "cuda"
        section["run_ahead"] = 1 if where == "device, ahead" else 0
        if where != "processor":
            section["library"] = "libpenstock_fake_matmul.so"
    return model_copy("matmul", change, folder)


@pytest.fixture(params=["processor", "device", "device, ahead"])
def sidecar(request, tmp_path):
    program = Sidecar(model(tmp_path, request.param))
    yield program
    program.kill()


def rows_of(seed, count):
    source = random.Random(seed)
    return [[source.uniform(-3, 3) for _ in range(INPUTS)] for _ in range(count)]


def ask(address, rows):
    answer = fetch(address, "POST", "/predict", body=json.dumps({"inputs": rows}).encode())
    assert answer.status == 200
    return answer.json()["outputs"]


def test_the_answer_is_what_the_weights_make_of_the_rows(sidecar):
    for count in (1, 3, 20):
        rows = rows_of(count, count)
        assert_right(ask(sidecar.address, rows), rows)
    assert sidecar.stop() == 0


def test_many_at_once_get_their_own_rows(sidecar):
    requests = [rows_of(number, 1 + number % 3) for number in range(24)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda rows: ask(sidecar.address, rows), requests))
    for rows, outputs in zip(requests, answers):
        assert_right(outputs, rows)
    assert sidecar.stop() == 0


@pytest.mark.parametrize("body, expected", [
    (b"what?", 'the body: expected {"inputs": [[64 numbers], …]}'),
    (b'{"inputs": []}', "inputs: expected 1 to 1024 rows"),
    (b'{"inputs": [[1, 2]]}', "inputs: row 0: expected a list of 64 numbers"),
])
def test_what_is_no_such_request_is_told_what_was_expected(sidecar, body, expected):
    answer = fetch(sidecar.address, "POST", "/predict", body=body)
    assert answer.status == 400
    assert answer.json()["error"]["message"] == expected
    assert sidecar.stop() == 0


# The fake device has 1 MiB; 1024 rows want 1 MiB between the layers alone.
@pytest.mark.parametrize("sidecar", ["device", "device, ahead"], indirect=True)
def test_too_many_rows_for_the_device_are_not_executed(sidecar):
    with H1Client(sidecar.address) as client:
        row = [0] * INPUTS
        body = json.dumps({"inputs": [row] * 1024}).encode()
        refused = client.fetch(path="/predict", body=body)
        assert refused.status == 503
        assert refused.header("x-penstock-reason") == "out_of_device_memory"
        assert refused.header("x-penstock-not-executed") == "true"
        after = client.fetch(path="/predict", body=json.dumps({"inputs": [row]}).encode())
        assert after.status == 200
    assert sidecar.stop() == 0


@pytest.mark.parametrize("sidecar", ["device"], indirect=True)
def test_the_page_says_how_long_the_kernels_ran(sidecar):
    def seconds():
        return sidecar.metric("penstock_model_gpu_kernel_seconds_total", gpu="0", lane="0")

    before = seconds()
    ask(sidecar.address, rows_of(1, 1))
    assert seconds() > before
    assert sidecar.stop() == 0


def test_a_model_whose_first_launch_fails_is_not_loaded(tmp_path):
    code, _, stderr = run_to_end([binary("penstock-sidecar"), "--model", model(tmp_path, "device"),
                                  "--listen", "127.0.0.1:0"], environment={"PENSTOCK_FAKE_LAUNCH": "fails"})
    assert code == 1
    assert "the first launch: matmul_model.cc:" in stderr and "as the test said" in stderr
