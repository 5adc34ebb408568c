"""Sockets that can be closed while another thread reads from them."""

import socket
import struct


def parse(address):
    """("127.0.0.1", 80) from itself or from "127.0.0.1:80"."""
    if isinstance(address, str):
        host, _, port = address.rpartition(":")
        return host.strip("[]"), int(port)
    return address


def hang_up(sock, abrupt=False):
    """Closes; abrupt: with RST, as a killed process with unread data does."""
    try:
        if abrupt:
            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            sock.shutdown(socket.SHUT_RD)
        else:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


def connect(address, timeout, receive_buffer=None, source=None):
    sock = socket.socket()
    if source:
        sock.bind((source, 0))
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(timeout)
    sock.connect(parse(address))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
