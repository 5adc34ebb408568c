"""The secrets that the model may read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Dict, Iterator

_VARIABLE_PREFIX = "TRUSS_SECRET_"


class SecretNotFound(Exception):
    """A secret that the configuration does not name, or that has no value anywhere."""


class Secrets(Mapping):
    """Secrets by name, looked up when read: a file in the secrets directory, else the environment
    variable TRUSS_SECRET_<name>, else the value in the configuration. Only names that the
    configuration's `secrets` declares; they cannot be listed."""

    def __init__(self, declared: Dict[str, Any], directory: str):
        self._declared = declared
        self._directory = Path(directory)

    def __getitem__(self, name: str) -> str:
        if name not in self._declared:
            raise SecretNotFound(
                f"the secret {name!r} is not declared under secrets: in config.yaml"
            )
        value = self._find(name)
        if not value:
            raise SecretNotFound(
                f"the secret {name!r} has no value: there is neither "
                f"{self._directory / name} nor {_VARIABLE_PREFIX}{name}"
            )
        return value

    def _find(self, name: str) -> Any:
        path = self._directory / name
        if path.is_file():
            return path.read_text(encoding="utf-8")
        return os.environ.get(_VARIABLE_PREFIX + name, self._declared[name])

    def __iter__(self) -> Iterator[str]:
        raise NotImplementedError("secrets can be looked up by name, but not listed")

    def __len__(self) -> int:
        return len(self._declared)

    def __contains__(self, name: object) -> bool:
        return name in self._declared

    def __repr__(self) -> str:
        return f"<{len(self._declared)} secrets>"
