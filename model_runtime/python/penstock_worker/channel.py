"""The socket to the sidecar."""

from __future__ import annotations

import array
import os
import socket
import threading
from collections import deque
from typing import Callable, Deque, List, Union

from . import frames

_BUFFER_BYTES = 256 * 1024
_DESCRIPTORS_AT_ONCE = 64
_ANCILLARY_BYTES = socket.CMSG_SPACE(4 * _DESCRIPTORS_AT_ONCE)
_RECEIVE_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class ProtocolError(Exception):
    """The sidecar sent what PROTOCOL.md does not allow."""


class Channel:
    """Frames in and out.

    put() takes frames in their order from any thread, flush() writes all that were put, with one
    system call where no descriptor is among them; whoever finds another thread writing leaves its
    frames to that one. receive() is for one thread at a time. When the sidecar is gone, lost() is
    called, and does not return.
    """

    def __init__(self, sock: socket.socket, lost: Callable[[], None]):
        self._sock = sock
        self._lost = lost
        self._outgoing: Deque[frames.Frame] = deque()
        self._writing = threading.Lock()
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._descriptors: Deque[int] = deque()
        self.put = self._outgoing.append

    def flush(self) -> None:
        outgoing = self._outgoing
        while outgoing:
            if not self._writing.acquire(False):
                return
            try:
                self._write_some()
            except OSError:
                self._lost()
            finally:
                self._writing.release()

    def send(self, frame: frames.Frame) -> None:
        self.put(frame)
        self.flush()

    def drain(self) -> None:
        """Returns when everything that was put before has been written."""
        with self._writing:
            try:
                self._write_some()
            except OSError:
                self._lost()
        # What came meanwhile was left to this thread.
        self.flush()

    def _write_some(self) -> None:
        outgoing = self._outgoing
        batch: List[Union[bytes, frames.Started]] = []
        while outgoing:
            frame = outgoing.popleft()
            if type(frame) is not tuple:
                batch.append(frame)
                continue
            self._send(batch)
            batch = []
            self._send_with_descriptor(*frame)
        self._send(batch)

    def _send(self, batch: List[Union[bytes, frames.Started]]) -> None:
        if not batch:
            return
        self._sock.sendall(b"".join(batch))
        for frame in batch:
            if type(frame) is frames.Started:
                frame.written = True

    def _send_with_descriptor(self, data: bytes, descriptor: int) -> None:
        try:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))
            sent = self._sock.sendmsg([data], [rights])
        finally:
            os.close(descriptor)
        if sent < len(data):
            self._sock.sendall(data[sent:])

    def receive(self, handle: Callable[[int, int, int, bytes], None]) -> None:
        """Waits for bytes and gives handle(type, flags, id, payload) each frame that is
        complete."""
        try:
            size, ancillary, flags, _ = self._sock.recvmsg_into(
                [self._view[self._filled :]], _ANCILLARY_BYTES, _RECEIVE_FLAGS
            )
        except OSError:
            size, ancillary, flags = 0, [], 0
        if ancillary:
            self._take_descriptors(ancillary)
        if flags & socket.MSG_CTRUNC and not ancillary:
            self._descriptors.append(-1)  # this process has none left; its body is lost, no more
        if size == 0:
            self._lost()
        self._filled += size
        self._handle_frames(handle)

    def _handle_frames(self, handle: Callable[[int, int, int, bytes], None]) -> None:
        buffer, view, filled = self._buffer, self._view, self._filled
        unpack = frames.HEADER.unpack_from
        position = 0
        needed = 0
        while filled - position >= 16:
            size, kind, flags, _, number = unpack(buffer, position)
            end = position + 16 + size
            if end > filled:
                if size > frames.MAX_PAYLOAD:
                    raise ProtocolError(f"a frame of {size} bytes")
                needed = 16 + size
                break
            handle(kind, flags, number, bytes(view[position + 16 : end]))
            position = end
        self._keep(position, needed)

    def _keep(self, position: int, needed: int) -> None:
        """Moves what is left of the buffer to its beginning, and makes room for a frame of that
        size."""
        left = self._filled - position
        if needed > len(self._buffer):
            grown = bytearray(needed)
            grown[:left] = self._view[position : self._filled]
            self._buffer, self._view = grown, memoryview(grown)
        elif left and position:
            self._buffer[:left] = self._buffer[position : self._filled]
        self._filled = left

    def _take_descriptors(self, ancillary: list) -> None:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                self._descriptors.extend(numbers)

    def next_descriptor(self) -> int:
        """The descriptor of the frame at hand, which has the flag FD; -1 if it was lost."""
        if not self._descriptors:
            raise ProtocolError("a frame with a descriptor came without one")
        return self._descriptors.popleft()
