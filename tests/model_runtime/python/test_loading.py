"""Loading: what a model is given, where it finds its modules, the one sentence when it fails."""

import ctypes
import json
import os
import sys

import pytest

from fake_sidecar import LOADED

PYTHON = os.environ.get("PENSTOCK_WORKER_PYTHON", sys.executable)
SHOW = """
class Model:
    def __init__(self, **kwargs): self.given = kwargs
    def predict(self, x): return eval(x, {"self": self, "given": self.given})
"""


def test_init_is_given_what_it_names(serve):
    sidecar = serve(
        """
class Model:
    def __init__(self, config, environment, data_dir):
        self.given = [config, environment, str(data_dir), data_dir.is_dir()]
    def predict(self, x): return self.given
""",
        config={"model_name": "m"},
    )
    config, environment, data_dir, exists = sidecar.call().json
    assert config["model_name"] == "m" and environment is None
    assert data_dir == str(sidecar.directory / "data") and exists


def test_init_with_kwargs_is_given_all(serve):
    sidecar = serve(SHOW)
    assert sidecar.call("sorted(given)").json == [
        "config",
        "data_dir",
        "environment",
        "lazy_data_resolver",
        "secrets",
    ]
    assert sidecar.call("given['lazy_data_resolver'].block_until_download_complete()").json == 0


def test_init_without_arguments(serve):
    assert serve("class Model:\n    def predict(self, x): return x\n").call(1).json == 1


def test_secrets(serve):
    sidecar = serve(
        SHOW,
        config={"secrets": {"file": None, "variable": None, "default": "d", "none": None}},
        environment={"TRUSS_SECRET_variable": "v", "TRUSS_SECRET_other": "o"},
    )
    (sidecar.secrets / "file").write_text("f\n")
    (sidecar.secrets / "undeclared").write_text("u")
    assert sidecar.call("[given['secrets'][n] for n in ('file', 'variable', 'default')]").json == [
        "f\n",
        "v",
        "d",
    ]
    assert sidecar.call("given['secrets'].get('default')").json == "d"
    for name, why in (
        ("undeclared", "not declared"),
        ("other", "not declared"),
        ("none", "no value"),
    ):
        assert sidecar.call(f"given['secrets'][{name!r}]").status == 500
        assert why in sidecar.logs()[-1]["message"] and name in sidecar.logs()[-1]["message"]
    assert "/" not in sidecar.call("repr(given['secrets'])").json


def test_working_directory_and_import_path(start, tmp_path):
    directory = tmp_path / "truss"
    for folder in ("model", "packages/bundled", "extra/outside", "data"):
        (directory / folder).mkdir(parents=True)
    (directory / "model/part.py").write_text("value = 1\n")
    (directory / "packages/bundled/__init__.py").write_text("value = 2\n")
    (directory / "extra/outside/__init__.py").write_text("value = 3\n")
    (directory / "beside.py").write_text("value = 4\n")
    (directory / "data/weights").write_text("five")
    (directory / "frames.py").write_text("value = 6\n")
    sidecar = start(
        """
import bundled, outside, beside, frames
from model import part
class Model:
    def predict(self, x):
        return [part.value, bundled.value, outside.value, beside.value, open("data/weights").read(),
                frames.value]
""",
        directory=directory,
        config={"external_package_dirs": ["extra"]},
    )
    sidecar.loaded()
    assert sidecar.call().json == [1, 2, 3, 4, "five", 6]


def test_names_that_the_configuration_changes(start, tmp_path):
    directory = tmp_path / "truss"
    (directory / "code").mkdir(parents=True)
    (directory / "code/main.py").write_text(
        "class Mine:\n    def __init__(self, data_dir): self.d = data_dir.name\n"
        "    def predict(self, x): return self.d\n"
    )
    sidecar = start(
        None,
        directory=directory,
        config={
            "model_module_dir": "code",
            "model_class_filename": "main.py",
            "model_class_name": "Mine",
            "data_dir": "weights",
        },
    )
    assert sidecar.loaded() and sidecar.call().json == "weights"


