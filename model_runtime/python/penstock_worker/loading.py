"""From a model directory to a loaded model. Whatever goes wrong is a LoadError of one sentence."""

from __future__ import annotations

import inspect
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict

from .environment import DEFAULT_FILE, EnvironmentFile
from .errors import DefinitionError, describe
from .lazy_data import LazyDataResolver
from .model import LoadedModel
from .model_module import import_model
from .secret_values import Secrets
from .truss_config import with_defaults

_RETRY_SECONDS = 1.0
_log = logging.getLogger("penstock")


class LoadError(Exception):
    """The one sentence that the user reads; the cause has the traceback."""


class Loader:
    """Loads the model of a START frame. await_coroutine runs an async load on the event loop."""

    def __init__(
        self,
        start: Dict[str, Any],
        await_coroutine: Callable[[Any], Any],
        retry: Callable[[str, BaseException], None],
    ):
        self._start = start
        self._config: Dict[str, Any] = with_defaults(start["config"])
        self._directory = Path(start["directory"])
        self._await = await_coroutine
        self._retry = retry
        self.environment = EnvironmentFile(start.get("environment_file", DEFAULT_FILE))

    def load(self) -> LoadedModel:
        self._prepare_process()
        file = self._model_file()
        model_class = self._import(file)
        model = self._run(f"{model_class.__name__}.__init__", self._construct, model_class)
        try:
            loaded = LoadedModel(model)
        except DefinitionError as error:
            raise LoadError(f"{file.name}: {error}") from None
        except Exception as error:
            raise LoadError(f"{file.name} cannot be served: {describe(error)}") from error
        if loaded.setup_environment is not None:
            self._run("setup_environment", self._set_up_environment, loaded)
        if hasattr(model, "load"):
            self._run(f"{model_class.__name__}.load", self._load, model)
        return loaded

    def _prepare_process(self) -> None:
        """Working directory and import path as in a Truss container."""
        os.chdir(self._directory)
        sys.path.insert(0, str(self._directory))
        packages = [self._config.get("bundled_packages_dir", "packages")]
        for folder in packages + list(self._config.get("external_package_dirs") or []):
            path = (self._directory / folder).resolve()
            if path.is_dir() and str(path) not in sys.path:
                sys.path.append(str(path))
        try:
            self._data_directory().mkdir(exist_ok=True)
        except OSError:
            pass  # a model directory that cannot be written to has its data already, or none

    def _data_directory(self) -> Path:
        return self._directory / self._config.get("data_dir", "data")

    def _model_file(self) -> Path:
        folder = self._config.get("model_module_dir", "model")
        file = self._directory / folder / self._config.get("model_class_filename", "model.py")
        if not file.is_file():
            raise LoadError(f"{file.relative_to(self._directory)} does not exist")
        return file

    def _import(self, file: Path) -> Any:
        what = f"import of {file.relative_to(self._directory)}"
        module = self._run(what, import_model, self._directory, file)
        name = self._config.get("model_class_name", "Model")
        if not hasattr(module, name):
            raise LoadError(f"{file.name} has no class {name}")
        return getattr(module, name)

    def _construct(self, model_class: Any) -> Any:
        given = {
            "config": self._config,
            "data_dir": self._data_directory(),
            "secrets": Secrets(self._config.get("secrets") or {}, self._start["secrets_directory"]),
            "lazy_data_resolver": LazyDataResolver(self._data_directory()),
            "environment": self.environment.read(),
        }
        parameters = inspect.signature(model_class).parameters
        if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
            given = {name: value for name, value in given.items() if name in parameters}
        return model_class(**given)

    def _set_up_environment(self, loaded: LoadedModel) -> None:
        environment = self.environment.changed()
        if environment is not None:
            self.call(loaded.setup_environment, environment)

    def _load(self, model: Any) -> None:
        retries = int(os.environ.get("NUM_LOAD_RETRIES_TRUSS", "1"))
        for left in range(retries, -1, -1):
            try:
                self.call(model.load)
                return
            except Exception as error:
                if left == 0:
                    raise
                self._retry(f"load failed and is tried again: {describe(error)}", error)
                time.sleep(_RETRY_SECONDS)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls a function of the model's that may be async."""
        result = function(*arguments)
        return self._await(result) if inspect.isawaitable(result) else result

    def _run(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs the model's code; what it raises becomes a sentence."""
        try:
            return function(*arguments)
        except ModuleNotFoundError as error:
            raise LoadError(f"{what} failed: {self._missing(error)}") from error
        except SyntaxError as error:
            raise LoadError(
                f"{what} failed: {error.msg} ({os.path.basename(str(error.filename or '?'))}, "
                f"line {error.lineno})"
            ) from error
        except ImportError as error:
            raise LoadError(f"{what} failed: {describe(error)}{_relative_import(error)}") from error
        except BaseException as error:
            raise LoadError(f"{what} failed: {describe(error)}") from error

    def _missing(self, error: ModuleNotFoundError) -> str:
        """Which module, for which interpreter, and what helps."""
        if not error.name:
            return describe(error)
        package = error.name.partition(".")[0]
        folder = self._config.get("model_module_dir", "model")
        if package in sys.modules:
            return f"{package!r} has no module {error.name!r}"
        if any((self._directory / folder / each).exists() for each in (package, f"{package}.py")):
            return (
                f"there is no module {error.name!r}; it is in the folder {folder}: "
                "import it from there"
            )
        return (
            f"the Python module {error.name!r} is not installed for {sys.executable} "
            f"(Python {sys.version_info[0]}.{sys.version_info[1]}); install it there, or name the "
            "interpreter that has it in config.yaml, as penstock: { python: ... }"
        )


def _relative_import(error: ImportError) -> str:
    if "no known parent package" not in str(error):
        return ""
    return "; the model's folder is no package of that name, so its imports have to be absolute"
