"""What the worker has to say goes to the sidecar's log."""

from __future__ import annotations

from typing import Any, Dict, Optional

from . import frames
from .call import Call
from .channel import Channel
from .errors import model_traceback

_FEWER_CHARACTERS = 1024


class Journal:
    """LOG frames. For any thread. A failure is put, and flushed with the frame that follows from
    it. Best effort: what cannot be said is left out, and never costs more than itself."""

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
        entry: Dict[str, Any] = {"level": level, "message": message[:frames.MAX_TEXT]}
        if call is not None and call.meta.get("request_id"):
            entry["request_id"] = call.meta["request_id"]
        if error is not None:
            entry["traceback"] = model_traceback(error)[-frames.MAX_TEXT:]
        try:
            frame = frames.about_worker(frames.LOG, entry)
        except Exception:  # many characters of many bytes
            entry.pop("traceback", None)
            entry["message"] = entry["message"][:_FEWER_CHARACTERS]
            frame = frames.about_worker(frames.LOG, entry)
        self._channel.put(frame)
