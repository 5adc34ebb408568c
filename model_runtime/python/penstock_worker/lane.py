"""A thread that runs predict."""

from __future__ import annotations

import threading
from typing import Callable, Optional

from . import anyio_threads
from .call import Call
from .errors import own_mistake
from .scheduler import Scheduler


class Lane:
    """Takes calls from the scheduler, one after the other; sleeps while there are none. run(call)
    predicts, and returns the lane's next call if the scheduler gave it one; write() writes what was
    put, STARTED of the call to be run included."""

    def __init__(
        self,
        number: int,
        scheduler: Scheduler,
        run: Callable[[Call], Optional[Call]],
        write: Callable[[], None],
    ):
        self._scheduler = scheduler
        self._run = run
        self._write = write
        self._wakeup = threading.Lock()
        self._wakeup.acquire()
        threading.Thread(target=self._serve, name=f"predict-{number}", daemon=True).start()

    def _serve(self) -> None:
        try:
            anyio_threads.join()
            self._take_turns()
        except BaseException as error:
            own_mistake(error)

    def _take_turns(self) -> None:
        take, wake, run = self._scheduler.take, self._wakeup.release, self._run
        while True:
            call = take(False, wake)
            self._write()
            if call is None:
                self._wakeup.acquire()
            while call is not None:
                call = call.context.run(run, call)
