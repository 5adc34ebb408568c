"""The last frame of each call."""

from __future__ import annotations

from typing import Any, Dict

from . import content, errors, frames
from .call import OVER, Call
from .channel import Channel
from .errors import Answer
from .journal import Journal


class Answers:
    """Puts DONE, once a call, and forgets the call; the caller flushes. A call that was cancelled
    is answered with `cancelled`, whatever its result. For any thread."""

    def __init__(self, calls: Dict[int, Call], channel: Channel, journal: Journal):
        self._calls = calls
        self._put = channel.put
        self._journal = journal

    def put_answer(self, call: Call, answer: Answer) -> None:
        if call.reason:
            self.put_end(call, frames.KIND_CANCELLED, frames.SUCCEEDED)
            return
        try:
            frame = frames.response(call.id, *answer)
        except Exception as error:  # its header fields are too long, or there is no memory for it
            self._journal.failure(
                f"the answer cannot be passed on: {errors.describe(error)}", error, call
            )
            frame = frames.response(call.id, *self._in_form(call, errors.model_failed()))
        self._forget(call)
        self._put(frame)

    def put_value(self, call: Call, value: Any) -> None:
        """A value that the model returned, in the format of the request."""
        self.put_answer(call, self.answer_of(call, value))

    def answer_of(self, call: Call, value: Any) -> Answer:
        try:
            headers, body = content.encode(value, call.binary)
        except BaseException as error:  # a value may run code of the model's
            message = str(error) if type(error) is errors.EncodeError else errors.describe(error)
            self._journal.failure(f"the answer cannot be encoded: {message}", error, call)
            return self._in_form(call, errors.encoding_failed(message))
        return frames.SUCCEEDED, 200, headers, body

    def put_failure(self, call: Call, stage: str, error: BaseException) -> None:
        """An exception that the model's code raised."""
        if not call.reason:
            self._journal.failure(f"{stage} raised {errors.describe(error)}", error, call)
        self.put_answer(call, self._in_form(call, errors.model_failed(error)))

    def put_broken_stream(self, call: Call, error: BaseException) -> None:
        """The model's code raised after HEAD."""
        self._journal.failure(
            f"{call.operation.name} raised {errors.describe(error)} while it streamed", error, call
        )
        self.put_end(call, frames.KIND_STREAM_ABORTED, frames.MODEL_AT_FAULT)

    def note_failure(self, call: Call, what: str, error: BaseException) -> None:
        """The model's code raised after DONE."""
        self._journal.failure(f"{what} raised {errors.describe(error)}", error, call)

    def put_bad_request(self, call: Call, error: errors.ContentError) -> None:
        self.put_answer(call, self._in_form(call, errors.bad_request(str(error))))

    def put_misuse(self, call: Call, message: str) -> None:
        """What the model did is not what Truss allows, though nothing was raised."""
        self.put_failure(call, call.operation.name, errors.DefinitionError(message))

    def put_end(self, call: Call, kind: int, outcome: int) -> None:
        """DONE without a response."""
        self._forget(call)
        self._put(frames.done(call.id, kind, outcome))

    @staticmethod
    def _in_form(call: Call, answer: Answer) -> Answer:
        return errors.in_api_form(answer, call.operation.name)

    def _forget(self, call: Call) -> None:
        call.state = OVER
        self._calls.pop(call.id, None)
        call.release()
