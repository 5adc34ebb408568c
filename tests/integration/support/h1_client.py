"""A raw HTTP/1.1 client on one connection: whole requests, or any bytes."""

from . import sockets
from .h1_wire import Closed, H1Reader, head_bytes
from .messages import Response, find
from .waiting import PATIENCE_S, patience


class H1Client:
    def __init__(self, address, tls=None, receive_buffer=None):
        self.address = sockets.parse(address)
        self.sock = sockets.connect(self.address, patience(20), receive_buffer)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname="localhost")
        self.wire = H1Reader(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def begin(self, method, path, headers=(), host=None):
        """Sends a request's head; the body is the caller's."""
        fields = [("host", host or "%s:%d" % self.address)] + list(headers)
        self.send(head_bytes(f"{method} {path} HTTP/1.1", fields))

    def request(self, method="POST", path="/", headers=(), body=b"", host=None):
        """Sends a whole request without waiting for the answer."""
        fields = [("host", host or "%s:%d" % self.address)] + list(headers)
        if body or method not in ("GET", "HEAD", "DELETE"):
            fields.append(("content-length", str(len(body))))
        self.send(head_bytes(f"{method} {path} HTTP/1.1", fields) + body)

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def fetch(self, method="POST", path="/", headers=(), body=b"", host=None, timeout=PATIENCE_S):
        self.request(method, path, headers, body, host)
        return self.response(method, timeout)

    def head(self, timeout=PATIENCE_S):
        """Reads up to the end of the final response's head."""
        self.sock.settimeout(patience(timeout))
        answer = Response()
        while True:
            line, fields = self.wire.head()
            version, _, rest = line.partition(" ")
            assert version in ("HTTP/1.1", "HTTP/1.0"), f"not a status line: {line!r}"
            status = int(rest[:3])
            if status >= 200 or status == 101:
                answer.status, answer.headers = status, fields
                return answer
            answer.informational.append((status, fields))

    def response(self, method="GET", timeout=PATIENCE_S):
        """Reads a whole response; raises Closed if the connection ends before it does."""
        answer = self.head(timeout)
        return self.body(answer, method)

    def body(self, answer, method="GET"):
        collected = bytearray()
        try:
            self._body(answer, method, collected.extend)
        finally:
            answer.body = collected
        answer.closed = (find(answer.headers, "connection", "") or "").lower() == "close"
        return answer

    def _body(self, answer, method, on_data):
        if method == "HEAD" or answer.status in (204, 304):
            return
        if find(answer.headers, "transfer-encoding"):
            answer.trailers = self.wire.chunks(on_data)
            return
        length = find(answer.headers, "content-length")
        if length is not None:
            self.wire.counted(int(length), on_data)
        else:
            self.wire.rest(on_data)

    def wait_closed(self, timeout=PATIENCE_S):
        """Waits for the peer to close; returns what it still sent."""
        self.sock.settimeout(patience(timeout))
        try:
            while True:
                self.wire.fill()
        except Closed as closed:
            return closed.partial

    def close(self, abrupt=False):
        sockets.hang_up(self.sock, abrupt)


def fetch(address, method="GET", path="/", headers=(), body=b"", timeout=PATIENCE_S, tls=None):
    """One request on a connection of its own."""
    with H1Client(address, tls) as client:
        return client.fetch(method, path, headers, body, timeout=timeout)
