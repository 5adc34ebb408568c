"""The config that a model is given: Truss's defaults around what is written."""

SHOW = """
class Model:
    def __init__(self, config): self.config = config
    def predict(self, x): return self.config
"""


def shown(serve, written):
    return serve(SHOW, config=written).call().json


def test_an_empty_config_has_every_default(serve):
    config = shown(serve, {})
    assert config["runtime"]["predict_concurrency"] == 1
    assert config["runtime"]["streaming_read_timeout"] == 60
    assert config["runtime"]["transport"] == {"kind": "http"}
    assert config["resources"] == {
        "accelerator": None, "cpu": "1", "memory": "2Gi", "use_gpu": False,
    }
    assert config["model_metadata"] == config["secrets"] == config["environment_variables"] == {}
    assert config["model_name"] is None and config["base_image"] is None
    assert config["python_version"] == "py313" and config["spec_version"] == "2.0"
    assert len(config) == 36


def test_what_is_written_stays_and_sections_are_completed(serve):
    config = shown(serve, {
        "model_name": "m",
        "own": {"a": None},
        "model_metadata": {"tags": ["x"], "runtime": None},
        "resources": {"accelerator": "H100:2"},
        "runtime": {"predict_concurrency": 3, "health_checks": {"startup_threshold_seconds": 9}},
    })
    assert config["model_name"] == "m" and config["own"] == {"a": None}
    assert config["model_metadata"] == {"tags": ["x"], "runtime": None}
    assert config["resources"]["use_gpu"] is True and config["resources"]["cpu"] == "1"
    assert config["runtime"]["predict_concurrency"] == 3
    assert config["runtime"]["health_checks"]["startup_threshold_seconds"] == 9
    assert config["runtime"]["health_checks"]["restart_threshold_seconds"] is None


def test_nothing_behind_a_key_is_its_default(serve):
    names = [
        "build", "bundled_packages_dir", "data_dir", "environment_variables",
        "external_package_dirs", "model_class_filename", "model_class_name", "model_metadata",
        "model_module_dir", "resources", "runtime", "secrets", "weights",
    ]
    assert shown(serve, dict.fromkeys(names)) == shown(serve, {})


def test_optional_sections_have_the_defaults_of_their_parts(serve):
    config = shown(serve, {
        "base_image": {"image": "i"},
        "hf_cache": [{"repo_id": "r"}],
        "weights": [{"source": "hf://a/b", "mount_location": "/m"}],
    })
    assert config["base_image"] == {"docker_auth": None, "image": "i", "python_executable_path": ""}
    assert config["model_cache"][0]["repo_id"] == "r" and config["model_cache"][0]["kind"] == "hf"
    assert "hf_cache" not in config
    assert config["weights"][0]["auth"] is None


def test_variables_are_text(serve):
    variables = {"none": None, "yes": True, "n": 5, "t": "x"}
    assert shown(serve, {"environment_variables": variables})["environment_variables"] == {
        "none": "None", "yes": "true", "n": "5", "t": "x",
    }


def test_a_websocket_is_one_by_either_name(serve):
    by_kind = shown(serve, {"runtime": {"transport": {"kind": "websocket"}}})["runtime"]
    by_flag = shown(serve, {"runtime": {"is_websocket_endpoint": True}})["runtime"]
    assert by_kind == by_flag
    assert by_kind["is_websocket_endpoint"] is True
    assert by_kind["transport"]["ping_timeout_seconds"] is None