@pytest.mark.parametrize("prefix", ["", "async "])
def test_load_runs_before_the_model_is_loaded(start, prefix):
    sidecar = start(f"""
class Model:
    {prefix}def load(self):
        say("loading")
        wait("gate")
        self.loaded = True
    def predict(self, x): return self.loaded
""")
    sidecar.gate("gate")
    sidecar.wait_line("loading")
    assert not [frame for frame in sidecar.frames[0] if frame.kind == LOADED]
    sidecar.release("gate")
    assert sidecar.loaded()["load_seconds"] > 0
    assert sidecar.call().json is True


def test_async_load_and_predict_share_one_loop(serve):
    sidecar = serve("""
import asyncio
class Model:
    async def load(self): self.loop = asyncio.get_running_loop()
    async def predict(self, x): return self.loop is asyncio.get_running_loop()
""")
    assert sidecar.call().json is True


def test_load_is_tried_once_more(serve):
    sidecar = serve("""
class Model:
    tries = 0
    def load(self):
        self.tries += 1
        if self.tries == 1: raise ValueError("first")
    def predict(self, x): return self.tries
""")
    assert sidecar.call().json == 2
    [log] = sidecar.logs()
    assert log["level"] == "warning" and "ValueError: first" in log["message"]


FAILURES = {
    "a module is missing": (
        "import no_such_module_here\nclass Model: pass\n",
        "import of model/model.py failed: "
        f"the Python module 'no_such_module_here' is not installed for {PYTHON} (Python 3.",
    ),
    "a module is missing in load": (
        "class Model:\n    def load(self): import no_such_module_here.at_all\n"
        "    def predict(self, x): pass\n",
        "Model.load failed: "
        f"the Python module 'no_such_module_here' is not installed for {PYTHON} (Python 3.",
    ),
    "a package lacks a module": (
        "import json.no_such_part\nclass Model: pass\n",
        "import of model/model.py failed: 'json' has no module 'json.no_such_part'",
    ),
    "the model's package lacks a module": (
        "from .no_such_part import x\nclass Model: pass\n",
        "import of model/model.py failed: 'model' has no module 'model.no_such_part'",
    ),
    "a module of the model's folder": (
        "import model as _\nimport beside_the_model\nclass Model: pass\n",
        "import of model/model.py failed: "
        "there is no module 'beside_the_model'; it is in the folder model: import it from there",
    ),
    "nobody knows which": (
        "raise ModuleNotFoundError('get a GPU')\nclass Model: pass\n",
        "import of model/model.py failed: ModuleNotFoundError: get a GPU",
    ),
    "bad syntax": ("class Model:\n    def\n", "import of model/model.py failed: invalid syntax "),
    "no class": ("class Other: pass\n", "model.py has no class Model"),
    "init fails": (
        "class Model:\n    def __init__(self): raise KeyError('k')\n",
        "Model.__init__ failed: KeyError: 'k'",
    ),
    "load fails": (
        "class Model:\n    def load(self): raise OSError('no\\nweights')\n"
        "    def predict(self, x): pass\n",
        "Model.load failed: OSError: no weights",
    ),
    "load leaves": (
        "import sys\nclass Model:\n    def load(self): sys.exit(0)\n"
        "    def predict(self, x): pass\n",
        "Model.load failed: SystemExit: 0",
    ),
    "nothing to call": (
        "class Model: pass\n",
        "model.py: the model class has neither predict nor websocket",
    ),
    "three arguments": (
        "class Model:\n    def predict(self, a, b, c): pass\n",
        "model.py: predict takes 3 arguments, but at most two are given: ",
    ),
    "second not a request": (
        "import starlette.requests\nclass Model:\n" "    def predict(self, a, request): pass\n",
        "model.py: the second argument of predict has to be annotated as ",
    ),
    "request first": (
        "from starlette.requests import Request\nclass Model:\n"
        "    def predict(self, a: Request, b: Request): pass\n",
        "model.py: predict takes the request first; ",
    ),
    "sync websocket": (
        "class Model:\n    def websocket(self, ws): pass\n",
        "model.py: websocket has to be async def, with one argument",
    ),
    "websocket and predict": (
        "class Model:\n    async def websocket(self, ws): pass\n"
        "    def predict(self, x): pass\n",
        "model.py: a model with websocket cannot have predict, ",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_one_sentence_says_what_failed(start, name, tmp_path):
    model, sentence = FAILURES[name]
    directory = tmp_path / "truss"
    (directory / "model").mkdir(parents=True)
    (directory / "model/beside_the_model.py").touch()
    sidecar = start(model, directory, environment={"NUM_LOAD_RETRIES_TRUSS": "0"})
    error = sidecar.load_error()
    assert error.startswith(sentence) and "\n" not in error
    for log in sidecar.logs():
        assert log["level"] == "error" and log["traceback"]


def test_a_type_that_has_no_json_schema(start):
    sidecar = start("""
import pydantic
class Input(pydantic.BaseModel):
    name: str
    @classmethod
    def schema(cls, **_): raise ValueError("no schema")
    model_json_schema = schema
class Model:
    def predict(self, x: Input): return x.name
""")
    assert sidecar.schema()["input_schema"] is None
    assert sidecar.call({"name": "a"}).json == "a"


def test_no_model_file(start, tmp_path):
    directory = tmp_path / "truss"
    directory.mkdir()
    assert start(None, directory=directory).load_error() == "model/model.py does not exist"


def test_setup_environment_and_environment(start, tmp_path):
    directory = tmp_path / "truss"
    directory.mkdir()
    (directory / "environment").write_text(json.dumps({"name": "staging"}))
    sidecar = start(
        """
class Model:
    def __init__(self, environment): self.seen = [environment]
    async def setup_environment(self, environment): self.seen.append(environment)
    def load(self): self.seen.append("load")
    def predict(self, x): return self.seen
""",
        directory=directory,
    )
    sidecar.loaded()
    assert sidecar.call().json == [{"name": "staging"}, {"name": "staging"}, "load"]


@pytest.mark.parametrize("prefix", ["", "async "])
def test_is_healthy(serve, prefix):
    sidecar = serve(f"""
class Model:
    answers = [True, 1, "yes", False, 0, None, ""]
    {prefix}def is_healthy(self):
        return self.answers.pop(0)
    def predict(self, x): return x
""")
    assert sidecar.loaded()["is_healthy"] is True
    answers = [sidecar.healthy(number) for number in range(1, 9)]
    assert answers == [True, True, True, False, False, False, False, False]
    assert sidecar.logs()[0]["message"] == "is_healthy raised IndexError: pop from empty list"


def test_a_second_question_after_a_slow_answer(serve):
    sidecar = serve("""
class Model:
    def is_healthy(self):
        wait("gate")
        return True
    def predict(self, x): return x
""")
    sidecar.gate("gate")
    sidecar.send(8, 5)
    assert sidecar.call(1).json == 1
    sidecar.release("gate")
    sidecar.wait_for(lambda: sidecar.frames[("health", 5)], "HEALTHY")


ARENAS = """
import ctypes, re, threading
libc = ctypes.CDLL(None)
for name in ("malloc", "fopen", "malloc_info", "fclose"):
    getattr(libc, name).restype = ctypes.c_void_p
class Model:
    def predict(self, path):
        threads = [threading.Thread(target=libc.malloc, args=(1000,)) for _ in range(8)]
        for each in threads: each.start()
        for each in threads: each.join()
        file = ctypes.c_void_p(libc.fopen(path.encode(), b"w"))
        libc.malloc_info(0, file)
        libc.fclose(file)
        return len(re.findall("<heap nr=", open(path).read()))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="this C library has no arenas")
@pytest.mark.parametrize("variables, one", [({}, True), ({"MALLOC_ARENA_MAX": "8"}, False),
                                            ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"}, False)])
def test_threads_share_an_arena_unless_the_user_says_otherwise(serve, tmp_path, variables, one):
    arenas = serve(ARENAS, environment=variables).call(str(tmp_path / "info")).json
    assert (arenas == 1) == one, arenas
