"""docker_server: the sidecar starts a model server, waits for it, and ends with it.

Promised: start_command is run by a shell in the model's directory with the config's environment_variables;
the sidecar is ready when readiness_endpoint says so, and lives as long as liveness_endpoint says so; Truss's paths go
to the server's; the gate holds; a server that does not get ready, or that ends, ends the sidecar with 1; SIGTERM
lets requests finish, then asks the server to end, and kills it if it does not.

Shown: support/served_model.py, a server in a process of its own, whose doings depend on files in its directory.
"""

import http.server
import json
import os
import signal
import threading

import pytest
import yaml

from support.families import members, new_family, running, wait_gone
from support.h1_client import H1Client, fetch
from support.h2_client import H2Client
from support.model_servers import docker_model
from support.programs import Sidecar
from support.waiting import SLOWNESS, equals, eventually


@pytest.fixture
def start(tmp_path):
    def make(ready=True, files=(), **options):
        model = docker_model(tmp_path, **options)
        for name in (["ready"] if ready else []) + list(files):
            (model / name).touch()
        family = new_family()
        sidecar = Sidecar(model, ready=ready, environment=family)
        sidecar.model = model
        sidecar.family = family
        return sidecar
    return make


def status(sidecar, path):
    return fetch(sidecar.address, "GET", path).status


def test_it_is_ready_when_the_server_says_so(start):
    sidecar = start(ready=False)
    sidecar.wait_log("model server output", line="the server listens", model="served")
    for path, expected in [("/health/live", 200), ("/health/ready", 503), ("/", 200),
                           ("/v1/models/m", 503), ("/other", 503)]:
        assert status(sidecar, path) == expected, path
    refused = fetch(sidecar.address, "POST", "/predict", body=b"{}")
    assert (refused.status, refused.reason) == (503, "not_ready")
    assert not sidecar.logged("model ready")
    (sidecar.model / "ready").touch()
    sidecar.wait_log("model ready")
    for path in ("/health/live", "/health/ready", "/v1/models/m", "/v1/models/m/loaded", "/other"):
        assert status(sidecar, path) == 200, path
    assert fetch(sidecar.address, "GET", "/").body == b'"alive"', "the server's own answer"
    (sidecar.model / "ready").unlink()
    equals(lambda: status(sidecar, "/health/ready"), 503)
    assert status(sidecar, "/health/live") == 200


