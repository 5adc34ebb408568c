"""One request at the replica, over HTTP/1.1 or HTTP/2, and what the test can do with it."""

import threading
import time

import h2.events
import h2.exceptions

from .h1_wire import head_bytes, websocket_accept
from .h2_wire import H2Endpoint, StreamGone
from .messages import find
from .waiting import PATIENCE_S, eventually, patience


class Exchange:
    """A request that the replica holds. respond() and the other endings end its work."""

    def __init__(self, replica, method, path, headers):
        self.replica = replica
        self.method, self.path, self.headers = method, path, headers
        self.id = find(headers, "x-test-id")
        self.attempt_id = find(headers, "x-penstock-attempt-id")
        self.body = bytearray()
        self.trailers = []
        self.head_at = time.monotonic()
        self.complete = threading.Event()  # the request has come in full
        self.cancelled = threading.Event()  # reset, connection lost, or /penstock/cancel
        self.peer_gone = False  # reset or connection lost
        self.reset_code = None  # of the peer's RST_STREAM
        self.answered = threading.Event()
        self.working = True
        self.control = False  # a health check or a cancellation: not work

    def __repr__(self):
        return f"<{self.method} {self.path} id={self.id}>"

    def header(self, name, default=None):
        return find(self.headers, name, default)

    def came_whole(self):
        self.complete.set()

    def whole(self, timeout=PATIENCE_S):
        assert self.complete.wait(patience(timeout)), f"{self}: {len(self.body)} bytes of body"
        return bytes(self.body)

    def wait_body(self, count, timeout=PATIENCE_S):
        eventually(lambda: len(self.body) >= count, f"{count} bytes of body", timeout)

    @property
    def peer_ended(self):
        """The peer has ended its direction, reset the request, or gone."""
        return self.complete.is_set() or self.peer_gone

    def wait_peer_ended(self, timeout=PATIENCE_S):
        eventually(lambda: self.peer_ended, "the end of the peer's direction", timeout)

    def respond(self, status=200, headers=(), body=b"", trailers=()):
        """Answers in full and ends the work."""
        headers = list(headers)
        if not trailers and find(headers, "content-length") is None:
            headers.append(("content-length", str(len(body))))
        self.start(status, headers, end=not body and not trailers)
        if body:
            self.send(body, end=not trailers)
        if trailers:
            self.finish(trailers)

    def echo(self, headers=()):
        """Accepts a WebSocket and sends back what comes, bytes for bytes, until the peer ends."""
        self.accept(headers)
        threading.Thread(target=self._echo, daemon=True).start()

    def _echo(self):
        sent = 0
        while True:
            ended = self.peer_ended
            piece = bytes(self.body[sent:])
            sent += len(piece)
            if piece:
                self.send(piece)
            elif ended:
                self.finish()
                return
            else:
                time.sleep(0.001)

    def refuse(self):
        """The sidecar's own refusal: provably not executed."""
        self.respond(503, [("x-penstock-not-executed", "true"),
                           ("x-penstock-reason", "concurrency_limit")])

    def _mark(self, headers):
        if self.replica.sidecar and find(headers, "x-penstock-sidecar") is None:
            headers = list(headers) + [("x-penstock-sidecar", "1")]
        return headers

    def end_work(self):
        self.replica.work_ended(self)

    def lost(self):
        """The peer reset the request, or its connection is gone."""
        self.peer_gone = True
        self.cancelled.set()
        self.answered.set()
        if self.replica.reset_ends_work:
            self.end_work()


