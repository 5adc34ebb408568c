"""Fixtures: whatever a test starts is gone when it ends, and its programs ended cleanly."""

import faulthandler
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from support import replica as replicas  # noqa: E402
from support.programs import Program  # noqa: E402
from support.waiting import patience  # noqa: E402


@pytest.fixture(autouse=True)
def no_endless_test():
    """A test that hangs in spite of its own bounds shows where."""
    faulthandler.dump_traceback_later(patience(150), exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def programs_end_cleanly():
    before = set(Program.running)
    yield
    started = [program for program in Program.running if program not in before]
    complaints = [complaint for program in reversed(started) for complaint in program.finish()]
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def replica():
    """Makes replicas that are closed with the test, and that must have seen no broken protocol."""
    made = []

    def make(*arguments, **options):
        made.append(replicas.Replica(*arguments, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
    problems = [problem for each in made for problem in each.problems]
    assert not problems, f"the replica was sent what breaks the protocol: {problems}"
