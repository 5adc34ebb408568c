"""A WebSocket's bytes from the client's side, over HTTP/1.1 or HTTP/2, without its frames."""

import base64
import os
import socket

from .h1_client import H1Client
from .h1_wire import websocket_accept
from .h2_client import H2Client
from .waiting import PATIENCE_S, patience


class H1Tunnel:
    accepted = 101

    def __init__(self, address, headers=(), path="/ws", early=b"", receive_buffer=None):
        self.client = H1Client(address, receive_buffer=receive_buffer)
        self.key = base64.b64encode(os.urandom(16)).decode()
        self.client.begin("GET", path, [
            ("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"), ("sec-websocket-key", self.key), *headers])
        if early:
            self.client.send(early)

    def answer(self, timeout=PATIENCE_S):
        """The head of the response; with its body if it is no 101."""
        answer = self.client.head(timeout)
        if answer.status == 101:
            assert answer.header("sec-websocket-accept") == websocket_accept(self.key)
            assert answer.header("upgrade").lower() == "websocket"
            assert answer.header("connection").lower() == "upgrade"
            return answer
        return self.client.body(answer)

    def send(self, data):
        self.client.send(data)

    def read(self, count, timeout=PATIENCE_S):
        self.client.sock.settimeout(patience(timeout))
        return self.client.wire.exactly(count)

    def read_to_end(self, timeout=PATIENCE_S):
        """What still comes, once the other side has ended."""
        return self.client.wait_closed(timeout)

    def end(self):
        """Ends the client's direction; reading goes on."""
        self.client.sock.shutdown(socket.SHUT_WR)

    def vanish(self):
        """As when its process is killed."""
        self.client.close(abrupt=True)

    def hang_up(self):
        self.client.close()


class H2Tunnel:
    accepted = 200

    def __init__(self, address, headers=(), path="/ws", early=b"", client=None, auto_window=True):
        self.client = client or H2Client(address, auto_window=auto_window)
        self.client.wait_for(lambda: self.client.h2.remote_settings.enable_connect_protocol,
                             "SETTINGS_ENABLE_CONNECT_PROTOCOL")
        self.taken = 0
        self.stream = self.client.raw_request([
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":path", path), (":authority", "%s:%d" % self.client.address),
            ("sec-websocket-version", "13"), *headers], body=early, end=False)

    def answer(self, timeout=PATIENCE_S):
        answer = self.stream.head(timeout)
        return answer if answer.status == 200 else self.stream.response(timeout)

    def send(self, data):
        self.stream.send(data)

    def read(self, count, timeout=PATIENCE_S):
        body = self.stream.data(self.taken + count, timeout)
        assert len(body) >= self.taken + count, f"ended after {len(body) - self.taken} bytes"
        self.taken += count
        return bytes(body[self.taken - count:self.taken])

    def read_to_end(self, timeout=PATIENCE_S):
        return bytes(self.stream.end(timeout).body[self.taken:])

    def end(self):
        self.stream.send(b"", end=True)

    def vanish(self):
        self.client.close(abrupt=True)

    def hang_up(self):
        self.stream.reset()