class H1Exchange(Exchange):
    protocol = "HTTP/1.1"

    def __init__(self, replica, connection, first_line, headers):
        method, path, version = first_line.split(" ")
        assert version == "HTTP/1.1", f"request line {first_line!r}"
        super().__init__(replica, method, path, headers)
        self.connection = connection
        self.chunked = False
        self.closes = False
        self.tunnel = False  # an accepted WebSocket: the body is what comes after its head

    def came_whole(self):
        if not self.tunnel:
            super().came_whole()

    def accept(self, headers=()):
        """Accepts a WebSocket; work until one of the endings."""
        self.tunnel = self.closes = True
        accept = websocket_accept(self.header("sec-websocket-key"))
        self._write(head_bytes("HTTP/1.1 101 Switching", self._mark([
            ("connection", "Upgrade"), ("upgrade", "websocket"),
            ("sec-websocket-accept", accept), *headers])))

    def read_body(self, wire):
        if self.tunnel:
            return
        if find(self.headers, "transfer-encoding"):
            self.trailers = wire.chunks(self.body.extend)
        else:
            wire.counted(int(find(self.headers, "content-length", 0)), self.body.extend)

    def informational(self, status, headers=()):
        self.connection.write(head_bytes(f"HTTP/1.1 {status} Informational", headers))

    def start(self, status=200, headers=(), end=False):
        headers = self._mark(list(headers))
        if find(headers, "content-length") is None:
            headers.append(("transfer-encoding", "chunked"))
            self.chunked = True
        # The work ends before the bytes go out: by the time the proxy knows, the replica has counted.
        if end:
            self.end_work()
        self._write(head_bytes(f"HTTP/1.1 {status} Status", headers))
        if end:
            self.answered.set()

    def send(self, data, end=False):
        if end:
            self.end_work()
        self._write(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked and data else data)
        if end:
            self.finish()

    def finish(self, trailers=()):
        self.end_work()
        if self.chunked:
            self._write(head_bytes("0", trailers))
        self.answered.set()

    def send_raw(self, data, close=False):
        """Any bytes instead of an answer."""
        self.end_work()
        self._write(data)
        self.answered.set()
        if close:
            self.connection.close()

    def die(self):
        """The connection breaks, and the work with it."""
        self.end_work()
        self.connection.close(abrupt=True)

    def _write(self, data):
        try:
            self.connection.write(data)
        except OSError:
            self.lost()


class H2Exchange(Exchange):
    protocol = "HTTP/2"

    def __init__(self, replica, connection, stream_id, headers):
        fields = dict(headers[:6])
        regular = [h for h in headers if not h[0].startswith(":")]
        super().__init__(replica, fields.get(":method"), fields.get(":path"), regular)
        self.authority = fields.get(":authority")
        self.websocket = fields.get(":protocol")
        self.connection = connection
        self.stream_id = stream_id

    def accept(self, headers=()):
        """Accepts a WebSocket; work until one of the endings."""
        self.start(200, headers)

    def informational(self, status, headers=()):
        self._headers([(":status", str(status))] + list(headers), end=False)

    def start(self, status=200, headers=(), end=False):
        headers = self._mark(list(headers))
        if end:
            self._finished()
        self._headers([(":status", str(status))] + headers, end)

    def send(self, data, end=False):
        if end:
            self._finished()
        try:
            self.connection.send_data(self.stream_id, data, end)
        except (StreamGone, h2.exceptions.ProtocolError):
            pass

    def finish(self, trailers=()):
        if trailers:
            self._finished()
            self._headers(list(trailers), end=True)
        else:
            self.send(b"", end=True)

    def reset(self, code):
        """RST_STREAM: 7 REFUSED_STREAM, 2 INTERNAL_ERROR, 8 CANCEL."""
        self._finished()
        self.connection.send_reset(self.stream_id, code)

    def die(self):
        self.end_work()
        self.connection.close(abrupt=True)

    def send_raw(self, data):
        self.connection.send_raw(data)

    def _finished(self):
        self.end_work()
        self.answered.set()

    def _headers(self, headers, end):
        try:
            self.connection.send_headers(self.stream_id, headers, end)
        except (StreamGone, h2.exceptions.ProtocolError):
            pass


class H2ReplicaConnection(H2Endpoint):
    def __init__(self, replica, sock, life):
        super().__init__(sock, False, replica.settings, replica.auto_window)
        self.replica = replica
        self.life = life  # of the replica
        self.exchanges = {}

    def is_reset(self, stream_id):
        return self.exchanges[stream_id].peer_gone

    def on_event(self, event):
        if isinstance(event, h2.events.RequestReceived):
            exchange = H2Exchange(self.replica, self, event.stream_id, event.headers)
            self.exchanges[event.stream_id] = exchange
            if not self.replica.arrived(exchange):
                exchange.control = True
            return
        exchange = self.exchanges.get(getattr(event, "stream_id", None))
        if exchange is None or exchange.control:
            return
        if isinstance(event, h2.events.DataReceived):
            exchange.body += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            exchange.trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            self.replica.completed(exchange)
        elif isinstance(event, h2.events.StreamReset):
            exchange.reset_code = int(event.error_code)
            exchange.lost()

    def on_lost(self):
        if self.error:
            self.replica.problems.append(self.error)
        for exchange in list(self.exchanges.values()):
            if not exchange.answered.is_set():
                exchange.lost()


