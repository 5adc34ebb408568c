"""Frames of RFC 6455 on a tunnel of tunnels.py."""

import struct

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True):
    """A client's frame, under a mask of zeros."""
    size = len(payload)
    length = (struct.pack("!B", 0x80 | size) if size < 126 else
              struct.pack("!BH", 0x80 | 126, size) if size < 65536 else
              struct.pack("!BQ", 0x80 | 127, size))
    return bytes([(0x80 if fin else 0) | opcode]) + length + bytes(4) + payload


def server_frame(tunnel, timeout=20):
    """(opcode, payload) of the server's next frame."""
    first, size = tunnel.read(2, timeout)
    if size > 125:
        size, = struct.unpack("!H" if size == 126 else "!Q", tunnel.read(2 if size == 126 else 8, timeout))
    return first & 15, tunnel.read(size, timeout) if size else b""
