"""pydantic types (version 1 or 2) in the signatures of the model's methods."""

from __future__ import annotations

import collections.abc as abc
import sys
import typing
from typing import Any, List, Optional

from . import content
from .arguments import Method
from .body import Body
from .errors import ContentError

_GENERATORS = (abc.Generator, abc.AsyncGenerator, abc.Iterator, abc.AsyncIterator)


def _is_model_type(annotation: Any) -> bool:
    base = getattr(sys.modules.get("pydantic"), "BaseModel", None)
    return base is not None and isinstance(annotation, type) and issubclass(annotation, base)


def _origin_is(annotation: Any, kinds: tuple) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, kinds)


class Schema:
    """What GET …/schema says: the types of the body and of the answer."""

    def __init__(self, input_type: Any, output_type: Any, streams: Optional[bool]):
        self.input_type = input_type
        self.output_type = output_type
        self.streams = streams

    def as_json(self) -> dict:
        return {
            "input_schema": _json_schema(self.input_type),
            "output_schema": _json_schema(self.output_type),
            "supports_streaming": self.streams,
        }


def _json_schema(kind: Any) -> Optional[dict]:
    """None if there is no type, or it has a field that JSON Schema cannot describe."""
    try:
        return kind.model_json_schema() if hasattr(kind, "model_json_schema") else kind.schema()
    except Exception:
        return None


def schema_of(
    preprocess: Optional[Method], predict: Optional[Method], postprocess: Optional[Method]
) -> Optional[Schema]:
    """The schema of predict with its stages; None if nothing in the signatures says anything."""
    first = preprocess or predict
    if first is None or predict is None:
        return None
    input_type = first.annotation(0) if first.parameters else None
    if not _is_model_type(input_type):
        input_type = None
    output_type, streams = _output_type((postprocess or predict).return_annotation())
    if input_type is None and streams is None:
        return None
    return Schema(input_type, output_type, streams)


def _output_type(annotation: Any) -> tuple:
    """(model type or None, whether it streams); (None, None) if the annotation says neither."""
    if _is_model_type(annotation):
        return annotation, False
    if _origin_is(annotation, _GENERATORS):
        return None, True
    if _origin_is(annotation, (abc.Awaitable,)):
        inner = typing.get_args(annotation)[-1]
        return (inner, False) if _is_model_type(inner) else (None, None)
    arms = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Union and len(arms) == 2:
        models: List[Any] = [kind for kind in map(_plain, arms) if kind is not None]
        if len(models) == 1 and any(_origin_is(arm, _GENERATORS) for arm in arms):
            return models[0], True
    return None, None


def _plain(arm: Any) -> Any:
    if _origin_is(arm, (abc.Awaitable,)):
        arm = typing.get_args(arm)[-1]
    return arm if _is_model_type(arm) else None


def parse(kind: Any, body: Body, binary: bool) -> Any:
    """The body as a value of that pydantic type; ContentError says what is wrong with it."""
    value = content.decode(body, binary)
    validate = getattr(kind, "model_validate", None) or kind.parse_obj
    try:
        return validate(value)
    except sys.modules["pydantic"].ValidationError as error:
        raise ContentError(_explain(error)) from None


def _explain(error: Any) -> str:
    try:
        lines = [f"  `{_path(each['loc'])}`: {each['msg']}." for each in error.errors()]
    except Exception:
        return f"Input Parsing Error, {error}"
    return "\n".join(
        ["Input Parsing Error:" if len(lines) == 1 else "Input Parsing Errors:"] + lines
    )


def _path(location: tuple) -> str:
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else str(step)
    return path
