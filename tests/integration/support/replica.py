"""A replica that counts for itself: HTTP/2 (prior knowledge) and HTTP/1.1 on one port.

It holds every request until the test, or its `handler`, answers it. A request is in flight from its
head until its work has ended: that is when the test answers, refuses or resets it. A reset by the peer
ends the work only if the replica was made with reset_ends_work=True, as with a server that aborts;
else the work goes on, as it does on a GPU. die() ends one life and all its work in one moment: whatever
a thread of it still reads afterwards is no request, and counts for nothing in the next.

`/health/ready` is answered at once, 200 while `ready`. `/penstock/cancel` is recorded in `cancels`;
with sidecar=True the replica marks its responses as a sidecar's and `cancelled` of the request fires.
Whoever subscribes to its load reports is recorded in `subscriptions` and handed to `on_subscribe`, on a
thread of its own; without that there is no such service.
"""

import collections
import select
import socket
import threading
import time

from . import sockets
from .h1_wire import Closed, H1Reader
from .messages import find
from .replica_streams import H1Exchange, H2ReplicaConnection
from .waiting import PATIENCE_S, patience

PREFACE = b"PRI * HTTP/2.0\r\n"


class Replica:
    def __init__(self, protocol="both", handler=None, sidecar=False, reset_ends_work=False,
                 settings=None, auto_window=True, threaded=False, tls=None, port=0, host="127.0.0.1"):
        assert protocol in ("both", "h2", "h1")
        self.protocol = protocol
        self.handler = handler  # called with each complete request, on the connection's thread
        self.on_head = None  # called with each request as its head arrives
        self.on_subscribe = None
        self.subscriptions = []
        self.threaded = threaded  # each handler on a thread of its own: it may take long
        self.tls = tls  # an ssl.SSLContext of a server
        self.sidecar = sidecar
        self.reset_ends_work = reset_ends_work
        self.settings = settings
        self.auto_window = auto_window
        self.ready = True
        self.health_checks = 0
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.requests = []  # every request whose head came, in order of arrival
        self.cancels = []  # attempt ids
        self.in_flight = 0
        self.max_in_flight = 0
        self.connections = []
        self.greeting = set()  # sockets whose protocol is not known yet
        self.life = 0
        self.accepted = 0
        self.problems = []  # violations of the protocol by the peer
        self.port = port
        self.host = host
        # Bound and not listening: between two lives the kernel gives the port to nobody else.
        self.place = self._bound()
        self.port = self.place.getsockname()[1]
        self.listen()

    def listen(self):
        """Starts (again, after die()) to accept at its address."""
        self.listener = self._bound()
        self.listener.listen(512)
        self.thread = threading.Thread(target=self._accept, args=(self.listener, self.life),
                                       daemon=True)
        self.thread.start()

    def _bound(self):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self.host, self.port))
        return sock

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    @property
    def ids(self):
        """The x-test-id of everything that arrived, in order."""
        with self.lock:
            return [request.id for request in self.requests]

    def wait_count(self, count, timeout=PATIENCE_S):
        """Waits until `count` requests have arrived and returns all that have."""
        with self.lock:
            arrived = lambda: len(self.requests) >= count  # noqa: E731
            if not self.changed.wait_for(arrived, patience(timeout)):
                raise AssertionError(
                    f"{len(self.requests)} of {count} requests at the replica: {self.ids}"
                )
            return list(self.requests)

    def request(self, index, timeout=PATIENCE_S):
        """The request that arrived as number `index` (from 0), with its whole body."""
        request = self.wait_count(index + 1, timeout)[index]
        request.whole(timeout)
        return request

    def by_id(self, test_id, timeout=PATIENCE_S):
        """The (last) request with that x-test-id, once it has arrived."""
        def found():
            return [request for request in self.requests if request.id == test_id]
        with self.lock:
            if not self.changed.wait_for(found, patience(timeout)):
                raise AssertionError(f"no request {test_id} at the replica: {self.ids}")
            return found()[-1]

    def wait_idle(self, timeout=PATIENCE_S):
        with self.lock:
            if not self.changed.wait_for(lambda: self.in_flight == 0, patience(timeout)):
                raise AssertionError(f"{self.in_flight} requests still in flight at the replica")

    def stop_listening(self):
        self.listener.close()

    def hang_up(self, abrupt=False):
        """Closes every connection, and goes on listening."""
        with self.lock:
            connections, self.connections = self.connections, []
        for connection in connections:
            connection.close(abrupt)

    def die(self):
        """As when its process is killed: connections are reset, nobody listens."""
        with self.lock:
            self.life += 1
            self.in_flight = 0
            for request in self.requests:
                request.working = False
            greeting, self.greeting = self.greeting, set()
            self.changed.notify_all()
        sockets.hang_up(self.listener)
        self.thread.join(patience(PATIENCE_S))
        for sock in greeting:
            sockets.hang_up(sock, abrupt=True)
        self.hang_up(abrupt=True)

    def close(self):
        self.die()
        self.place.close()

    def _accept(self, listener, life):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                if life != self.life:
                    sockets.hang_up(sock, abrupt=True)
                    return
                self.greeting.add(sock)
            self.accepted += 1
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock, life), daemon=True).start()

    def _serve(self, accepted, life):
        sock = accepted
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
                is_h2 = sock.selected_alpn_protocol() == "h2"
            else:
                is_h2 = self._speaks_h2(sock)
        except (OSError, EOFError):
            sock.close()
            return
        finally:
            with self.lock:
                self.greeting.discard(accepted)
        if is_h2 and self.protocol != "h1":
            connection = H2ReplicaConnection(self, sock, life)
            if self._keep(connection):
                connection.begin()
        elif not is_h2 and self.protocol != "h2":
            connection = H1ReplicaConnection(self, sock, life)
            if self._keep(connection):
                connection.serve()
        else:
            try:
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n"
                             b"connection: close\r\n\r\n")
            except OSError:
                pass
            sockets.hang_up(sock)

    @staticmethod
    def _speaks_h2(sock):
        start = b""
        while len(start) < len(PREFACE) and PREFACE.startswith(start):
            start = sock.recv(len(PREFACE), socket.MSG_PEEK)
            if not start:
                raise EOFError
        return start == PREFACE

    def _keep(self, connection):
        with self.lock:
            alive = connection.life == self.life
            if alive:
                self.connections.append(connection)
        if not alive:
            connection.close(abrupt=True)
        return alive

    def arrived(self, request):
        """Called by the connections. False: it is not work, and has been answered or came too late."""
        path = request.path.partition("?")[0]
        with self.lock:
            if request.connection.life != self.life:
                request.control = True
                return False
            request.control = path == "/penstock/cancel" or path.startswith(
                ("/health/", "/xds.service.orca"))
            if not request.control:
                self.requests.append(request)
                self.in_flight += 1
                self.max_in_flight = max(self.max_in_flight, self.in_flight)
                self.changed.notify_all()
        if not request.control:
            if self.on_head:
                self.on_head(request)
        elif path == "/penstock/cancel":
            self._cancel(request)
        elif path.startswith("/xds.service.orca"):
            self._subscribe(request)
        else:
            self.health_checks += 1
            request.respond(200 if self.ready else 503)
        return not request.control

    def completed(self, request):
        """Called by the connections. Under one lock it is decided who answers the request."""
        with self.lock:
            if request.connection.life != self.life:
                return
            handler = self.handler
            request.came_whole()
            self.changed.notify_all()
        if handler and self.threaded:
            threading.Thread(target=handler, args=(request,), daemon=True).start()
        elif handler:
            handler(request)

    def answer_all(self, handler=lambda request: request.respond()):
        """From now on every request is answered so, and each that is held already."""
        with self.lock:
            self.handler = handler
            held = [r for r in self.requests if r.working and r.complete.is_set()]
        for request in held:
            handler(request)

    def work_ended(self, request):
        with self.lock:
            if not request.working:
                return
            request.working = False
            if not request.control:
                self.in_flight -= 1
            self.changed.notify_all()

    def _subscribe(self, request):
        with self.lock:
            self.subscriptions.append(request)
            self.changed.notify_all()
        if self.on_subscribe is None:
            request.respond(404)
        else:
            threading.Thread(target=self.on_subscribe, args=(request,), daemon=True).start()

    def _cancel(self, request):
        attempt = find(request.headers, "x-penstock-attempt-id")
        with self.lock:
            self.cancels.append(attempt)
            running = [r for r in self.requests if r.working and r.attempt_id == attempt]
            self.changed.notify_all()
        if not self.sidecar or not running:
            request.respond(404)
            return
        running[0].cancelled.set()
        request.respond(202)


