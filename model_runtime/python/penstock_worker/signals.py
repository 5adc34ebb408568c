"""Signals that mean the service, not this process.

systemd and other supervisors send SIGTERM to every process of a service at once. The sidecar acts
on it: it finishes what runs. The worker ends when its socket ends, or when the sidecar kills it.
SIGQUIT is left alone: inference engines end the process that they serve by it when they have failed.
"""

from __future__ import annotations

import os
import signal
from typing import Any

_OF_THE_SERVICE = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


def _stay(_number: int, _frame: Any) -> None:
    """A handler, since SIG_IGN would be inherited by every program that the model starts."""


def leave_to_the_sidecar() -> None:
    """For the main thread. Processes that the model forks or starts have the defaults."""
    for number in _OF_THE_SERVICE:
        signal.signal(number, _stay)
        signal.siginterrupt(number, False)  # no call of the model's is cut short
    os.register_at_fork(after_in_child=_restore)


def _restore() -> None:
    for number in _OF_THE_SERVICE:
        if signal.getsignal(number) is _stay:
            signal.signal(number, signal.SIG_DFL)
