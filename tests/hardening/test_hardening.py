"""What is hardened in a release build.

Promised: programs and model libraries are built with a stack protector, checked library functions and containers, probes of
large stack frames, marked targets of indirect branches, tables that are read-only from the start on, and at addresses
that change with each start.

Shown: a configuration of the release preset, whose build commands all have the flags; a program built by it, which is
stopped at each kind of mistake and whose file says the rest; and the programs at hand, where they are of an optimized
build.
"""

import json
import os
import platform
import re
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("PENSTOCK_BIN_DIR", ROOT / "build" / "debug" / "bin"))
RELEASE = BIN.parent / "hardening"
FLAGS = ["-fstack-protector-strong", "-fstack-clash-protection", "-D_FORTIFY_SOURCE=3", "-D_GLIBCXX_ASSERTIONS"]
X86 = platform.machine() == "x86_64"
if X86:
    FLAGS.append("-fcf-protection=full")


def output(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True,
                          env=os.environ | {"LC_ALL": "C"}).stdout


@pytest.fixture(scope="module")
def release():
    output("cmake", "--preset", "release", "-S", ROOT, "-B", RELEASE, "-DPENSTOCK_CUDA=OFF")
    return RELEASE


@pytest.fixture(scope="module")
def probe(release):
    output("cmake", "--build", release, "--target", "hardening_probe")
    return release / "bin" / "hardening_probe"


def test_every_source_is_compiled_with_the_flags(release):
    commands = json.loads((release / "compile_commands.json").read_text())
    assert len(commands) > 100
    for each in commands:
        missing = [flag for flag in FLAGS if flag not in each["command"].split()]
        assert not missing, f"{each['file']}: {missing}"
        assert "-fPI" in each["command"], each["file"]


def test_every_program_and_library_is_linked_with_the_flags(release):
    links = re.findall(r"^build (\S+): CXX_(EXECUTABLE|MODULE_LIBRARY|SHARED_LIBRARY)_LINKER(.*?)\n\n",
                       (release / "build.ninja").read_text(), re.M | re.S)
    assert len(links) > 5
    for name, kind, rule in links:
        for flag in ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"):
            assert flag in rule, name
        assert kind != "EXECUTABLE" or "-pie" in rule, name


@pytest.mark.parametrize("mistake, said", [
    ("library", "buffer overflow detected"), ("hand", "stack smashing detected"),
    ("container", "Assertion '__n < this->size()' failed")])
def test_a_mistake_in_memory_ends_the_program(probe, mistake, said):
    ended = subprocess.run([probe, mistake], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGABRT, ended
    assert said in ended.stderr, ended.stderr


def test_large_frames_are_probed_and_branch_targets_marked(probe):
    if not X86:
        pytest.skip("told from x86's instructions")
    code = output("objdump", "-d", "--no-show-raw-insn", "-C", probe)
    functions = dict(re.findall(r"^[0-9a-f]+ <([^>]+)>:\n(.*?)\n\n", code + "\n\n", re.M | re.S))
    frame = next(body for name, body in functions.items() if "largeFrame" in name)
    assert re.search(r"or\w*\s+\$0x0,\(%rsp\)", frame), frame
    assert "endbr64" in functions["main"].splitlines()[0], functions["main"]


def file_problems(file, is_program):
    segments, dynamic = output("readelf", "-Wl", file), output("readelf", "-Wd", file)
    if "GNU_RELRO" not in segments or not re.search(r"FLAGS_1.*NOW|BIND_NOW", dynamic):
        yield "its tables can be written while it runs"
    stack = re.search(r"GNU_STACK\s.*?\s([R ][W ][E ])\s", segments)
    if not stack or "E" in stack[1]:
        yield "its stack can be executed"
    if "TEXTREL" in dynamic:
        yield "its code is changed when it is loaded"
    if re.search(r"LOAD.*\sRWE\s", segments):
        yield "a segment can be written and executed"
    if is_program and not re.search(r"FLAGS_1.*PIE", dynamic):
        yield "it is always at the same address"


def test_the_probes_file_says_the_rest(probe):
    assert not list(file_problems(probe, True))


def programs():
    cache = (BIN.parent / "CMakeCache.txt").read_text() if (BIN.parent / "CMakeCache.txt").exists() else ""
    if not re.search(r"^CMAKE_BUILD_TYPE:\w+=Release$", cache, re.M):
        return []
    return [file for file in BIN.iterdir() if file.name.startswith("penstock-")] \
        + list(BIN.glob("*.so"))


@pytest.mark.parametrize("file", programs(), ids=lambda file: file.name)
def test_a_program_is_hardened(file):
    assert not list(file_problems(file, not file.name.endswith(".so")))
    if file.name in ("penstock-proxy", "penstock-sidecar"):  # the guard has no containers to check
        symbols = output("readelf", "-Ws", "--dyn-syms", file)
        for imported in ("__stack_chk_fail", r"__\w+_chk@", "__glibcxx_assert_fail"):
            assert re.search(imported, symbols), imported
