"""Replicas that the proxy starts itself.

Promised: min_replicas of them (at least 1) run, on free loopback addresses put in place of {address}; a bare
program name is looked up beside the proxy's own binary, then in PATH; a replica is used once /health/ready says
so; one that crashed is started again, at once nothing but after 1, 2, 4 ... s; what waits meanwhile is served;
their logs are passed on; they are taken down with the proxy, however it ends.

Shown: real sidecars with examples/stages, and small scripts that crash; processes are looked for in /proc.
"""

import json
import os
import signal
import sys

import pytest

from support.configs import proxy_config
from support.families import children, members, new_family, running, wait_gone
from support.fleet import predicting
from support.h2_client import H2Client
from support.model_servers import docker_model
from support.models import EXAMPLES, stages_body
from support.programs import Proxy, binary
from support.waiting import PATIENCE_S, SLOWNESS, equals, eventually

STAGES = ["penstock-sidecar", "--model", str(EXAMPLES / "stages"), "--listen", "{address}"]


def process_config(command, target=1, process=None, **cluster):
    return proxy_config([], target, cluster={
        "replicas": {"process": {"command": command, **(process or {})}}, **cluster})


def gone(pids, timeout=PATIENCE_S):
    eventually(lambda: not any(running(pid) for pid in pids), f"{pids} are gone", timeout)


def predict(client, **fields):
    return client.request(path="/predict", body=stages_body(**fields))


def test_it_starts_its_replica_waits_for_it_and_passes_its_log_on():
    proxy = Proxy(process_config(STAGES), ready=False)
    with H2Client(proxy.address) as client:
        assert predict(client).response(60).status == 200, "it waits until the replica is ready"
    proxy.wait_ready()
    ready = proxy.wait_log("replica ready", cluster="m")
    assert proxy.cluster()["replicas"][0]["address"] == ready["address"]
    assert proxy.cluster()["replicas"][0]["state"] == "ready"
    proxy.wait_log("model ready", program="penstock-sidecar")
    pids = children(proxy.pid)
    assert len(pids) == 1
    assert proxy.stop() == 0
    gone(pids)


def test_min_replicas_of_them_run():
    proxy = Proxy(process_config(STAGES, autoscaling={"min_replicas": 2, "max_replicas": 2}))
    equals(lambda: [r["state"] for r in proxy.cluster()["replicas"]], ["ready", "ready"], timeout=30)
    assert len({r["address"] for r in proxy.cluster()["replicas"]}) == 2
    pids = children(proxy.pid)
    assert len(pids) == 2
    with H2Client(proxy.address) as client:
        streams = [predict(client, predict_ms=int(1000 * SLOWNESS)) for _ in range(2)]
        equals(lambda: [r["in_flight"] for r in proxy.cluster()["replicas"]], [1, 1])
        assert [stream.response().status for stream in streams] == [200, 200]
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    gone(pids)


def test_a_crashed_replica_costs_what_it_ran_and_is_started_again():
    proxy = Proxy(process_config(STAGES))
    proxy.wait_log("replica ready")
    first = children(proxy.pid)
    with H2Client(proxy.address) as client:
        running = predict(client, predict_ms=int(30000 * SLOWNESS))
        predicting(proxy)
        waiting = [predict(client) for _ in range(3)]
        proxy.wait_queue(waiting=3, in_flight=1)
        os.kill(first[0], signal.SIGKILL)
        answer = running.response()
        assert (answer.status, answer.reason) == (502, "replica_connection_lost")
        assert [stream.response(60).status for stream in waiting] == [200] * 3
    # The old one's guard may still be on its way out.
    eventually(lambda: len(children(proxy.pid)) == 1 and children(proxy.pid) != first, "one other process")
    assert proxy.cluster()["replicas"][0]["incarnation"] > 1
    proxy.wait_empty()


