"""Signals that nobody means end nothing.

Promised: a signal other than SIGTERM, SIGINT, SIGQUIT, SIGKILL and those of faults does not end the proxy, the
sidecar, or what runs in them. SIGUSR1 and SIGHUP open the access log again, for a file that was renamed; if it cannot
be opened, the old one stays in use.

Shown: every such signal while a request runs; logrotate's steps.
"""

import os
import signal

import pytest

from support.configs import proxy_config
from support.h1_client import fetch
from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body
from support.programs import Proxy, Sidecar
from support.waiting import SLOWNESS, equals, eventually

MEANT = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL}
FAULTS = {signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV,
          signal.SIGXCPU, signal.SIGSYS}
STOPS = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
# 32 and 33 are the C library's own; Python does not name them.
STRAY = sorted(({int(each) for each in signal.valid_signals()} | {32, 33}) - MEANT - FAULTS - STOPS)


def send_all(program):
    assert len(STRAY) > 40
    for number in STRAY:
        os.kill(program.pid, number)


def test_none_ends_the_proxy_or_a_request(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        running = client.request()
        request = fake.request(0)
        send_all(proxy)
        proxy.wait_log("configuration reloaded")
        request.respond(200)
        assert running.response().status == 200
    assert proxy.stop() == 0


def test_none_ends_the_sidecar_or_a_request():
    sidecar = Sidecar(EXAMPLES / "stages")
    with H2Client(sidecar.address) as client:
        running = client.request(path="/predict", body=stages_body(predict_ms=int(300 * SLOWNESS)))
        equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
        send_all(sidecar)
        assert running.response().status == 200
    assert sidecar.stop() == 0


@pytest.fixture
def logging(replica, tmp_path):
    fake = replica()
    fake.handler = lambda request: request.respond(200)
    folder = tmp_path / "logs"
    folder.mkdir()
    proxy = Proxy(proxy_config([fake], access_log={"path": str(folder / "access.log"), "format": "json"}))
    proxy.log_file = folder / "access.log"
    return proxy


def lines(file):
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_the_access_log_is_opened_again(logging, number):
    renamed = logging.log_file.with_suffix(".1")
    fetch(logging.address, "GET", "/before")
    eventually(lambda: lines(logging.log_file) == 1, "the line is written")
    for count in (1, 2):
        logging.log_file.rename(renamed)
        logging.signal(number)
        logging.wait_log("access log opened again", count=count, path=str(logging.log_file))
        fetch(logging.address, "GET", "/after")
        eventually(lambda: lines(logging.log_file) == 1, "the line is in the new file")
        assert lines(renamed) == 1
    assert logging.cluster()["in_flight"] == 0


def test_a_log_that_cannot_be_opened_again_stays_in_use(logging):
    moved = logging.log_file.parent.with_name("moved")
    logging.log_file.parent.rename(moved)
    logging.signal(signal.SIGUSR1)
    failed = logging.wait_log("access log not opened again: the file opened before stays in use")
    assert str(logging.log_file) in failed["why"] and failed["level"] == "error"
    fetch(logging.address, "GET", "/")
    eventually(lambda: lines(moved / "access.log") == 1, "the line is in the old file")
