"""From a directory to a served model, and to its end.

Promised: load is tried once more; a load that fails ends the process and says why in a sentence; secrets,
environment variables, packages/, data/ and the config reach the model; is_healthy decides about readiness;
SIGTERM to a model that loads ends it; a sidecar leaves no worker behind, however it ends.

Shown: models that load, or do not, and the sidecar's log and exit code.
"""

import os
import signal

import pytest

from support.families import children, members, new_family, wait_gone
from support.truss import Served, executable, truss
from support.programs import Sidecar
from support.waiting import equals, eventually

FAILS_ONCE = """
    import stage

    class Model:
        def load(self):
            stage.note("load")
            if len(open(stage.FOLDER + "/notes").readlines()) == 1:
                raise RuntimeError("not yet")

        def predict(self, inputs):
            return "loaded"
"""


def test_load_is_tried_once_more(tmp_path):
    served = Served(truss(tmp_path, FAILS_ONCE))
    assert len(served.stage.notes("load")) == 2
    served.sidecar.wait_log("load failed and is tried again: RuntimeError: not yet")
    assert served.fetch().json() == "loaded"


@pytest.mark.parametrize("source, sentence", [
    ("class Model:\n    def load(self):\n        raise RuntimeError('no weights')\n"
     "    def predict(self, inputs):\n        pass\n", "RuntimeError: no weights"),
    ("import no_such_module_at_all\n", "no_such_module_at_all"),
    ("class Model:\n    pass\n", "predict"),
    ("class Other:\n    pass\n", "has no class Model"),
    ("def broken(:\n", "line 1"),
    ("import os\nos._exit(3)\n", "before the model was loaded"),
    ("import sys\nsys.exit(3)\n", "SystemExit"),
])
def test_a_load_that_fails_ends_the_process_and_says_why(tmp_path, source, sentence):
    sidecar = Sidecar(truss(tmp_path, source, environment_variables={"NUM_LOAD_RETRIES_TRUSS": "0"}),
                      ready=False)
    assert sidecar.wait() == 1
    event, = sidecar.logged("the model cannot be loaded")
    assert sentence in event["error"]
    assert "\n" not in event["error"]


def test_an_interpreter_that_is_not_there_is_a_load_error_too(tmp_path):
    model = truss(tmp_path, "class Model: pass", penstock={"python": "/nowhere/python3"})
    sidecar = Sidecar(model, ready=False)
    assert sidecar.wait() == 1
    assert "/nowhere/python3" in sidecar.logged("the model cannot be loaded")[0]["error"]


GIVEN = """
    import os
    import helper

    class Model:
        def __init__(self, **kwargs):
            self.given = kwargs
            self.secrets = kwargs["secrets"]

        def predict(self, inputs):
            wanted = inputs["secret"]
            try:
                secret = self.secrets[wanted]
            except Exception as error:
                secret = type(error).__name__
            return {"given": sorted(self.given), "model_name": self.given["config"]["model_name"],
                    "data": (self.given["data_dir"] / "words.txt").read_text(), "secret": secret,
                    "variable": os.environ.get("SIZE"), "helper": helper.ANSWER,
                    "directory": os.getcwd()}
"""


def test_what_a_model_is_given(tmp_path):
    model = truss(tmp_path, GIVEN, {"data/words.txt": "hello", "packages/helper.py": "ANSWER = 42\n"},
                  environment_variables={"SIZE": "large"},
                  secrets={"token": None, "fallback": "from the config"})
    served = Served(model, environment={"TRUSS_SECRET_token": "from outside",
                                        "TRUSS_SECRET_undeclared": "not to be seen"})

    def told(secret):
        answer = served.fetch(b'{"secret": "%s"}' % secret.encode())
        assert answer.status == 200, served.sidecar.tail()
        return answer.json()
    said = told("token")
    assert said.pop("given") == ["config", "data_dir", "environment", "lazy_data_resolver", "secrets"]
    assert said == {"model_name": "t", "data": "hello", "secret": "from outside", "variable": "large",
                    "helper": 42, "directory": str(model)}
    assert told("fallback")["secret"] == "from the config"
    assert told("undeclared")["secret"] == "SecretNotFound"


HEALTH = """
    import stage

    class Model:
        PREFIX def is_healthy(self):
            if stage.released("raise"):
                raise RuntimeError("ill")
            return not stage.released("ill")

        def predict(self, inputs):
            return "ran"
"""


