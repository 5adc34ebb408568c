"""A name server for one test: UDP and TCP on one port, with answers that the test changes."""

import socket
import struct
import threading

A, AAAA, SRV = 1, 28, 33
NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3


def name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def read_name(message, at):
    labels = []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode().lower())
        at += 1 + message[at]
    return ".".join(labels), at + 1


def same_port_twice():
    """A UDP and a TCP socket on one free port; the first port found for one may be taken for the other."""
    for _ in range(100):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        udp.bind(("127.0.0.1", 0))
        try:
            tcp.bind(udp.getsockname())
            return udp, tcp
        except OSError:
            udp.close()
            tcp.close()
    raise OSError("no port is free for both UDP and TCP")


class DnsServer:
    """records: {(name, type): [data, ...]} with data an address, or (priority, port, target) for SRV.

    broken: "servfail", "silent", "garbage", "wrong_id" or None, or a dict with one of these for (name, type). truncate: over UDP only the TC bit.
    """

    def __init__(self, records=None, ttl=0):
        self.records = records or {}
        self.ttl = ttl
        self.broken = None
        self.truncate = False
        self.questions = []
        self.over_tcp = 0
        self.udp, self.tcp = same_port_twice()
        self.port = self.udp.getsockname()[1]
        self.tcp.listen()
        self.address = f"127.0.0.1:{self.port}"
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def close(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def _serve_udp(self):
        while True:
            try:
                question, client = self.udp.recvfrom(4096)
                if not question:
                    return
                if answer := self._answer(question, over_udp=True):
                    self.udp.sendto(answer, client)
            except OSError:
                return

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                while size := stream.read(2):
                    self.over_tcp += 1
                    answer = self._answer(stream.read(struct.unpack("!H", size)[0]), over_udp=False)
                    if answer is None:
                        break
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, question, over_udp):
        ident, = struct.unpack_from("!H", question)
        name, at = read_name(question, 12)
        kind, = struct.unpack_from("!H", question, at)
        self.questions.append((name, kind))
        broken = self.broken.get((name, kind)) if isinstance(self.broken, dict) else self.broken
        if broken == "silent":
            return None
        if broken == "garbage":
            return struct.pack("!H", ident) + b"\xff" * 40
        if broken == "wrong_id":
            ident ^= 0x5555
        known = any(name == record for record, _ in self.records)
        code = SERVFAIL if broken == "servfail" else NOERROR if known else NXDOMAIN
        data = [] if code else self.records.get((name, kind), [])
        flags = 0x8180 | code
        if over_udp and self.truncate:
            flags, data = flags | 0x0200, []
        answer = struct.pack("!6H", ident, flags, 1, len(data), 0, 0) + question[12:at + 4]
        for item in data:
            answer += b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, self.ttl, 0)[:8]
            packed = self._data(kind, item)
            answer += struct.pack("!H", len(packed)) + packed
        return answer

    @staticmethod
    def _data(kind, item):
        if kind == A:
            return socket.inet_pton(socket.AF_INET, item)
        if kind == AAAA:
            return socket.inet_pton(socket.AF_INET6, item)
        priority, port, target = item
        return struct.pack("!HHH", priority, 10, port) + name_bytes(target)
