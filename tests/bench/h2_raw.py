"""HTTP/2 clients of a few bytes each, for holding thousands of connections or streams open."""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
END_STREAM, END_HEADERS, ACK = 1, 4, 1


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


def literal(name_index, value):
    """A field with a name from HPACK's static table, neither indexed nor compressed."""
    return bytes([name_index, len(value)]) + value


def request(stream, path, authority, body=None):
    method = b"\x82" if body is None else b"\x83"
    block = method + b"\x86" + literal(0x04, path.encode()) + literal(0x01, authority.encode())
    headers = frame(HEADERS, END_HEADERS | (END_STREAM if body is None else 0), stream, block)
    return headers if body is None else headers + frame(DATA, END_STREAM, stream, body)


class Connection:
    def __init__(self, port):
        self.authority = f"127.0.0.1:{port}"
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        # Else each small frame waits for the acknowledgement of the one before: 40 ms a connection.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.received = b""
        self.next_stream = 1
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def read_frame(self):
        while True:
            if len(self.received) >= 9:
                size = int.from_bytes(self.received[:3], "big")
                if len(self.received) >= 9 + size:
                    kind, flags = self.received[3], self.received[4]
                    stream = int.from_bytes(self.received[5:9], "big") & 0x7FFFFFFF
                    self.received, payload = self.received[9 + size:], self.received[9:9 + size]
                    return kind, flags, stream, payload
            received = self.socket.recv(65536)
            if not received:
                raise RuntimeError("connection closed")
            self.received += received

    def step(self):
        """Reads one frame and answers it where the protocol wants an answer."""
        kind, flags, stream, payload = self.read_frame()
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        if kind == GOAWAY:
            raise RuntimeError("the peer sent GOAWAY")
        return kind, flags, stream

    def settle(self):
        """Waits for the peer's SETTINGS, and for it to have taken ours."""
        seen = set()
        while len(seen) < 2:
            kind, flags, _ = self.step()
            if kind == SETTINGS:
                seen.add(flags & ACK)

    def start(self, path, body=None):
        stream = self.next_stream
        self.next_stream += 2
        self.socket.sendall(request(stream, path, self.authority, body))
        return stream

    def fetch(self, path):
        stream = self.start(path)
        while True:
            kind, flags, of = self.step()
            if of == stream and kind in (DATA, HEADERS) and flags & END_STREAM:
                return

    def close(self):
        self.socket.close()
