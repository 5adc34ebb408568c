"""The environment that a deployment runs in (Baseten: production, staging, …), a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Optional

DEFAULT_FILE = "/etc/b10_dynamic_config/environment"
POLL_SECONDS = 30.0


class EnvironmentFile:
    """Reads the file; changed() gives what has not been given before. For one thread at a time."""

    def __init__(self, path: str):
        self._path = Path(path)
        self._modified: Optional[int] = None
        self._last: Any = None

    def read(self) -> Any:
        """What the file says; None if there is none or it is empty."""
        try:
            text = self._path.read_text(encoding="utf-8")
        except OSError:
            return None
        return json.loads(text) if text.strip() else None

    def changed(self) -> Any:
        """The environment if it is another one than last time, else None."""
        try:
            modified = self._path.stat().st_mtime_ns
        except OSError:
            return None
        if modified == self._modified:
            return None
        self._modified = modified
        environment = self.read()
        if environment is None or environment == self._last:
            return None
        self._last = environment
        return environment


def poll(
    file: EnvironmentFile,
    wait: Callable[[float], bool],
    set_up: Callable[[Any], None],
    failed: Callable[[BaseException], None],
    seconds: float = POLL_SECONDS,
) -> None:
    """Tells the model of each change until wait() returns True."""
    while not wait(seconds):
        try:
            environment = file.changed()
            if environment is not None:
                set_up(environment)
        except BaseException as error:
            failed(error)
