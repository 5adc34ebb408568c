"""Finding every process that a program has started, whatever group, session or parent it has now.

A variable in the environment is inherited by all of them; a program that clears its environment would not be found.
"""

import os
import uuid

from .waiting import PATIENCE_S, eventually

RUN = "PENSTOCK_TEST_RUN"
FAMILY = "PENSTOCK_TEST_FAMILY"


def new_family():
    """An environment for a program that is to be found with all that it starts."""
    return {FAMILY: uuid.uuid4().hex}


def _read(pid, name):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:  # it has ended, or belongs to another user
        return b""


def running(pid):
    """Whether there is such a process, and not only one that waits to be reaped."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return bool(fields) and fields[0] != b"Z"


def members(environment):
    """{pid: command line} of the processes that run with these variables, but for this one."""
    wanted = {f"{key}={value}".encode() for key, value in environment.items()}
    return {int(pid): _read(pid, "cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()
            for pid in os.listdir("/proc")
            if pid.isdigit() and int(pid) != os.getpid()
            and wanted <= set(_read(pid, "environ").split(b"\0"))}


def wait_gone(environment, timeout=PATIENCE_S):
    eventually(lambda: not members(environment), "every process of the family is gone", timeout)


def children(pid):
    """The processes that a program of ours has started: below the guards that it puts between."""
    found = []
    for child in _children(pid):
        below = _children(child) if _read(child, "comm") == b"penstock-guard\n" else []
        found += below or [child]
    return found


def _children(pid):
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for task in tasks
            for child in _read(pid, f"task/{task}/children").split()]


def family(pid):
    """A process and everything below it."""
    return [pid] + [each for child in children(pid) for each in family(child)]


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
