"""Fixtures: whatever a test starts is gone when it ends, and its programs ended cleanly. When the session ends, no
process is left that anything in it started."""

import faulthandler
import os
import sys
import uuid

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from support import families  # noqa: E402
from support import replica as replicas  # noqa: E402
from support.model_servers import attached_model  # noqa: E402
from support.programs import Program, Sidecar  # noqa: E402
from support.waiting import patience  # noqa: E402

# Inherited by every process that a test starts, and by all that those start.
os.environ[families.RUN] = uuid.uuid4().hex


def pytest_sessionfinish(session):
    mine = {families.RUN: os.environ[families.RUN]}
    try:
        families.wait_gone(mine)
    except AssertionError:
        print(f"\nleft running by this session: {families.members(mine)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


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


@pytest.fixture(params=[("h1", "http1"), ("h2", "h2")], ids=["http1", "h2"])
def server(request, replica):
    """A replica as a model server, over each version; `front` tells the sidecar which."""
    made = replica(request.param[0])
    made.speaks = request.param[1]
    return made


@pytest.fixture
def front(tmp_path):
    """Starts a sidecar in front of a server."""
    def start(server, predict_concurrency=1, arguments=(), ready=True, **penstock):
        if hasattr(server, "speaks"):
            penstock.setdefault("protocol", server.speaks)
        return Sidecar(attached_model(tmp_path, server, predict_concurrency, **penstock), arguments,
                       ready)
    return start
