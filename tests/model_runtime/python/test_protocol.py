"""The socket itself: frames in pieces and in heaps, descriptors, nonsense, end of file.

Promised: no descriptor is left over, whatever becomes of its request; a worker whose sidecar is
gone ends at once; one that is sent nonsense does too.
"""

import os
import signal
import struct
import subprocess
import sys
import time

import pytest

from fake_sidecar import DONE, HEADER, INVOKE, PACKAGE, PATIENCE, READY, STARTED, TAKEN_BACK

ECHO = "class Model:\n    def predict(self, x): return x\n"


def links(process):
    """What the process has open."""
    found = []
    for each in os.listdir(f"/proc/{process}/fd"):
        try:
            found.append(os.readlink(f"/proc/{process}/fd/{each}"))
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def bodies(names):
    """All files in memory but the lanes', which stays."""
    return sum("memfd:" in name and "memfd:penstock-lanes" not in name for name in names)


def descriptors(sidecar):
    return bodies(links(sidecar.process.pid))


def mapped(sidecar):
    with open(f"/proc/{sidecar.process.pid}/maps") as maps:
        return bodies(maps)


def nothing_left(sidecar):
    """The worker closes what it has sent after it was received."""
    deadline = time.monotonic() + PATIENCE
    while descriptors(sidecar) or mapped(sidecar):
        assert time.monotonic() < deadline, (descriptors(sidecar), mapped(sidecar))


def test_frames_that_come_byte_by_byte(serve):
    sidecar = serve(ECHO)
    flags, payload = sidecar.invoke_frame(7, b"[1]")
    sidecar._known.add(7)
    data = HEADER.pack(len(payload) + 3, INVOKE, flags, 0, 7) + payload + b"[1]"
    for index in range(len(data)):
        sidecar.send_raw(data[index : index + 1])
    sidecar.wait_for(lambda: any(frame.kind == DONE for frame in sidecar.frames[7]), "DONE")


def test_many_frames_at_once_start_in_their_order(serve):
    sidecar = serve(ECHO, concurrency=1)
    requests = []
    data = bytearray()
    for number in range(1000, 2000):
        body = b"[%d]" % number
        flags, payload = sidecar.invoke_frame(number)
        sidecar._known.add(number)
        data += HEADER.pack(len(payload) + len(body), INVOKE, flags, 0, number) + payload + body
        requests.append(number)
    sidecar.send_raw(bytes(data))
    sidecar.wait_for(
        lambda: all(
            sidecar.frames[number] and sidecar.frames[number][-1].kind == DONE
            for number in requests
        ),
        "all DONE",
    )
    starts = [sidecar.frames[number][0].when for number in requests]
    ends = [sidecar.frames[number][1].when for number in requests]
    assert starts == sorted(starts)
    assert all(end <= start for end, start in zip(ends, starts[1:]))
    for number in requests:
        assert sidecar.frames[number][-1].payload.endswith(b"[%d]" % number)


def test_a_frame_larger_than_the_buffer(serve):
    sidecar = serve(ECHO)
    text = "x" * 900_000
    assert sidecar.call(text, by_descriptor=False).json == text
    assert sidecar.call(1).json == 1


def test_bodies_by_descriptor(serve):
    sidecar = serve(ECHO)
    for go in (True, False):
        for size in (0, 10, 70_000, 10_000_000):
            request = sidecar.invoke("y" * size, by_descriptor=True, go=go)
            if not go:
                request.wait(READY)
                request.predict()
            assert request.done().json == "y" * size
    assert sidecar.call(b"", by_descriptor=True).status == 400
    assert sidecar.call(b"[" + b"1," * 50_000, by_descriptor=True, go=False).status == 400
    nothing_left(sidecar)


def test_descriptors_of_requests_that_nobody_looked_at(serve):
    sidecar = serve(
        """
class Model:
    def predict(self, x):
        wait("gate")
        return 1
    def completions(self, x): return x
""",
        preprocess_threads=1,
    )
    sidecar.gate("gate")
    running = sidecar.invoke(1)
    running.wait(STARTED)
    allowed = [sidecar.invoke("z" * 100_000) for _ in range(10)]
    sidecar.settle()
    assert descriptors(sidecar) == 10
    for request in allowed:
        request.cancel()
        assert request.done().kind == TAKEN_BACK
    expired = sidecar.invoke("z" * 100_000, deadline=time.monotonic_ns() - 1)
    sidecar.release("gate")
    expired.done()
    nothing_left(sidecar)


def test_arrays_in_a_descriptor_are_let_go_of(serve):
    pytest.importorskip("numpy")
    sidecar = serve("""
import numpy
class Model:
    def predict(self, x):
        return {"sum": int(x["array"].sum()), "array": x["array"] * 2}
""")
    import numpy
    from penstock_worker import msgpack_codec

    array = numpy.arange(1_000_000, dtype="int32")
    body = b"".join(msgpack_codec.pack({"array": array}))
    done = sidecar.call(body, binary=True)
    result = msgpack_codec.unpack(done.body)
    assert done.by_descriptor and result["sum"] == int(array.sum())
    assert (result["array"] == array * 2).all() and result["array"].dtype == array.dtype
    nothing_left(sidecar)


def test_a_request_object_does_not_keep_its_body(serve):
    sidecar = serve("""
import gc
from starlette.requests import Request
class Model:
    def load(self): gc.disable()
    async def predict(self, x, request: Request): return len(await request.body())
""")
    assert sidecar.call("z" * 100_000).json == 100_002
    nothing_left(sidecar)


