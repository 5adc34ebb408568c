"""Failures as Truss answers them: the status, the two headers, the body."""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any, NoReturn, Optional, Tuple

from . import frames

MODEL_ERROR_MESSAGE = "Internal Server Error (in model/chainlet)."
_OWN_FOLDER = __file__.rsplit("/", 1)[0] + "/"


class ContentError(Exception):
    """The request's body cannot be read as what it says it is."""


class DefinitionError(Exception):
    """The model class is not what a Truss model has to be."""


class EncodeError(Exception):
    """What the model returned has no form in the format of the answer."""


def own_mistake(error: BaseException) -> NoReturn:
    """The worker itself has failed: a request may be lost, so the process ends, and is replaced."""
    traceback.print_exception(type(error), error, error.__traceback__)
    sys.stderr.flush()
    os._exit(70)


def error_headers(code: int) -> list:
    return [["x-baseten-error-source", "04"], ["x-baseten-error-code", f"{code:03}"]]


def _headers(code: int) -> bytes:
    headers = [["content-type", "application/json"]] + error_headers(code)
    return json.dumps(headers, separators=(",", ":")).encode()


_HEADERS = {code: _headers(code) for code in (500, 600, 700)}


def _body(detail: Any) -> bytes:
    try:
        return json.dumps(
            {"error": detail}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except BaseException:
        return json.dumps({"error": _text(detail)}).encode()


def _text(detail: Any) -> str:
    try:
        return str(detail)
    except BaseException:
        return MODEL_ERROR_MESSAGE


def is_final_status(status: int) -> bool:
    return 200 <= status <= 599


Answer = Tuple[int, int, bytes, frames.Body]  # outcome, status, headers, body


def http_exception_type() -> Any:
    """Starlette's HTTPException (FastAPI's is one) if the model has imported it, else None."""
    module = sys.modules.get("starlette.exceptions")
    return getattr(module, "HTTPException", None)


def bad_request(message: str) -> Answer:
    return frames.REQUEST_AT_FAULT, 400, _HEADERS[700], _body(message)


def encoding_failed(message: str) -> Answer:
    return frames.MODEL_AT_FAULT, 500, _HEADERS[500], _body(message)


def model_failed(exception: Optional[BaseException] = None) -> Answer:
    """The answer to an exception that model code raised."""
    kind = http_exception_type()
    try:
        if kind is not None and isinstance(exception, kind):
            status = int(exception.status_code)
            if is_final_status(status):
                outcome = frames.MODEL_AT_FAULT if status >= 500 else frames.REQUEST_AT_FAULT
                return outcome, status, _HEADERS[600], _body(exception.detail)
    except BaseException:
        pass  # an HTTPException that is not one
    return frames.MODEL_AT_FAULT, 500, _HEADERS[600], _body(MODEL_ERROR_MESSAGE)


_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def in_api_form(answer: Answer, operation: str) -> Answer:
    """An answer of the above, as clients of that operation expect it: those of OpenAI's routes
    look for a message and a type, those of Anthropic's for another type beside it."""
    if operation in ("predict", "websocket"):
        return answer
    outcome, status, headers, body = answer
    detail = json.loads(body)["error"]
    error = {
        "message": detail if isinstance(detail, str) else json.dumps(detail),
        "type": _OPENAI_TYPES.get(
            status, "invalid_request_error" if status < 500 else "server_error"
        ),
        "param": None,
        "code": None,
    }
    if isinstance(detail, dict) and isinstance(detail.get("message"), str):
        error.update(detail)
    whole = {"type": "error", "error": error} if operation == "messages" else {"error": error}
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    return outcome, status, headers, text.encode("utf-8", "backslashreplace")


def describe(exception: BaseException) -> str:
    """ "ValueError: text" in one line."""
    try:
        text = " ".join(str(exception).split())
    except BaseException:
        text = ""
    name = type(exception).__name__
    return f"{name}: {text}" if text else name


def model_traceback(exception: BaseException) -> str:
    """The traceback from the first frame that is not the worker's own; empty if the exception
    cannot be described."""
    try:
        step = exception.__traceback__
        while step is not None and step.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
            step = step.tb_next
        return "".join(
            traceback.format_exception(type(exception), exception, step or exception.__traceback__)
        )
    except BaseException:
        return ""