@pytest.mark.parametrize("prefix", ["", "async"])
def test_is_healthy_decides_about_readiness_and_liveness_goes_on(tmp_path, prefix):
    served = Served(truss(tmp_path, HEALTH.replace("PREFIX ", prefix and prefix + " ")))
    assert served.get("/v1/models/t").status == 200
    assert served.get("/health/ready").json() == {"ready": True}
    for state in ("ill", "raise"):
        served.stage.release(state)
        answer = served.get("/v1/models/t")
        assert answer.status == 503
        assert answer.json() == {"error": "Model with name model is not ready."}
        ready = served.get("/health/ready")
        assert ready.status == 503 and "is_healthy" in ready.json()["error"]["message"]
        assert ready.header("x-penstock-reason") == "not_ready"
        for path in ("/", "/v1/models/t/loaded", "/health/live"):
            assert served.get(path).status == 200
    assert served.fetch().json() == "ran"


HANGS = """
    import stage

    class Model:
        def is_healthy(self):
            stage.note("asked")
            stage.hold("well")
            return True

        def predict(self, inputs):
            return "ran"
"""


def test_an_is_healthy_that_hangs_is_not_ready_and_is_asked_once(tmp_path):
    served = Served(truss(tmp_path, HANGS))
    probes = [served.call(b"", "/health/ready", method="GET") for _ in range(5)]
    assert [probe.response().status for probe in probes] == [503] * 5
    assert served.fetch().json() == "ran"
    assert len(served.stage.notes("asked")) == 1
    with served.call(b"", "/health/ready", method="GET") as late:
        served.stage.release("well")
        assert late.response().status == 200, "the answer to the question before is one to this"
    assert served.get("/health/ready").status == 200
    # The late one is a question of its own if it comes after the first one's answer.
    assert len(served.stage.notes("asked")) in (2, 3)


PRINTS = """
    import sys

    class Model:
        def predict(self, inputs):
            print("to standard output")
            print("to standard error", file=sys.stderr, flush=True)
            sys.stdout.flush()
            return None
"""


def test_what_a_model_prints_becomes_log_lines(tmp_path):
    served = Served(truss(tmp_path, PRINTS))
    assert served.fetch().body == b"null"
    for line in ("to standard output", "to standard error"):
        served.sidecar.wait_log("model output", line=line, pid=served.worker())


LOADS_FOREVER = """
    import stage

    class Model:
        def load(self):
            stage.note("load")
            stage.hold("never")

        def predict(self, inputs):
            pass
"""


def test_sigterm_while_loading_ends_both_processes(tmp_path):
    served = Served(truss(tmp_path, LOADS_FOREVER), ready=False)
    served.stage.wait("load")
    worker = served.worker()
    served.sidecar.signal(signal.SIGTERM)
    assert served.sidecar.wait() == 0
    eventually(lambda: executable(worker) is None, "the worker is gone")


STARTS_OTHERS = LOADS_FOREVER.replace('stage.hold("never")', """
            import subprocess
            subprocess.Popen(["sleep", "1000"], start_new_session=True)
            subprocess.run("(setsid sleep 1000 &)", shell=True)""")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_what_a_model_has_started_is_not_left_behind(tmp_path, number):
    family = new_family()
    served = Served(truss(tmp_path, STARTS_OTHERS), environment=family)
    equals(lambda: list(members(family).values()).count("sleep 1000"), 2)
    served.sidecar.signal(number)
    served.sidecar.wait()
    wait_gone(family)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_worker_is_left_behind(tmp_path, number):
    served = Served(truss(tmp_path, LOADS_FOREVER.replace('stage.hold("never")', "pass")))
    worker = served.worker()
    equals(lambda: children(served.sidecar.pid), [worker])
    served.sidecar.signal(number)
    assert served.sidecar.wait() == {signal.SIGTERM: 0, signal.SIGINT: 1, signal.SIGKILL: -9}[number]
    eventually(lambda: not os.path.exists(f"/proc/{worker}"), "the worker is gone")


def test_a_misplaced_predict_concurrency_is_an_error(tmp_path):
    sidecar = Sidecar(truss(tmp_path, "class Model: pass", predict_concurrency=4), ready=False)
    assert sidecar.wait() == 1
    assert any("runtime: { predict_concurrency" in line for line in sidecar.stray)


def test_the_schema_of_a_typed_predict(tmp_path):
    source = """
        import pydantic

        class In(pydantic.BaseModel):
            text: str

        class Out(pydantic.BaseModel):
            length: int

        class Model:
            def predict(self, inputs: In) -> Out:
                return Out(length=len(inputs.text))
    """
    served = Served(truss(tmp_path, source))
    assert served.fetch(b'{"text": "four"}').json() == {"length": 4}
    equals(lambda: served.get("/v1/models/t/schema").status, 200)
    assert "text" in str(served.get("/v1/models/t/schema").json()["input_schema"])