class H1ReplicaConnection:
    """Reads requests one after the other; the next only when the last is answered."""

    def __init__(self, replica, sock, life):
        self.replica = replica
        self.life = life  # of the replica
        self.sock = sock
        self.wire = H1Reader(sock)
        self.send_lock = threading.Lock()
        self.closed = False

    def serve(self):
        exchange = None
        try:
            while not self.closed:
                exchange = H1Exchange(self.replica, self, *self.wire.head())
                if self.replica.arrived(exchange):
                    exchange.read_body(self.wire)
                    self.replica.completed(exchange)
                    self._until_answered(exchange)
                if exchange.closes or self.life != self.replica.life:
                    break
        except Closed:
            pass
        except (AssertionError, ValueError) as error:
            if not self.closed:  # not because it was closed here meanwhile
                self.replica.problems.append(error)
        if exchange and not exchange.answered.is_set():
            exchange.lost()
        self.closed = True
        sockets.hang_up(self.sock)

    def _until_answered(self, exchange):
        """Waits for the answer; sees meanwhile when the peer hangs up."""
        while not exchange.answered.wait(0.01):
            if exchange.tunnel and self.wire.buffer:
                exchange.body += self.wire.exactly(len(self.wire.buffer))
            if not self.wire.buffer and select.select([self.sock], [], [], 0)[0]:
                self.wire.fill()

    def write(self, data):
        with self.send_lock:
            self.sock.sendall(data)

    def close(self, abrupt=False):
        self.closed = True
        sockets.hang_up(self.sock, abrupt)


class Workers:
    """Ends requests after their time, as a model does, on one thread. handler for Replica."""

    def __init__(self, seconds_of, answer=lambda request: request.respond(200, body=b"done")):
        self.seconds_of = seconds_of
        self.answer = answer
        self.due = []
        self.changed = threading.Condition()
        self.stopped = False
        threading.Thread(target=self._run, daemon=True).start()

    def __call__(self, request):
        with self.changed:
            self.due.append((time.monotonic() + self.seconds_of(request), request))
            self.due.sort(key=lambda item: item[0])
            self.changed.notify()

    def _run(self):
        while not self.stopped:
            ready = collections.deque()
            with self.changed:
                now = time.monotonic()
                while self.due and self.due[0][0] <= now:
                    ready.append(self.due.pop(0)[1])
                if not ready:
                    self.changed.wait(self.due[0][0] - now if self.due else 0.2)
            for request in ready:
                self.answer(request)
