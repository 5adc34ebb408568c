"""A model server, to be started by the sidecar with its port: HTTP/1.1, one thread a connection.

It counts for itself how many inference requests run in it at a time. Its working directory is the model's, and
files in it say how it is to behave.
"""

import http.server
import json
import os
import pathlib
import signal
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    running = 0
    unanswered = 0
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
            Handler.unanswered += 1
            Handler.most = max(Handler.most, Handler.running)
        if body.get("exit") is not None:
            os._exit(body["exit"])
        if "until" in body:
            pathlib.Path("waiting").touch()
        while body.get("until") and not os.path.exists(body["until"]):
            time.sleep(0.01)
        with Handler.lock:
            Handler.running -= 1
        self.answer(200, json.dumps({"path": self.path, "most": Handler.most,
                                     "padding": "x" * body.get("size", 0)}).encode())
        with Handler.lock:
            Handler.unanswered -= 1

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def end(*_):
    pathlib.Path("terminated").touch()
    if os.path.exists("graceful"):
        listening.socket.close()
        threading.Thread(target=finish).start()
    elif not os.path.exists("stubborn"):
        os._exit(0)


def finish():
    """Takes nothing more, and ends in the moment in which the last answer is written."""
    while Handler.unanswered:
        time.sleep(0.001)
    os._exit(0)


if __name__ == "__main__":
    print(os.getpid(), flush=True)
    signal.signal(signal.SIGTERM, end)
    http.server.ThreadingHTTPServer.request_queue_size = 128
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print("the server listens", flush=True)
    listening.serve_forever()