def test_restarts_back_off(tmp_path):
    script = tmp_path / "crashes"
    record = tmp_path / "starts"
    script.write_text(f"#!/bin/sh\ndate +%s.%N >> {record}\nexit 3\n", encoding="utf-8")
    script.chmod(0o755)
    proxy = Proxy(process_config([str(script), "{address}"]), ready=False)

    def starts():
        return record.read_text().splitlines() if record.exists() else []
    eventually(lambda: len(starts()) >= 3, "three starts", 30)
    # By the script's own clock: who looks on may be late.
    times = [float(start) for start in starts()]
    gaps = [after - before for before, after in zip(times, times[1:])]
    assert gaps[0] > 0.8 and gaps[1] > 1.7, gaps
    proxy.wait_log("listening", listener="ingress")
    assert proxy.stop() == 0


def test_a_replica_that_does_not_become_ready_in_time_is_started_again(tmp_path):
    record = tmp_path / "starts"
    script = tmp_path / "hangs"
    script.write_text(f"#!/bin/sh\necho $$ >> {record}\nexec sleep 1000\n", encoding="utf-8")
    script.chmod(0o755)
    proxy = Proxy(process_config([str(script), "{address}"], process={"start_timeout": "500ms"}), ready=False)
    eventually(lambda: record.exists() and len(record.read_text().split()) >= 2, "a second start", 30)
    first, second = [int(pid) for pid in record.read_text().split()[:2]]
    gone([first])
    proxy.stop()
    gone([second])


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_they_are_taken_down_with_the_proxy_however_it_ends(how):
    proxy = Proxy(process_config(STAGES))
    proxy.wait_log("replica ready")
    pids = children(proxy.pid)
    assert pids
    with H2Client(proxy.address) as client:
        predict(client, predict_ms=int(60000 * SLOWNESS))
        proxy.wait_queue(waiting=0, in_flight=1)
        if how == signal.SIGTERM:
            client.close(abrupt=True)
        proxy.signal(how)
        code = proxy.wait()
    assert code == {signal.SIGTERM: 0, signal.SIGINT: 1, signal.SIGKILL: -9}[how]
    gone(pids)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_below_a_replica_outlives_the_proxy(tmp_path, how):
    """A sidecar with a model server that a shell started and that has left its session."""
    model = docker_model(tmp_path, command="(setsid {server} &) ; sleep 1000")
    (model / "ready").touch()
    family = new_family()
    proxy = Proxy(process_config(["penstock-sidecar", "--model", str(model), "--listen", "{address}"]),
                  ready=False, environment=family)
    proxy.wait_log("replica ready")
    assert any("served_model.py" in line for line in members(family).values())
    proxy.signal(how)
    proxy.wait()
    wait_gone(family)


def test_a_replica_that_ignores_sigterm_is_killed_after_the_stop_timeout(tmp_path):
    record = tmp_path / "pid"
    script = tmp_path / "stubborn"
    script.write_text(f"#!/bin/sh\ntrap '' TERM\necho $$ > {record}\nwhile :; do sleep 0.1; done\n",
                      encoding="utf-8")
    script.chmod(0o755)
    proxy = Proxy(process_config([str(script), "{address}"], process={"stop_timeout": "300ms"}), ready=False)
    eventually(record.exists, "the replica runs")
    eventually(lambda: record.read_text().strip())
    proxy.stop()
    gone([int(record.read_text())])


def test_programs_are_looked_up_in_path_and_get_the_address(tmp_path):
    record = tmp_path / "arguments"
    script = tmp_path / "my-replica-program"
    script.write_text(f'#!/bin/sh\necho "$@" > {record}\nexec sleep 1000\n', encoding="utf-8")
    script.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    proxy = Proxy(process_config(["my-replica-program", "--at={address}", "x"]), ready=False,
                  environment={"PATH": path})
    eventually(lambda: record.exists() and record.read_text().strip(), "it was started")
    first, last = record.read_text().split()
    assert first.startswith("--at=127.0.0.1:") and last == "x"
    assert 0 < int(first.rpartition(":")[2]) < 65536


