"""One end of an HTTP/2 connection: python-h2, a reader thread, and sending under flow control."""

import select
import ssl
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from . import sockets
from .waiting import PATIENCE_S, patience


class StreamGone(Exception):
    """The stream was reset, or its connection lost, while something was to be sent on it."""


class H2Endpoint:
    """Base of the client connection and of the replica's. Subclasses get events on the reader thread.

    auto_window: received data is given back to the peer at once; else only by consume().
    """

    def __init__(self, sock, client_side, settings=None, auto_window=True):
        self.sock = sock
        self.auto_window = auto_window
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.closed = False
        self.goaway = None  # (error code, last stream id) from the peer
        self.error = None  # what the peer did wrong, as python-h2 says it
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=client_side,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        values = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 100000}
        values.update(settings or {})
        self.h2.local_settings = h2.settings.Settings(client=client_side, initial_values=values)
        if h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE in values:
            self.h2.decoder.max_header_list_size = values[
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE]
        # python-h2 would end the connection at GOAWAY; streams that run go on after it.
        self.h2._frame_dispatch_table[GoAwayFrame] = self._on_goaway
        self.reader = threading.Thread(target=self._read, daemon=True)

    def begin(self):
        with self.lock:
            self.h2.initiate_connection()
            self.flush()
        self.reader.start()

    def flush(self):
        data = self.h2.data_to_send()
        if data and not self.closed:
            try:
                self.sock.sendall(data)
            except OSError:
                self.closed = True
                self.changed.notify_all()

    def send_raw(self, data):
        """Bytes past python-h2: for frames that a well-behaved peer does not send."""
        with self.lock:
            self.flush()
            self.sock.sendall(data)

    def send_goaway(self, last_stream_id, error_code=0):
        frame = GoAwayFrame(0, last_stream_id=last_stream_id, error_code=error_code)
        self.send_raw(frame.serialize())

    def send_headers(self, stream_id, headers, end_stream=False):
        with self.lock:
            self._check(stream_id)
            self.h2.send_headers(stream_id, headers, end_stream=end_stream)
            self.flush()

    def send_data(self, stream_id, data, end_stream=False, timeout=30):
        """Sends all of data as the windows allow; waits for them to open."""
        view = memoryview(bytes(data))
        while True:
            with self.lock:
                room = self._room(stream_id, len(view), timeout)
                piece = view[:room]
                view = view[room:]
                try:
                    self.h2.send_data(stream_id, bytes(piece), end_stream and not view)
                except h2.exceptions.StreamClosedError:
                    raise StreamGone(f"stream {stream_id}") from None
                self.flush()
                if not view:
                    return

    def send_what_fits(self, stream_id, data):
        """Sends as much of data as the windows allow now; returns how much that was."""
        with self.lock:
            self._check(stream_id)
            sent = 0
            while sent < len(data):
                room = self._window(stream_id)
                if room <= 0:
                    break
                self.h2.send_data(stream_id, data[sent : sent + room])
                sent += min(room, len(data) - sent)
            self.flush()
            return sent

    def send_reset(self, stream_id, error_code):
        with self.lock:
            try:
                self.h2.reset_stream(stream_id, error_code)
            except h2.exceptions.ProtocolError:
                return
            self.flush()

    def consume(self, stream_id, count):
        with self.lock:
            try:
                self.h2.acknowledge_received_data(count, stream_id)
            except h2.exceptions.ProtocolError:
                return
            self.flush()

    def close(self, abrupt=False):
        with self.lock:
            self.closed = True
            self.changed.notify_all()
        sockets.hang_up(self.sock, abrupt)

    def wait_for(self, condition, what, timeout=PATIENCE_S):
        """Waits, woken by every event of the connection, until condition() is true."""
        with self.lock:
            if not self.changed.wait_for(condition, patience(timeout)):
                raise AssertionError(f"not within {patience(timeout):g} s: {what}")

    def _window(self, stream_id):
        try:
            window = self.h2.local_flow_control_window(stream_id)
        except h2.exceptions.StreamClosedError:
            raise StreamGone(f"stream {stream_id}") from None
        return min(window, self.h2.max_outbound_frame_size)

    def _room(self, stream_id, wanted, timeout):
        deadline = time.monotonic() + patience(timeout)
        while True:
            self._check(stream_id)
            room = self._window(stream_id)
            if room > 0 or wanted == 0:
                return max(min(room, wanted), 0)
            left = deadline - time.monotonic()
            if left <= 0 or not self.changed.wait(left):
                raise AssertionError(f"stream {stream_id}: no window to send {wanted} bytes")

    def _check(self, stream_id):
        if self.closed or self.is_reset(stream_id):
            raise StreamGone(f"stream {stream_id}")

    def _read(self):
        try:
            while not self.closed:
                data = self._receive()
                if not data:
                    break
                with self.lock:
                    events = self.h2.receive_data(data)
                    for event in events:
                        self._account(event)
                    self.flush()
                    self.changed.notify_all()
                for event in events:
                    self.on_event(event)
                with self.lock:
                    self.changed.notify_all()
        except h2.exceptions.ProtocolError as error:
            self.error = error
            with self.lock:
                self.flush()
        except OSError:
            pass
        with self.lock:
            self.closed = True
            self.changed.notify_all()
        self.on_lost()
        sockets.hang_up(self.sock)
        with self.lock:
            self.changed.notify_all()

    def _receive(self):
        if not isinstance(self.sock, ssl.SSLSocket):
            return self.sock.recv(65536)
        # OpenSSL objects must not be read and written at once.
        select.select([self.sock], [], [])
        with self.lock:
            return self.sock.recv(65536)

    def _account(self, event):
        if isinstance(event, h2.events.DataReceived) and self.auto_window:
            size = event.flow_controlled_length
            if size:
                try:
                    self.h2.acknowledge_received_data(size, event.stream_id)
                except h2.exceptions.ProtocolError:
                    pass

    def _on_goaway(self, frame):
        self.goaway = (frame.error_code, frame.last_stream_id)
        return [], []

    def is_reset(self, stream_id):
        raise NotImplementedError

    def on_event(self, event):
        raise NotImplementedError

    def on_lost(self):
        raise NotImplementedError
