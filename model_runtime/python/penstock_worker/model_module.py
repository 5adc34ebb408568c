"""The module that the model's file becomes. It can be found in sys.modules under its name, as
dataclasses, pickle and the processes that a model starts need it; as in Truss that is model.model.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

_NAME_OF_LAST_RESORT = "penstock_model"


def import_model(directory: Path, file: Path) -> ModuleType:
    """Imports `file`, which lies under `directory`, the head of the import path. Raises whatever
    the model's code raises."""
    importlib.invalidate_caches()
    name = _dotted(directory, file)
    if name is not None and _leads_to(name, file):
        return importlib.import_module(name)
    # A folder that is no name of Python's, or the name of another package: processes that are
    # spawned cannot find this one, all else can.
    name = file.stem if file.stem.isidentifier() and _find(file.stem) is None else None
    return _import_as(name or _NAME_OF_LAST_RESORT, file)


def _dotted(directory: Path, file: Path) -> Optional[str]:
    relative = os.path.relpath(file.with_suffix(""), directory)
    parts = [] if file.suffix != ".py" else relative.split(os.sep)
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else None


def _find(name: str) -> Any:
    loaded = sys.modules.get(name)
    if loaded is None:
        return importlib.util.find_spec(name)
    return getattr(loaded, "__spec__", None) or loaded


def _leads_to(name: str, file: Path) -> bool:
    """Whether `name` imports that file. Only the model's own packages are imported to find out."""
    package, _, _ = name.rpartition(".")
    if package and not _leads_to_folder(package, file.parent):
        return False
    origin = getattr(_find(name), "origin", None)
    return origin is not None and os.path.exists(origin) and os.path.samefile(origin, file)


def _leads_to_folder(package: str, folder: Path) -> bool:
    above, _, _ = package.rpartition(".")
    if above and not _leads_to_folder(above, folder.parent):
        return False
    places = getattr(_find(package), "submodule_search_locations", None) or ()
    return any(os.path.isdir(place) and os.path.samefile(place, folder) for place in places)


def _import_as(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