def test_many_cancelled_large_requests_leave_nothing(serve):
    sidecar = serve(ECHO, concurrency=2)
    requests = []
    for index in range(300):
        request = sidecar.invoke("w" * 70_000, go=index % 3 > 0)
        if index % 2:
            request.cancel()
        elif index % 3 == 0:
            request.wait(READY)
            request.predict()
        requests.append(request)
    for request in requests:
        request.done()
    nothing_left(sidecar)


NONSENSE = {
    "unknown type": HEADER.pack(0, 77, 0, 0, 1),
    "too large": HEADER.pack(1 << 21, 2, 0, 0, 1),
    "short invoke": HEADER.pack(3, 2, 0, 0, 1) + b"abc",
    "missing operation": HEADER.pack(16, 2, 1, 0, 1) + struct.pack("<BBHqI", 3, 0, 0, 0, 0),
    "missing descriptor": HEADER.pack(16, 2, 0x81, 0, 1) + struct.pack("<BBHqI", 0, 0, 0, 0, 0),
    "second start": HEADER.pack(2, 1, 0, 0, 0) + b"{}",
    "short cancel": HEADER.pack(0, 4, 0, 0, 1),
    "text": b"GET / HTTP/1.1\r\n\r\n" * 3,
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_worker_that_reads_nonsense_ends(serve, name):
    sidecar = serve(ECHO)
    sidecar.send_raw(NONSENSE[name])
    assert sidecar.process.wait(PATIENCE) == 2
    for thread in sidecar._threads:
        thread.join(PATIENCE)
    assert any("broke the protocol" in line for line in sidecar.lines)


def test_an_id_that_is_in_use_is_nonsense(serve):
    sidecar = serve("class Model:\n    def predict(self, x):\n        wait('gate')\n")
    sidecar.gate("gate")
    sidecar.invoke().wait(STARTED)
    flags, payload = sidecar.invoke_frame(1)
    sidecar.send(INVOKE, 1, payload, b"1", flags=flags)
    assert sidecar.process.wait(PATIENCE) == 2


BUSY = {
    "sleeping": "wait('gate')",
    "computing": "while True: pass",
    "streaming": "while True: yield b'x' * 100",
}


@pytest.mark.parametrize("name", BUSY)
def test_end_of_file_ends_the_worker_whatever_it_does(serve, name):
    sidecar = serve(
        f"class Model:\n    def predict(self, x):\n        print('running')\n"
        f"        {BUSY[name]}\n"
    )
    sidecar.gate("gate")
    sidecar.invoke()
    sidecar.wait_line("running")
    sidecar.hang_up()
    assert sidecar.process.wait(PATIENCE) == 0


def test_end_of_file_while_the_model_loads(start):
    sidecar = start(
        "class Model:\n    def load(self):\n        print('loading')\n        wait('gate')\n"
        "    def predict(self, x): pass\n"
    )
    sidecar.gate("gate")
    sidecar.wait_line("loading")
    sidecar.hang_up()
    assert sidecar.process.wait(PATIENCE) == 0


def test_what_was_printed_last_is_not_lost(serve):
    sidecar = serve(
        "import sys\nclass Model:\n    def predict(self, x):\n"
        "        sys.stdout.write('no newline')\n        return 1\n"
    )
    sidecar.call()
    sidecar.hang_up()
    sidecar.process.wait(PATIENCE)
    for thread in sidecar._threads:
        thread.join(PATIENCE)
    assert "no newline" in sidecar.lines


SERVICE = ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2"]


@pytest.mark.parametrize("model", [ECHO, "class Model:\n    async def predict(self, x): return x\n"])
def test_what_is_meant_for_the_service_does_not_end_the_worker(serve, model):
    sidecar = serve(model)
    for name in SERVICE:
        sidecar.process.send_signal(getattr(signal, name))
        assert sidecar.call(name).json == name
    sidecar.hang_up()
    assert sidecar.process.wait(PATIENCE) == 0


CHILDREN = {
    "program": """
        child = subprocess.Popen(["/bin/sleep", "60"])
        end = child.wait""",
    "fork": """
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        end = lambda: child.join() or child.exitcode""",
}


@pytest.mark.parametrize("name", SERVICE)
@pytest.mark.parametrize("form", CHILDREN)
def test_processes_that_the_model_starts_have_the_default_signals(serve, form, name):
    sidecar = serve(f"""
import multiprocessing, os, signal, subprocess, time
def by_default(pid, number):
    with open(f"/proc/{{pid}}/status") as status:
        masks = [int(line.split()[1], 16) for line in status if line[:6] in ("SigIgn", "SigCgt")]
    return not any(mask >> number - 1 & 1 for mask in masks)
class Model:
    def predict(self, x):
        {CHILDREN[form].strip()}
        while not by_default(child.pid, signal.{name}): time.sleep(0.002)
        os.kill(child.pid, signal.{name})
        return end()
""")
    assert sidecar.call().json == -getattr(signal, name)


def test_a_forked_child_of_the_model_does_not_hold_the_socket(serve):
    sidecar = serve("""
import os
class Model:
    def predict(self, x):
        child = os.fork()
        if child == 0:
            say("forked")
            wait("gate")
            os._exit(0)
        return child
""")
    sidecar.gate("gate")
    child = sidecar.call().json
    try:
        sidecar.wait_line("forked")
        # Its descriptor is the worker's last argument. (An event loop has sockets of its own.)
        worker = sidecar.process
        assert os.readlink(f"/proc/{worker.pid}/fd/{worker.args[-1]}") not in links(child)
        sidecar.process.kill()
        sidecar.wait_for(lambda: sidecar._ended or None, "end of file")
    finally:
        sidecar.release("gate")


def test_usage():
    result = subprocess.run([sys.executable, str(PACKAGE)], capture_output=True, text=True)
    assert result.returncode == 2 and "usage" in result.stderr
