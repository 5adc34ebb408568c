"""A raw HTTP/2 client: many streams on one connection, each under the test's control."""

import h2.events

from . import sockets
from .h2_wire import H2Endpoint, StreamGone
from .messages import Response
from .waiting import PATIENCE_S, patience


class H2Stream:
    """One request. What came back is in `answer` as it comes."""

    def __init__(self, client, stream_id):
        self.client = client
        self.id = stream_id
        self.answer = Response()
        self.ended = False  # the response is complete, or reset, or the connection lost
        self.complete = False
        self.unconsumed = 0

    def send(self, data, end=False, timeout=30):
        self.client.send_data(self.id, data, end, timeout)

    def trailers(self, headers):
        self.client.send_headers(self.id, headers, end_stream=True)

    def reset(self, code=8):
        self.answer.reset = "by the client"
        self.ended = True
        self.client.send_reset(self.id, code)

    def head(self, timeout=PATIENCE_S):
        """Waits for the response's head."""
        self.client.wait_for(
            lambda: self.answer.status or self.ended, f"response head on {self.id}", timeout
        )
        return self.answer

    def data(self, count, timeout=PATIENCE_S):
        """Waits for `count` bytes of the response's body."""
        self.client.wait_for(
            lambda: len(self.answer.body) >= count or self.ended, f"{count} body bytes", timeout
        )
        return self.answer.body

    def response(self, timeout=PATIENCE_S):
        """Waits for the whole response; fails if it was cut off."""
        self.end(timeout)
        assert self.complete, f"stream {self.id} was cut off: {self.answer}"
        return self.answer

    def end(self, timeout=PATIENCE_S):
        """Waits for the stream's end, however it ends."""
        self.client.wait_for(lambda: self.ended, f"end of stream {self.id}", timeout)
        return self.answer

    def consume_all(self):
        with self.client.lock:
            count, self.unconsumed = self.unconsumed, 0
        if count:
            self.client.consume(self.id, count)

    def read_on(self, timeout=PATIENCE_S):
        """Takes the rest of the response (with auto_window=False), to the stream's end."""
        while not self.ended:
            self.consume_all()
            self.client.wait_for(lambda: self.unconsumed or self.ended, "more of the body", timeout)
        return self.answer


class H2Client(H2Endpoint):
    """auto_window=False makes a slow reader: the peer's data is taken only by consume_all()."""

    def __init__(self, address, tls=None, settings=None, auto_window=True, receive_buffer=None,
                 source=None):
        self.address = sockets.parse(address)
        sock = sockets.connect(self.address, patience(PATIENCE_S), receive_buffer, source)
        if tls:
            sock = tls.wrap_socket(sock, server_hostname="localhost")
        sock.settimeout(None)
        super().__init__(sock, True, settings, auto_window)
        self.scheme = "https" if tls else "http"
        self.streams = {}
        self.begin()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def request(self, method="POST", path="/", headers=(), body=b"", end=True, authority=None):
        """Sends the head and the body; end=False leaves the request open for more."""
        pseudo = [
            (":method", method),
            (":scheme", self.scheme),
            (":authority", authority or "%s:%d" % self.address),
            (":path", path),
        ]
        return self.raw_request(pseudo + list(headers), body, end)

    def raw_request(self, headers, body=b"", end=True):
        with self.lock:
            assert not self.closed, "the connection is closed"
            stream = H2Stream(self, self.h2.get_next_available_stream_id())
            self.streams[stream.id] = stream
            self.h2.send_headers(stream.id, headers, end_stream=end and not body)
            self.flush()
        if body:
            try:
                stream.send(body, end)
            except StreamGone:
                pass  # answered, or reset, before it had all
        return stream

    def ping(self):
        with self.lock:
            self.h2.ping(b"still on")
            self.flush()

    def fetch(self, method="POST", path="/", headers=(), body=b"", timeout=PATIENCE_S):
        return self.request(method, path, headers, body).response(timeout)

    def is_reset(self, stream_id):
        stream = self.streams[stream_id]
        return stream.ended and not stream.complete

    def on_event(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        with self.lock:
            self._apply(stream, event)

    def _apply(self, stream, event):
        answer = stream.answer
        if isinstance(event, h2.events.InformationalResponseReceived):
            headers = dict(event.headers)
            answer.informational.append((int(headers[":status"]), event.headers))
        elif isinstance(event, h2.events.ResponseReceived):
            answer.status = int(dict(event.headers)[":status"])
            answer.headers = [h for h in event.headers if not h[0].startswith(":")]
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if not self.auto_window:
                stream.unconsumed += event.flow_controlled_length
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = event.headers
        elif isinstance(event, h2.events.StreamEnded):
            stream.complete = stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            # A server may end its answer and then stop the upload with NO_ERROR.
            answer.reset = int(event.error_code)
            stream.ended = True

    def on_lost(self):
        with self.lock:
            for stream in self.streams.values():
                stream.ended = True
