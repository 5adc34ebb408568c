"""Fixtures: a worker of a model that the test writes, gone when the test ends."""

import contextlib
import faulthandler
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[2] / "model_runtime/python"))

from fake_sidecar import PATIENCE, FakeSidecar  # noqa: E402


@pytest.fixture(autouse=True)
def no_endless_test():
    faulthandler.dump_traceback_later(4 * PATIENCE, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def start(tmp_path):
    """start(model, **options): a worker that has been told to load the model."""
    with contextlib.ExitStack() as stack:
        count = 0

        def make(model, directory=None, **options):
            nonlocal count
            count += 1
            if directory is None:
                directory = tmp_path / f"truss{count}"
                directory.mkdir()
            return stack.enter_context(FakeSidecar(directory, model, **options))

        yield make


@pytest.fixture
def serve(start):
    """serve(model, **options): the same, and the model is loaded."""

    def make(model, **options):
        sidecar = start(model, **options)
        sidecar.loaded()
        return sidecar

    return make
