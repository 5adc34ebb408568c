"""config.yaml as Truss reads it, and what is said about a key that means nothing here.

Promised: a model is given what Truss would give it: YAML 1.1's numbers, and defaults. A variable of the
environment is Truss's text. A misspelt key is named with the one that was meant: in the log, and inside
`runtime` as an error, since a limit that silently does not hold is worse than a program that does not start.

Shown: Trusses of a few lines, as their models and their logs see them.
"""

import json
import sys

from support.programs import binary, run_to_end
from support.truss import Served

SHOW = """
import os

class Model:
    def __init__(self, config):
        self.config = config

    def predict(self, name):
        return os.environ[name] if name.isupper() else [
            type(value).__name__ + " " + str(value) for value in self.config[name].values()]
"""


def write(folder, config, model=SHOW):
    (folder / "model").mkdir()
    (folder / "model/model.py").write_text(model)
    (folder / "config.yaml").write_text(config + f"\npenstock: {{ python: {sys.executable} }}\n")
    return folder


def test_values_are_those_of_yaml_1_1(tmp_path):
    served = Served(write(tmp_path, """
model_metadata: { a: .5, b: 0x1F, c: 1_000, d: 12:30:45, e: 017, f: .inf, g: yes, h: 2020-01-01,
  i: 2001-12-14 21:59:43Z, j: 1e3, k: null, l: '5', m: 123456789012345678901234567890 }
environment_variables: { UNSET: null, FLAG: yes, NUMBER: 0x10, TEXT: '0x10' }
"""))

    def ask(name):
        return json.loads(served.fetch(json.dumps(name).encode()).body)

    assert ask("model_metadata") == [
        "float 0.5", "int 31", "int 1000", "int 45045", "int 15", "float inf", "bool True",
        "str 2020-01-01", "str 2001-12-14T21:59:43Z", "str 1e3", "NoneType None", "str 5",
        "int 123456789012345678901234567890",
    ]
    assert "int 1" in ask("runtime")
    assert [ask(name) for name in ("UNSET", "FLAG", "NUMBER", "TEXT")] == [
        "None", "true", "16", "0x10"]
    assert not served.sidecar.finish()


def test_the_log_names_what_means_nothing_here(tmp_path):
    served = Served(write(tmp_path, """
predict_concurency: 4
requirements: [numpy]
weights: [{ source: hf://a/b, mount_location: /m }]
build_commands: [make]
"""))
    warnings = [line["warning"] for line in served.sidecar.logged("config.yaml")]
    assert len(warnings) == 2
    assert 'did you mean "predict_concurrency"?' in warnings[0] and ":2:1:" in warnings[0]
    assert warnings[1].endswith("no effect here: build_commands, weights")
    (left,) = served.sidecar.logged("config.yaml: keys that are left to the image")
    assert left["keys"] == "requirements"
    assert not served.sidecar.finish()


def test_a_misspelt_limit_is_an_error(tmp_path):
    model = write(tmp_path, "runtime: { predict_concurency: 4 }")
    code, _, error = run_to_end([binary("penstock-sidecar"), "--model", model,
                                 "--listen", "127.0.0.1:0"])
    assert code == 1
    assert 'config.yaml:1:12: runtime: unknown key "predict_concurency"' in error
    assert 'did you mean "predict_concurrency"?' in error
