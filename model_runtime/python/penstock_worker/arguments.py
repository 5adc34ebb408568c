"""What a model's methods take: inputs, the request, both or nothing, told by their signatures."""

from __future__ import annotations

import inspect
import sys
import typing
from typing import Any, Callable, Dict, Optional

from .errors import DefinitionError

NONE, INPUTS, REQUEST, BOTH = range(4)


def _annotations(function: Any) -> Dict[str, Any]:
    """The annotations with names in text resolved where that is possible."""
    plain = inspect.unwrap(function)
    plain = getattr(plain, "__func__", plain)
    if not hasattr(plain, "__annotations__"):
        plain = getattr(type(function), "__call__", plain)
    try:
        return typing.get_type_hints(plain)
    except Exception:
        return dict(getattr(plain, "__annotations__", {}))


def _is_request(annotation: Any, name: str) -> bool:
    requests = sys.modules.get("starlette.requests")
    if annotation is inspect.Parameter.empty:  # where no Request can be imported, its name will do
        return name == "request" and requests is None
    if isinstance(annotation, type):
        return requests is not None and issubclass(annotation, requests.Request)
    # A name that only a type checker imports.
    return isinstance(annotation, str) and annotation.rsplit(".", 1)[-1] == "Request"


class Method:
    """One method of the model: what it takes, and what kind of function it is."""

    __slots__ = (
        "name",
        "function",
        "takes",
        "is_coroutine",
        "is_async_generator",
        "is_generator",
        "parameters",
        "annotations",
    )

    def __init__(self, name: str, function: Callable[..., Any]):
        self.name = name
        self.function = function
        self.is_coroutine = _is(inspect.iscoroutinefunction, function)
        self.is_async_generator = _is(inspect.isasyncgenfunction, function)
        self.is_generator = _is(inspect.isgeneratorfunction, function)
        self.parameters = list(inspect.signature(function).parameters.values())
        self.annotations = _annotations(function)
        self.takes = self._what_it_takes()

    @property
    def is_async(self) -> bool:
        return self.is_coroutine or self.is_async_generator

    def annotation(self, index: int) -> Any:
        parameter = self.parameters[index]
        return self.annotations.get(parameter.name, parameter.annotation)

    def return_annotation(self) -> Any:
        return self.annotations.get("return", inspect.Signature.empty)

    def _takes_request(self, index: int) -> bool:
        return _is_request(self.annotation(index), self.parameters[index].name)

    def _what_it_takes(self) -> int:
        count = len(self.parameters)
        if count == 0:
            return NONE
        if count == 1:
            return REQUEST if self._takes_request(0) else INPUTS
        if count > 2:
            raise DefinitionError(
                f"{self.name} takes {count} arguments, but at most two are given: "
                "inputs and request"
            )
        if self._takes_request(0):
            raise DefinitionError(
                f"{self.name} takes the request first; it has to be the second argument"
            )
        if not self._takes_request(1):
            raise DefinitionError(
                f"the second argument of {self.name} has to be annotated as "
                "starlette.requests.Request"
            )
        return BOTH

    def call(self, call: Any, inputs: Any) -> Any:
        """The function's result for that call: a value, a coroutine or a generator."""
        takes = self.takes
        if takes == INPUTS:
            return self.function(inputs)
        if takes == BOTH:
            return self.function(inputs, call.request())
        if takes == REQUEST:
            return self.function(call.request())
        return self.function()


def _is(question: Callable[[Any], bool], function: Any) -> bool:
    return question(function) or question(getattr(function, "__call__", None))


def method_of(model: Any, name: str) -> Optional[Method]:
    function = getattr(model, name, None)
    return Method(name, function) if function is not None else None
