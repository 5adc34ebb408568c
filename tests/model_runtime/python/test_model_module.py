"""The module of the model's file is found under its name by all that look for it there."""

import pytest

CODE = """
from __future__ import annotations
import dataclasses, multiprocessing, pickle, sys, typing
from concurrent.futures import ProcessPoolExecutor
class Item: pass
@dataclasses.dataclass
class Settings:
    size: int = 1
def work(value): return value + 1
def in_process(how):
    with multiprocessing.get_context(how).Pool(1) as pool:
        return pool.map_async(work, [1]).get(20)
def in_pool():
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(work, 1).result(20)
class Model:
    def predict(self, x): return eval(x)
"""


def serve_at(start, directory, place, code=CODE, others=()):
    """A worker of the model whose file is at that place; others: further files."""
    for path, text in [(place, code), *others]:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_text(text)
    folder, _, name = place.rpartition("/")
    sidecar = start(
        None, directory, config={"model_module_dir": folder or ".", "model_class_filename": name}
    )
    sidecar.loaded()
    return sidecar


@pytest.mark.parametrize(
    "question, answer",
    {
        "dataclass": ("dataclasses.asdict(Settings())", {"size": 1}),
        "type hints": ("typing.get_type_hints(Settings)['size'] is int", True),
        "pickle": ("type(pickle.loads(pickle.dumps(Item()))) is Item", True),
        "fork": ("in_process('fork')", [2]),
        "spawn": ("in_process('spawn')", [2]),
        "forkserver": ("in_process('forkserver')", [2]),
        "process pool": ("in_pool()", 2),
    }.values(),
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_who_looks_for_it_finds_it(serve, question, answer):
    done = serve(CODE).call(question)
    assert done.json == answer


@pytest.mark.parametrize(
    "place, name",
    [
        ("model/model.py", "model.model"),
        ("src/parts/main.py", "src.parts.main"),
        ("model.py", "model"),
        ("my-model/model.py", "model"),  # no name of Python's
        ("code/main.py", "main"),  # the name of another module
        ("json/main.py", "main"),
        ("json/json.py", "penstock_model"),
    ],
)
def test_its_name(start, tmp_path, place, name):
    sidecar = serve_at(start, tmp_path / "truss", place)
    assert sidecar.call("__name__").json == name
    assert sidecar.call("sys.modules[__name__].Model is type(self)").json is True
    assert sidecar.call("type(pickle.loads(pickle.dumps(Item()))) is Item").json is True
    assert sidecar.call("in_process('fork')").json == [2]
    assert sidecar.call("__import__('json').dumps(1)").json == "1"


def test_its_package(start, tmp_path):
    sidecar = serve_at(
        start,
        tmp_path / "truss",
        "model/model.py",
        """
import sys
from . import part
from .part import value
from model import part as same
import model.model
class Model:
    def predict(self, x):
        return [part is same, value, sys.modules["model"].made, model.model.Model is type(self)]
""",
        [("model/part.py", "value = 1\n"), ("model/__init__.py", "made = 2\n")],
    )
    assert sidecar.call().json == [True, 1, 2, True]


def test_a_package_that_cannot_be_imported(start, tmp_path):
    directory = tmp_path / "truss"
    (directory / "model").mkdir(parents=True)
    (directory / "model/__init__.py").write_text("raise ValueError('no')\n")
    error = start("class Model: pass\n", directory).load_error()
    assert error == "import of model/model.py failed: ValueError: no"
