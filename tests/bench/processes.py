"""Programs of the benchmark: started on loopback, measured from /proc, ended by their process id."""

import atexit
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, program, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        program.check_running()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{program.name} does not listen on port {port}")


class Program:
    """A running program with its children. Whatever was not stopped is stopped at exit."""

    running = []

    def __init__(self, name, arguments, folder):
        self.name = name
        self.log = pathlib.Path(folder) / f"{name}.log"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        Program.running.append(self)

    def check_running(self):
        if self.process.poll() is not None:
            raise RuntimeError(
                f"{self.name} ended with {self.process.returncode}:\n"
                + "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]))

    def pids(self):
        """The program's own process and everything below it."""
        found = [self.process.pid]
        for pid in found:
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    found.extend(int(child) for child in task.read_text().split())
                except OSError:
                    pass
        return found

    def cpu_seconds(self):
        """User and system time of all threads of all its processes, to the nanosecond if told."""
        return sum(self._cpu_seconds_of(pid) for pid in self.pids())

    @staticmethod
    def _cpu_seconds_of(pid):
        try:
            tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
            nanoseconds = [int(task.read_text().split()[0]) for task in tasks]
            if nanoseconds:
                return sum(nanoseconds) / 1e9
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
        except OSError:
            return 0.0

    def rss_bytes(self):
        total = 0
        for pid in self.pids():
            try:
                total += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
            except OSError:
                pass
        return total

    def stop(self):
        if self in Program.running:
            Program.running.remove(self)
        children = self.pids()[1:]
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def stop_everything():
    for program in list(Program.running):
        program.stop()


atexit.register(stop_everything)
