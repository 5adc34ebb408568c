"""What the worker has to say goes to the sidecar's log."""

from __future__ import annotations

from typing import Any, Dict, Optional

from . import frames
from .call import Call
from .channel import Channel
from .errors import model_traceback

_MOST_CHARACTERS = 64 * 1024


class Journal:
    """LOG frames. For any thread. A failure is put, and flushed with the frame that follows from
    it."""

    def __init__(self, channel: Channel):
        self._channel = channel

    def warning(self, message: str, error: Optional[BaseException] = None) -> None:
        self._write("warning", message, None, error)
        self._channel.flush()

    def failure(self, message: str, error: BaseException, call: Optional[Call] = None) -> None:
        self._write("error", message, call, error)

    def _write(
        self, level: str, message: str, call: Optional[Call], error: Optional[BaseException]
    ) -> None:
        entry: Dict[str, Any] = {"level": level, "message": message[:_MOST_CHARACTERS]}
        if call is not None and call.meta.get("request_id"):
            entry["request_id"] = call.meta["request_id"]
        if error is not None:
            entry["traceback"] = model_traceback(error)[-_MOST_CHARACTERS:]
        self._channel.put(frames.about_worker(frames.LOG, entry))
