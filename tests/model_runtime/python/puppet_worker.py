"""A worker that does what each request's body says, for the tests of the Python runtime.

The body is a JSON list of actions, done in order: a frame to send, or ["await", event] for one that
must come first: "go", "cancel", "message". What a worker must never do, it does if told to.
"""

import json
import os
import socket
import struct
import sys
import time

HEADER = struct.Struct("<IBBHQ")
INVOKE_HEAD = struct.Struct("<BBHqI")
START, INVOKE, PREDICT, CANCEL, CREDIT, MESSAGE, CLOSED, HEALTH = range(1, 9)
HELLO, LOADED, LOAD_FAILED, READY, STARTED, ENDED, HEAD, CHUNK, DONE = range(32, 41)
ACCEPT, SEND, CLOSE, RECEIVED, HEALTHY, LOG = range(41, 47)


class Puppet:
    def __init__(self, connection):
        self.connection = connection
        self.buffer = b""
        self.descriptors = []
        self.lanes = None  # the lanes' memory
        self.scripts = {}
        self.events = {}
        self.allowed = []  # ids that may start, in order
        self.running = None  # the one that has started; at most one at a time
        self.seen = []  # ids in the order in which they started

    def send(self, kind, number, payload=b"", flags=0, descriptor=None):
        frame = HEADER.pack(len(payload), kind, flags, 0, number) + payload
        if descriptor is None:
            self.connection.sendall(frame)
        else:
            socket.send_fds(self.connection, [frame], [descriptor])

    def frames(self):
        while True:
            data, descriptors, _, _ = socket.recv_fds(self.connection, 1 << 20, 16)
            self.descriptors += descriptors
            if not data:
                return
            self.buffer += data
            while len(self.buffer) >= HEADER.size:
                size, kind, flags, _, number = HEADER.unpack_from(self.buffer)
                if len(self.buffer) < HEADER.size + size:
                    break
                payload = self.buffer[HEADER.size : HEADER.size + size]
                self.buffer = self.buffer[HEADER.size + size :]
                yield kind, flags, number, payload

    def run(self, load):
        self.send(HELLO, 0, struct.pack("<I", load.get("version", 2)))
        if "exit_at_start" in load:
            os._exit(load["exit_at_start"])
        if "error" in load:
            self.send(LOAD_FAILED, 0, json.dumps({"error": load["error"]}).encode())
            os._exit(1)
        self.send(LOADED, 0, json.dumps(load["loaded"]).encode())
        for kind, flags, number, payload in self.frames():
            if kind == INVOKE:
                self.invoke(flags, number, payload)
            elif kind == HEALTH:
                self.send(HEALTHY, number, b"\1")
            else:
                name = {PREDICT: "go", CANCEL: "cancel", MESSAGE: "message"}.get(kind)
                if name == "go":
                    self.allow(number)
                else:
                    self.event(number, name)

    def invoke(self, flags, number, payload):
        *_, meta_size = INVOKE_HEAD.unpack_from(payload)
        body = payload[INVOKE_HEAD.size + meta_size :]
        if flags & 0x80:
            descriptor = self.descriptors.pop(0)
            body = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            os.close(descriptor)
        self.scripts[number] = json.loads(body)
        self.events[number] = []
        if flags & 1:
            self.allow(number)
        self.play(number)

    def allow(self, number):
        self.allowed.append(number)
        self.start_next()

    def start_next(self):
        if self.running is None and self.allowed:
            self.running = self.allowed.pop(0)
            self.seen.append(self.running)
            self.event(self.running, "go")

    def leave(self, number):
        if number in self.allowed:
            self.allowed.remove(number)
        if number == self.running:
            self.running = None
            self.start_next()

    def event(self, number, name):
        if number in self.scripts:
            self.events[number].append(name)
            self.play(number)

    def play(self, number):
        script = self.scripts[number]
        while script:
            action, *arguments = script[0]
            if action == "await":
                if arguments[0] not in self.events[number]:
                    return
                self.events[number].remove(arguments[0])
            script.pop(0)
            if action != "await":
                getattr(self, "do_" + action)(number, *arguments)

    def do_ready(self, number):
        now = time.monotonic_ns()
        self.send(READY, number, struct.pack("<qq", now - 1000, now))

    def do_started(self, number, seconds_later=0):
        when = time.monotonic_ns() + seconds_later * 10**9
        self.send(STARTED, number, struct.pack("<q", when))

    def do_begin(self, number, named=None):
        """Begins without saying so, or notes whatever id it is told."""
        os.pwrite(self.lanes, struct.pack("<Q", named or number), 0)

    def do_no_memory(self, number):
        os.truncate(self.lanes, 3)

    def do_switch_quietly(self, number):
        """Ends, and begins the next in line, and says neither."""
        os.pwrite(self.lanes, struct.pack("<Q", self.allowed[0]), 0)

    def do_ended(self, number):
        self.send(ENDED, number, struct.pack("<q", time.monotonic_ns()))
        self.leave(number)

    def do_head(self, number, status=200, headers=()):
        text = json.dumps(list(headers)).encode()
        self.send(HEAD, number, struct.pack("<HHI", status, 0, len(text)) + text)

    def do_accept(self, number, payload):
        self.send(ACCEPT, number, json.dumps(payload).encode())

    def do_send(self, number, size):
        descriptor = os.memfd_create("message")
        os.truncate(descriptor, size)
        self.send(SEND, number, b"\2", 0x80, descriptor)
        os.close(descriptor)

    def do_log(self, number, text):
        self.send(LOG, 0, text.encode("latin-1"))

    def do_chunk(self, number, text):
        self.send(CHUNK, number, text.encode())

    def do_done(self, number, kind=0, outcome=0, status=200, body="", headers=()):
        text = json.dumps(list(headers)).encode()
        head = struct.pack("<BBHI", kind, outcome, status, len(text)) + text
        if len(body) < 65536:
            self.send(DONE, number, head + body.encode())
            self.leave(number)
            return
        descriptor = os.memfd_create("body")
        os.write(descriptor, body.encode())
        self.send(DONE, number, head, 0x80, descriptor)
        os.close(descriptor)

    def do_long_done(self, number, size):
        self.do_done(number, body="x" * size)

    def do_order(self, number):
        self.do_done(number, body=json.dumps(self.seen))

    def do_pid(self, number):
        self.do_done(number, body=str(os.getpid()))

    def do_raw(self, number, text):
        self.connection.sendall(bytes.fromhex(text))

    def do_exit(self, number, code):
        os._exit(code)

    def do_sleep(self, number):
        time.sleep(1000)


def main():
    connection = socket.socket(fileno=int(sys.argv[1]))
    puppet = Puppet(connection)
    for kind, _, _, payload in puppet.frames():
        if kind == START:
            puppet.lanes = puppet.descriptors.pop(0)
            break
    puppet.run(json.loads(payload))


main()
