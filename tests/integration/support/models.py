"""Model directories for the sidecar, and requests for the `stages` example."""

import json
import pathlib
import shutil
import tempfile

import yaml

from .programs import SOURCE

EXAMPLES = SOURCE / "examples"


def model_copy(name, change, folder=None):
    """A copy of an example's model directory whose config.yaml `change(config)` has changed."""
    target = pathlib.Path(folder or tempfile.mkdtemp(prefix="penstock-model-")) / name
    target.mkdir()
    config = yaml.safe_load((EXAMPLES / name / "config.yaml").read_text(encoding="utf-8"))
    change(config)
    (target / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return target


def stages_model(predict_concurrency=1, folder=None):
    """examples/stages with another predict concurrency."""
    def change(config):
        config.setdefault("runtime", {})["predict_concurrency"] = predict_concurrency
    return model_copy("stages", change, folder)


def remove(folder):
    shutil.rmtree(folder, ignore_errors=True)


def stages_body(**fields):
    """preprocess_ms, predict_ms, postprocess_ms, busy, echo."""
    return json.dumps(fields).encode()


def times(answer, stage):
    """(start, end) of a stage, by the replica's own monotonic clock."""
    span = answer.json()["stages"][stage]
    return span["start"], span["end"]
