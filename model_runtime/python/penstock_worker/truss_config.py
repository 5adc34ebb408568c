"""The configuration as Truss hands it to a model: what config.yaml leaves out has its default."""

from __future__ import annotations

import copy
from typing import Any, Dict

_DEFAULTS: Dict[str, Any] = {
    "apply_library_patches": True,
    "base_image": None,
    "bis_llm": None,
    "build": {
        "arguments": {},
        "model_server": "TrussServer",
        "no_cache": False,
        "secret_to_path_mapping": {},
    },
    "build_commands": [],
    "bundled_packages_dir": "packages",
    "cache_internal": [],
    "data_dir": "data",
    "description": None,
    "docker_server": None,
    "environment_variables": {},
    "examples_filename": "examples.yaml",
    "external_data": None,
    "external_package_dirs": [],
    "input_type": "Any",
    "live_reload": False,
    "model_cache": [],
    "model_class_filename": "model.py",
    "model_class_name": "Model",
    "model_framework": "custom",
    "model_metadata": {},
    "model_module_dir": "model",
    "model_name": None,
    "model_type": "Model",
    "python_version": "py313",
    "requirements": [],
    "requirements_file": None,
    "resources": {"accelerator": None, "cpu": "1", "memory": "2Gi"},
    "runtime": {
        "egress_restrictions": None,
        "enable_debug_logs": False,
        "enable_tracing_data": False,
        "health_checks": {
            "restart_check_delay_seconds": None,
            "restart_threshold_seconds": None,
            "startup_threshold_seconds": None,
            "stop_traffic_threshold_seconds": None,
        },
        "is_websocket_endpoint": False,
        "oidc": {"enabled": None},
        "predict_concurrency": 1,
        "remote_ssh": {"enabled": False},
        "request_backpressure": {"policy": None},
        "streaming_read_timeout": 60,
        "transport": {"kind": "http"},
        "truss_server_version_override": None,
    },
    "secrets": {},
    "spec_version": "2.0",
    "system_packages": [],
    "training_checkpoints": None,
    "trt_llm": None,
    "use_local_src": False,
    "weights": [],
}

# What the parts of optional sections have, once there is such a section.
_BASE_IMAGE = {"docker_auth": None, "image": "", "python_executable_path": ""}
_MODEL_REPOSITORY = {
    "allow_patterns": None,
    "ignore_patterns": None,
    "kind": "hf",
    "revision": "",
    "runtime_secret_name": "hf_access_token",
    "use_volume": False,
    "volume_folder": None,
}
_WEIGHTS = {
    "allow_patterns": None,
    "auth": None,
    "auth_secret_name": None,
    "ignore_patterns": None,
}
_EXTERNAL_DATA = {"backend": "http_public", "name": None}
_ITEMS = {
    "cache_internal": _MODEL_REPOSITORY,
    "external_data": _EXTERNAL_DATA,
    "model_cache": _MODEL_REPOSITORY,
    "weights": _WEIGHTS,
}


def with_defaults(written: Dict[str, Any]) -> Dict[str, Any]:
    """Everything that is written stays as it is, but a key with nothing behind it, which has its
    default."""
    config = _merged(written, _DEFAULTS)
    if "hf_cache" in config:  # the older name
        older = config.pop("hf_cache") or []
        config["model_cache"] = config["model_cache"] or older
    if config["base_image"]:
        config["base_image"] = _merged(config["base_image"], _BASE_IMAGE)
    for name, defaults in _ITEMS.items():
        items = config[name] or []
        if items:
            config[name] = [_merged(each, defaults) for each in items]
    config["environment_variables"] = {
        name: _variable(value) for name, value in config["environment_variables"].items()
    }
    config["resources"]["use_gpu"] = bool(config["resources"]["accelerator"])
    _settle_transport(written.get("runtime") or {}, config["runtime"])
    return config


def _merged(written: Any, defaults: Dict[str, Any]) -> Any:
    if not isinstance(written, dict):
        return written
    merged = copy.deepcopy(defaults)
    for name, value in written.items():
        default = merged.get(name)
        if isinstance(default, dict) and isinstance(value, dict):
            merged[name] = _merged(value, default)
        elif value is not None or name not in merged:
            merged[name] = value
    return merged


def _variable(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _settle_transport(written: Dict[str, Any], runtime: Dict[str, Any]) -> None:
    """`is_websocket_endpoint` is the older way to say so; both are true together."""
    if runtime["is_websocket_endpoint"]:
        runtime["transport"] = _websocket(written.get("transport") or {})
    elif runtime["transport"].get("kind") == "websocket":
        runtime["transport"] = _websocket(runtime["transport"])
        runtime["is_websocket_endpoint"] = True


def _websocket(written: Dict[str, Any]) -> Dict[str, Any]:
    defaults = {"ping_interval_seconds": None, "ping_timeout_seconds": None}
    return {**_merged(written, defaults), "kind": "websocket"}
