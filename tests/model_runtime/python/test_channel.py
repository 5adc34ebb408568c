"""The channel by itself, at one end of a socket pair."""

import array
import os
import socket
import threading

import pytest

from penstock_worker import frames
from penstock_worker.channel import Channel, ProtocolError


class Lost(Exception):
    pass


def lost():
    raise Lost


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(theirs, lost), ours


def frame(number, payload=b"", flags=0):
    return frames.HEADER.pack(len(payload), 4, flags, 0, number) + payload


def received(channel):
    found = []
    channel.receive(lambda kind, flags, number, payload: found.append((number, payload)))
    return found


def test_a_frame_that_is_cut_after_a_whole_one(pair):
    channel, peer = pair
    data = frame(1, b"one") + frame(2, b"two") + frame(3)
    for cut in range(len(frame(1, b"one")), len(data)):
        peer.sendall(data[:cut])
        found = received(channel)
        peer.sendall(data[cut:])
        found += received(channel)
        assert found == [(1, b"one"), (2, b"two"), (3, b"")]


def test_a_frame_larger_than_the_buffer_after_another(pair):
    channel, peer = pair
    large = b"x" * (1 << 20)
    sender = threading.Thread(
        target=peer.sendall, args=(frame(1, b"a") + frame(2, large) + frame(3),)
    )
    sender.start()
    found = []
    while len(found) < 3:
        found += received(channel)
    sender.join()
    assert found == [(1, b"a"), (2, large), (3, b"")]


def test_descriptors_go_to_their_frames(pair):
    channel, peer = pair
    pipes = [os.pipe() for _ in range(3)]
    for index, (reader, _) in enumerate(pipes):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [reader]))]
        peer.sendmsg([frame(index, b"", frames.FLAG_FD)], rights)
    taken = []
    while len(taken) < 3:
        channel.receive(lambda *_: taken.append(channel.next_descriptor()))
    for descriptor, (reader, writer) in zip(taken, pipes):
        os.write(writer, b"w")
        assert os.read(descriptor, 1) == b"w" and not os.get_inheritable(descriptor)
        for each in (descriptor, reader, writer):
            os.close(each)
    with pytest.raises(ProtocolError):
        channel.next_descriptor()


def test_too_large_and_lost(pair):
    channel, peer = pair
    peer.sendall(frames.HEADER.pack((1 << 20) + 1, 2, 0, 0, 1))
    with pytest.raises(ProtocolError):
        received(channel)
    peer.close()
    with pytest.raises(Lost):
        received(channel)
    with pytest.raises(Lost):
        channel.send(frame(1) * 100)


def test_frames_of_many_threads_keep_their_order(pair):
    channel, peer = pair
    count, threads = 2000, 4

    def write(thread):
        for index in range(count):
            channel.put(frame(thread, index.to_bytes(4, "little")))
            if index % 3:
                channel.flush()
        channel.flush()

    writers = [threading.Thread(target=write, args=(thread,)) for thread in range(threads)]
    for writer in writers:
        writer.start()
    data = bytearray()
    while len(data) < count * threads * 20:
        data += peer.recv(1 << 16)
    for writer in writers:
        writer.join()
    seen = {thread: [] for thread in range(threads)}
    for position in range(0, len(data), 20):
        _, _, _, _, thread = frames.HEADER.unpack_from(data, position)
        seen[thread].append(int.from_bytes(data[position + 16 : position + 20], "little"))
    assert all(numbers == list(range(count)) for numbers in seen.values())


def test_a_frame_with_a_descriptor_between_others(pair):
    channel, peer = pair
    body = b"y" * 100_000
    channel.put(frame(1))
    channel.put(frames.response(2, 0, 200, b"[]", body))
    channel.put(frame(3))
    channel.flush()
    data, descriptors = bytearray(), array.array("i")
    while len(data) < 16 + 26 + 16:
        piece, ancillary, _, _ = peer.recvmsg(1 << 16, socket.CMSG_SPACE(64))
        if ancillary:
            descriptors.frombytes(ancillary[0][2])
            # Nothing of the frame with the descriptor has come before it.
            assert len(data) <= 16
        data += piece
    assert len(descriptors) == 1
    with open(descriptors[0], "rb") as file:
        assert file.read() == body
