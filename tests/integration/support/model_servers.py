"""Model directories that front a model server, and a model server to be started by the sidecar.

Run as a program it is that server: HTTP/1.1, one thread a connection, working directory the model's. It
counts for itself how many inference requests run in it at a time.
"""

import http.server
import json
import os
import pathlib
import signal
import socket
import sys
import threading
import time

import yaml


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


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def docker_model(folder, predict_concurrency=1, command="exec {server}", environment=None,
                 penstock=None, **docker_server):
    """A model that starts this file as its server."""
    port = free_port()
    server = f"{sys.executable} -B {pathlib.Path(__file__).resolve()} {port}"
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


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    running = 0
    most = 0

    def do_GET(self):
        if self.path == "/ready":
            self.answer(200 if os.path.exists("ready") else 503)
        elif self.path == "/alive":
            self.answer(503 if os.path.exists("stuck") else 200, b'"alive"')
        else:
            self.answer(200, json.dumps({"path": self.path, "cwd": os.getcwd(), "uid": os.getuid(),
                                         "setting": os.environ.get("SETTING")}).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or "{}")
        with Handler.lock:
            Handler.running += 1
            Handler.most = max(Handler.most, Handler.running)
        if body.get("exit") is not None:
            os._exit(body["exit"])
        while body.get("until") and not os.path.exists(body["until"]):
            time.sleep(0.01)
        with Handler.lock:
            Handler.running -= 1
        self.answer(200, json.dumps({"path": self.path, "most": Handler.most}).encode())

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end(*_):
    pathlib.Path("terminated").touch()
    if not os.path.exists("stubborn"):
        os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    http.server.ThreadingHTTPServer.request_queue_size = 128
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("the server listens", flush=True)
    listening.serve_forever()
