"""The loaded model as the rest of the worker sees it: its operations and their stages."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from . import frames, pydantic_types
from .arguments import INPUTS, NONE, REQUEST, Method, method_of
from .errors import DefinitionError
from .sharing import Sharing

_SHORT_NS = 200_000


class Operation:
    """One route of the model: the method that predicts, with the stages around it."""

    __slots__ = (
        "name",
        "method",
        "preprocess",
        "postprocess",
        "asynchronous",
        "parses",
        "input_type",
        "is_short",
        "sharing",
        "_typical_ns",
    )

    def __init__(
        self,
        name: str,
        method: Method,
        preprocess: Optional[Method] = None,
        postprocess: Optional[Method] = None,
        input_type: Any = None,
    ):
        self.name = name
        self.method = method
        self.preprocess = preprocess
        self.postprocess = postprocess
        self.asynchronous = method.is_async
        self.input_type = input_type
        self.is_short = (
            False  # predict, lately, has taken so little that a thread of its own is a waste
        )
        self.sharing = Sharing()
        self._typical_ns = 50 * _SHORT_NS
        self.parses = not (
            method.takes == REQUEST and (preprocess is None or preprocess.takes == REQUEST)
        )

    def took(self, nanoseconds: int) -> None:
        """Learns from one predict on a thread."""
        typical = self._typical_ns + (nanoseconds - self._typical_ns) // 8
        self._typical_ns = typical
        self.is_short = typical < _SHORT_NS


class LoadedModel:
    """Raises DefinitionError where Truss refuses a model, except that any operation makes a
    model."""

    def __init__(self, model: Any):
        self.model = model
        self.is_healthy = method_of(model, "is_healthy")
        self.setup_environment = getattr(model, "setup_environment", None)
        methods = {name: method_of(model, name) for name in frames.OPERATIONS}
        preprocess = method_of(model, "preprocess")
        postprocess = method_of(model, "postprocess")
        self._check(methods, preprocess, postprocess)
        predict = methods["predict"]
        self.schema = pydantic_types.schema_of(preprocess, predict, postprocess)
        # Truss reads the body of every operation as predict's type, so that is what models expect.
        input_type = self.schema.input_type if self.schema is not None else None
        self.operations: List[Optional[Operation]] = []
        for name, method in methods.items():
            if method is None:
                self.operations.append(None)
            elif name == "predict":
                self.operations.append(Operation(name, method, preprocess, postprocess, input_type))
            else:
                self.operations.append(Operation(name, method, input_type=input_type))

    def _check(
        self,
        methods: Dict[str, Optional[Method]],
        preprocess: Optional[Method],
        postprocess: Optional[Method],
    ) -> None:
        predict, websocket = methods["predict"], methods["websocket"]
        if not any(methods.values()):
            raise DefinitionError("the model class has neither predict nor websocket")
        if self.is_healthy is not None and self.is_healthy.takes != NONE:
            raise DefinitionError("is_healthy takes no argument but self")
        if websocket is not None:
            if predict or preprocess or postprocess:
                raise DefinitionError(
                    "a model with websocket cannot have predict, preprocess or postprocess"
                )
            if websocket.takes != INPUTS or not websocket.is_coroutine:
                raise DefinitionError("websocket has to be async def, with one argument")
        if predict is not None and preprocess is not None and predict.takes == REQUEST:
            raise DefinitionError(
                "predict takes only the request, so what preprocess returns is lost"
            )
        if postprocess is not None and postprocess.takes == REQUEST:
            raise DefinitionError(
                "postprocess takes only the request, so what predict returns is lost"
            )

    @property
    def preprocess(self) -> Optional[Method]:
        predict = self.operations[0]
        return predict.preprocess if predict is not None else None

    @property
    def is_async(self) -> bool:
        """Whether anything of it runs on the event loop for certain."""
        return any(each is not None and each.asynchronous for each in self.operations)