def test_another_process_at_its_port_is_not_the_server(start, tmp_path):
    """One that was there before, as a server left behind would be."""
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        allow_reuse_address = True

    sidecar = start(ready=False, command="while [ ! -e go ]; do sleep 0.05; done; exec {server}")
    (sidecar.model / "ready").touch()
    port = yaml.safe_load((sidecar.model / "config.yaml").read_text())["docker_server"]["server_port"]
    with Server(("127.0.0.1", port), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        sidecar.wait_log("not the model server that was started here, but another process listens "
                         "at its port")
        assert status(sidecar, "/health/ready") == status(sidecar, "/predict") == 503
        stranger.shutdown()
    (sidecar.model / "go").touch()
    sidecar.wait_log("model ready")
    assert fetch(sidecar.address, "GET", "/").body == b'"alive"'


def test_it_lives_as_long_as_the_server_says_so(start):
    sidecar = start()
    assert status(sidecar, "/health/live") == 200
    (sidecar.model / "stuck").touch()
    equals(lambda: status(sidecar, "/health/live"), 503)
    assert status(sidecar, "/health/ready") == 200
    (sidecar.model / "stuck").unlink()
    equals(lambda: status(sidecar, "/health/live"), 200)


def test_the_server_runs_in_the_models_directory_with_its_environment(start):
    sidecar = start(environment={"SETTING": "of the config"})
    said = fetch(sidecar.address, "GET", "/where").json()
    assert said["cwd"] == str(sidecar.model)
    assert said["setting"] == "of the config"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_the_server_runs_as_the_user_it_is_to_run_as(start):
    sidecar = start(run_as_user_id=65534)
    assert fetch(sidecar.address, "GET", "/who").json()["uid"] == 65534


@pytest.mark.parametrize("limit", [1, 2])
def test_the_gate_holds(start, limit):
    sidecar = start(predict_concurrency=limit)
    with H2Client(sidecar.address) as client:
        body = json.dumps({"until": "go"}).encode()
        paths = ["/predict", "/v1/models/m:predict", "/v1/chat/completions"] * 2
        streams = [client.request("POST", path, body=body) for path in paths]
        equals(lambda: (sidecar.metric("penstock_gate_waiting"),
                        sidecar.metric("penstock_gate_in_predict")), (6 - limit, limit))
        assert client.fetch("GET", "/v1/models").status == 200
        (sidecar.model / "go").touch()
        said = [stream.response().json() for stream in streams]
    assert [answer["path"] for answer in said] == ["/generate", "/generate",
                                                   "/v1/chat/completions"] * 2
    assert max(answer["most"] for answer in said) == limit, "by the server's own count"


@pytest.mark.parametrize("end", ["by itself", "killed"])
def test_the_sidecar_ends_with_its_server(start, end):
    sidecar = start()
    pid = sidecar.wait_log("model server started")["pid"]
    with H1Client(sidecar.address) as client:
        client.request("POST", "/predict", body=json.dumps(
            {"until": "never"} if end == "killed" else {"exit": 3}).encode())
        if end == "killed":
            equals(lambda: sidecar.metric("penstock_gate_in_predict"), 1)
            os.kill(pid, signal.SIGKILL)
        answer = client.response()
        assert (answer.status, answer.reason) == (502, "server_connection_lost")
    assert sidecar.wait() == 1
    how = "signal 9" if end == "killed" else "exit code 3"
    sidecar.wait_log("model server ended", how=how, level="error")
    sidecar.wait_log("the model has ended", error=f"the model server ended: {how}")


def test_a_server_that_does_not_start_ends_the_sidecar(start):
    sidecar = start(ready=False, command="echo no GPU here >&2; exit 7")
    assert sidecar.wait() == 1
    sidecar.wait_log("model server output", line="no GPU here")
    sidecar.wait_log("the model cannot be loaded", error="the model server ended: exit code 7")


def test_a_server_that_is_not_ready_in_time_ends_the_sidecar(start):
    sidecar = start(ready=False, penstock={"start_timeout": f"{int(1000 * SLOWNESS)}ms"})
    pid = sidecar.wait_log("model server started")["pid"]
    assert sidecar.wait() == 1
    sidecar.wait_log("the model cannot be loaded",
                     error="the model server was not ready in time: status 503")
    assert not running(pid) and (sidecar.model / "terminated").exists()


def test_a_drain_finishes_requests_and_then_ends_the_server(start):
    sidecar = start()
    pid = sidecar.wait_log("model server started")["pid"]
    with H2Client(sidecar.address) as client:
        streams = [client.request("POST", "/predict", body=b'{"until": "go"}') for _ in range(3)]
        equals(lambda: sidecar.metric("penstock_gate_waiting"), 2)
        sidecar.signal(signal.SIGTERM)
        sidecar.wait_log("draining")
        assert status(sidecar, "/health/ready") == 503
        assert status(sidecar, "/") == 200, "who drains lives"
        assert not (sidecar.model / "terminated").exists()
        (sidecar.model / "go").touch()
        assert [stream.response().status for stream in streams] == [200] * 3
    assert sidecar.wait() == 0
    assert (sidecar.model / "terminated").exists() and not running(pid)
    sidecar.wait_log("model server ended", how="exit code 0", level="info")


def service_is_terminated(sidecar, server):
    """As by systemd's KillMode=control-group; here the server is the first of them."""
    os.kill(server, signal.SIGTERM)
    sidecar.signal(signal.SIGTERM)


def test_a_server_that_ends_together_with_its_sidecar_finishes_what_runs(start):
    sidecar = start(files=["graceful"])
    pid = sidecar.wait_log("model server started")["pid"]
    with H2Client(sidecar.address) as client:
        running = client.request("POST", "/predict", body=b'{"until": "go", "size": 2000000}')
        eventually((sidecar.model / "waiting").exists, "the server runs it")
        service_is_terminated(sidecar, pid)
        sidecar.wait_log("draining")
        eventually((sidecar.model / "terminated").exists, "the server is asked to end")
        (sidecar.model / "go").touch()
        answer = running.response()
        assert answer.status == 200, answer
        assert len(answer.json()["padding"]) == 2_000_000, "though the server is gone"
    assert sidecar.wait() == 0
    sidecar.wait_log("model server ended", how="exit code 0", level="info")
    assert not sidecar.logged("the model has ended")


def test_a_server_that_ends_before_its_sidecar_has_seen_the_signal_has_not_failed(start):
    sidecar = start()
    pid = sidecar.wait_log("model server started")["pid"]
    sidecar.signal(signal.SIGSTOP)
    service_is_terminated(sidecar, pid)
    eventually(lambda: not running(pid), "the server has ended")
    sidecar.signal(signal.SIGCONT)
    assert sidecar.wait() == 0
    assert not sidecar.logged("the model has ended")


def test_a_server_that_does_not_end_is_killed(start):
    sidecar = start(files=["stubborn"], penstock={"stop_timeout": "300ms"})
    pid = sidecar.wait_log("model server started")["pid"]
    assert sidecar.stop() == 1, "its drain was cut"
    assert (sidecar.model / "terminated").exists() and not running(pid)
    sidecar.wait_log("model server ended", how="signal 9", level="error")


def test_a_server_that_somebody_kills_while_it_ends_is_no_success(start):
    sidecar = start(files=["stubborn"], penstock={"stop_timeout": "1h"})
    pid = sidecar.wait_log("model server started")["pid"]
    sidecar.signal(signal.SIGTERM)
    eventually((sidecar.model / "terminated").exists, "the server is asked to end")
    os.kill(pid, signal.SIGKILL)
    assert sidecar.wait() == 1


@pytest.mark.parametrize("command", ["{server}; true", "cd . && {server}", "{server} & wait"])
def test_a_server_that_a_shell_started_is_asked_to_end_too(start, command):
    sidecar = start(command=command)
    assert sidecar.stop() == 0
    assert (sidecar.model / "terminated").exists()
    wait_gone(sidecar.family)


def test_a_server_may_end_later_than_its_shell(start):
    """The shell ends by the signal at once; the server still writes what it has to write."""
    sidecar = start(command="(trap 'until [ -e go ]; do sleep 0.01; done; touch written; exit' TERM; "
                            "touch traps; while :; do sleep 0.01; done) & {server} & wait; true")
    eventually((sidecar.model / "traps").exists, "it runs")
    shell = sidecar.wait_log("model server started")["pid"]
    sidecar.signal(signal.SIGTERM)
    eventually(lambda: not running(shell), "the shell has ended")
    (sidecar.model / "go").touch()
    assert sidecar.wait() == 0
    assert (sidecar.model / "written").exists()


@pytest.mark.parametrize("ready", [True, False])
def test_a_second_signal_does_not_wait_for_the_server(start, ready):
    sidecar = start(ready, files=["stubborn"], penstock={"stop_timeout": "1h"})
    sidecar.wait_log("model server output", line="the server listens")
    pid = sidecar.wait_log("model server started")["pid"]
    sidecar.signal(signal.SIGTERM)
    if ready:
        eventually((sidecar.model / "terminated").exists, "the server is asked to end")
        sidecar.signal(signal.SIGTERM)
    assert sidecar.wait() == (1 if ready else 0)
    eventually(lambda: not running(pid), "the server is gone")


def test_what_the_shell_has_started_ends_too(start):
    sidecar = start(False, files=["stubborn"], command="{server} & wait")
    sidecar.wait_log("model server output", line="the server listens")
    assert any("served_model.py" in line for line in members(sidecar.family).values())
    sidecar.signal(signal.SIGTERM)
    assert sidecar.wait() == 0
    wait_gone(sidecar.family)


@pytest.mark.parametrize("command", ["{server}", "exec {server}", "cd . && {server}", "{server} & wait",
                                     "setsid {server} & wait", "(setsid {server} &) ; sleep 1000"])
def test_no_server_outlives_a_sidecar_that_is_killed(start, command):
    sidecar = start(command=command)
    assert any("served_model.py" in line for line in members(sidecar.family).values())
    sidecar.kill()
    wait_gone(sidecar.family)
    # Its port is free, so whoever supervises the sidecar can start both again.
    again = Sidecar(sidecar.model)
    assert again.stop() == 0
