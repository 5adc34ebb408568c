"""Model directories that front a model server, and what tests ask of a sidecar in front of one."""

import pathlib
import socket
import sys

import yaml

from .waiting import equals

CHAT = "/v1/chat/completions"
SERVER = pathlib.Path(__file__).resolve().with_name("served_model.py")


def model_directory(folder, config, name="served"):
    target = pathlib.Path(folder) / name
    target.mkdir()
    (target / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return target


def attached_model(folder, server, predict_concurrency=1, **penstock):
    """A model that is the server at `server` (an address, or something that has one)."""
    address = server if isinstance(server, str) else server.address
    return model_directory(folder, {
        "runtime": {"predict_concurrency": predict_concurrency},
        "penstock": {"upstream": address, **penstock},
    })


HELD = []


def free_port():
    """For a server that is told its port before it binds it. The socket stays bound without listening, so the
    kernel gives the port to nobody who asks for any, while a server with SO_REUSEADDR may bind it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    HELD.append(sock)
    return sock.getsockname()[1]


def docker_model(folder, predict_concurrency=1, command="exec {server}", environment=None,
                 penstock=None, **docker_server):
    """A model that starts served_model.py as its server."""
    port = free_port()
    server = f"{sys.executable} -B {SERVER} {port}"
    return model_directory(folder, {
        "runtime": {"predict_concurrency": predict_concurrency},
        "environment_variables": environment or {},
        "docker_server": {
            "start_command": command.format(server=server),
            "server_port": port,
            "predict_endpoint": "/generate",
            "readiness_endpoint": "/ready",
            "liveness_endpoint": "/alive",
            **docker_server,
        },
        "penstock": penstock or {},
    })


def post(client, name, path=CHAT, headers=(), body=b"{}", **options):
    return client.request("POST", path, [("x-test-id", name), *headers], body, **options)


def wait_gate(sidecar, waiting, in_predict):
    equals(lambda: (sidecar.metric("penstock_gate_waiting"),
                    sidecar.metric("penstock_gate_in_predict")), (waiting, in_predict))