# Stands in for penstock-sidecar, which is known by its name, notes what it was given, and becomes the real one.
NOTES_ITS_SOCKET = """#!{python}
import errno, json, os, socket, sys
host, port = sys.argv[sys.argv.index("--listen") + 1].rsplit(":", 1)
try:
    socket.socket().bind((host, int(port)))
    taken = None
except OSError as error:
    taken = errno.errorcode[error.errno]
given = {{"fds": os.environ["LISTEN_FDS"], "pid": int(os.environ["LISTEN_PID"]) == os.getpid(), "taken": taken,
         "same": socket.socket(fileno=os.dup(3)).getsockname() == (host, int(port))}}
with open("{record}.new", "w") as file:
    json.dump(given, file)
os.rename("{record}.new", "{record}")
os.execv("{real}", ["{real}", *sys.argv[1:]])
"""


def test_a_sidecar_is_handed_its_listening_socket(tmp_path):
    record = tmp_path / "given"
    script = tmp_path / "penstock-sidecar"
    script.write_text(NOTES_ITS_SOCKET.format(python=sys.executable, record=record,
                                              real=os.path.abspath(binary("penstock-sidecar"))), encoding="utf-8")
    script.chmod(0o755)
    proxy = Proxy(process_config([str(script), *STAGES[1:]]), ready=False)
    proxy.wait_log("replica ready")
    assert json.loads(record.read_text()) == {"fds": "1", "pid": True, "taken": "EADDRINUSE", "same": True}
    with H2Client(proxy.address) as client:
        assert predict(client).response().status == 200


SERVES_WHEN_TOLD = """#!{python}
import http.server, os, sys, time
with open("{record}.new", "w") as file:
    file.write(sys.argv[1])
os.rename("{record}.new", "{record}")
while not os.path.exists("{go}"):
    time.sleep(0.01)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "3")
        self.end_headers()
        self.wfile.write(b"own")
    do_POST = do_GET
host, port = sys.argv[1].rsplit(":", 1)
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


def test_a_foreign_process_at_its_address_is_not_the_replica(tmp_path, replica):
    record, go, script = tmp_path / "address", tmp_path / "go", tmp_path / "serves"
    script.write_text(SERVES_WHEN_TOLD.format(python=sys.executable, record=record, go=go), encoding="utf-8")
    script.chmod(0o755)
    proxy = Proxy(process_config([str(script), "{address}"], protocol="http1",
                                 health_check={"path": "/health/ready", "interval": "20ms"}), ready=False)
    eventually(record.exists, "the replica runs")
    stranger = replica("h1", port=int(record.read_text().rpartition(":")[2]),
                       handler=lambda request: request.respond(body=b"foreign"))
    with H2Client(proxy.address) as client:
        waiting = client.request(body=b"x")
        eventually(lambda: stranger.health_checks >= 5, "the stranger says that it is ready, again and again")
        assert proxy.cluster()["replicas"][0]["state"] == "starting"
        proxy.wait_queue(waiting=1, in_flight=0)
        stranger.close()
        go.touch()
        assert waiting.response(60).body == b"own"
    assert not stranger.requests


def test_children_inherit_no_descriptors_of_the_proxy(tmp_path):
    record = tmp_path / "descriptors"
    script = tmp_path / "lists"
    script.write_text(f"#!/bin/sh\nls -l /proc/self/fd > {record}.new; mv {record}.new {record}\n"
                      "exec sleep 1000\n", encoding="utf-8")
    script.chmod(0o755)
    Proxy(process_config([str(script), "{address}"]), ready=False)
    eventually(record.exists, "it was started")
    assert "socket:" not in record.read_text() and "eventpoll" not in record.read_text()


@pytest.mark.parametrize("command, why", [
    ("no-such-program", "no-such-program"), ("/bin/false", "it ended: exit code 1")])
def test_clusters_says_why_a_replica_is_not_started(command, why):
    proxy = Proxy(proxy_config([], cluster={"replicas": {"process": {"command": [command, "{address}"]}}}),
                  ready=False)
    warning, = eventually(lambda: proxy.cluster()["warnings"], "a warning")
    assert warning.startswith("a replica is not started: ") and why in warning
