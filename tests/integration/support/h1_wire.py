"""HTTP/1.1 messages read from a blocking socket, strictly, for the raw client and the replica."""

import base64
import hashlib


class Closed(Exception):
    """The peer closed (or reset) the connection. `partial` is what had come of the message."""

    def __init__(self, partial=b""):
        super().__init__(f"connection closed after {partial[:200]!r}")
        self.partial = partial


class H1Reader:
    def __init__(self, sock):
        self.sock = sock
        self.buffer = bytearray()

    def fill(self):
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            data = b""
        if not data:
            raise Closed(bytes(self.buffer))
        self.buffer += data

    def until(self, mark):
        while True:
            at = self.buffer.find(mark)
            if at >= 0:
                taken = bytes(self.buffer[: at + len(mark)])
                del self.buffer[: at + len(mark)]
                return taken
            self.fill()

    def exactly(self, count):
        while len(self.buffer) < count:
            self.fill()
        taken = bytes(self.buffer[:count])
        del self.buffer[:count]
        return taken

    def head(self):
        """The first line and the fields of a message."""
        while True:
            line = self.until(b"\r\n")
            if line != b"\r\n":
                break
        return line[:-2].decode("latin-1"), self.fields()

    def fields(self):
        fields = []
        while True:
            line = self.until(b"\r\n")
            if line == b"\r\n":
                return fields
            name, colon, value = line[:-2].decode("latin-1").partition(":")
            assert colon and name and name == name.strip(), f"malformed field line {line!r}"
            fields.append((name, value.strip()))

    def chunks(self, on_data):
        """A chunked body; returns its trailers."""
        while True:
            line = self.until(b"\r\n")[:-2]
            size = int(line.partition(b";")[0], 16)
            if size == 0:
                return self.fields()
            on_data(self.exactly(size))
            assert self.exactly(2) == b"\r\n", "chunk without its CRLF"

    def counted(self, count, on_data):
        while count:
            if not self.buffer:
                self.fill()
            piece = self.exactly(min(count, len(self.buffer)))
            count -= len(piece)
            on_data(piece)

    def rest(self, on_data):
        while True:
            if self.buffer:
                on_data(self.exactly(len(self.buffer)))
            try:
                self.fill()
            except Closed:
                return


def head_bytes(first_line, headers):
    lines = [first_line] + [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def websocket_accept(key):
    """What answers a Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    return base64.b64encode(digest).decode()
