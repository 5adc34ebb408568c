#!/usr/bin/python3
"""Enforces which folder may include what: our own folders, and each foreign library.

What is promised: every #include in the tree is allowed by the tables below, which say the same as
"Map of folders" in ARCHITECTURE.md. An include of a library that no table knows is an error too, so
that a new dependency is a decision and not an accident.

usage: check_layers.py [ROOT]
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SOURCE_SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
SKIPPED_FOLDERS = {"build", ".git", "__pycache__"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')

# Folder -> the folders of ours it may include. The longest matching key holds.
OWN_INCLUDES = {
    "base": ["base"],
    "net": ["base", "net"],
    "model_runtime": ["base", "model_runtime"],
    "model_runtime/python": ["base", "net", "model_runtime"],
    "proxy": ["base", "net", "proxy"],
    "sidecar": ["base", "net", "model_runtime", "sidecar"],
    "simulator": ["base", "proxy", "simulator"],
    "examples": ["base", "model_runtime", "examples"],
    "tests": ["base", "net", "model_runtime", "proxy", "sidecar", "simulator", "examples", "tests"],
}

# Inside a folder: (files under this, must not include anything under this, because).
FORBIDDEN = [
    ("net", "net/http", "transports know nothing of HTTP"),
    ("model_runtime", "net/http", "the runtime knows no HTTP"),
    ("proxy/cluster", "proxy/http", "the cluster knows no HTTP"),
    ("proxy/cluster", "proxy/filters", "the cluster knows no filters"),
    ("proxy/scaling", "proxy/http", "scaling knows no HTTP"),
    ("proxy/scaling", "proxy/filters", "scaling knows no filters"),
    ("proxy/http", "proxy/filters", "the chain does not know which filters there are"),
    ("proxy/upstream", "proxy/filters", "a pool knows no filters"),
    ("proxy/admin", "proxy/filters", "the admin server knows no filters"),
    ("simulator", "proxy/http", "the simulator runs the queue and the scaling rule only"),
    ("simulator", "proxy/filters", "the simulator runs the queue and the scaling rule only"),
    ("simulator", "proxy/upstream", "the simulator runs the queue and the scaling rule only"),
    ("simulator", "proxy/admin", "the simulator runs the queue and the scaling rule only"),
]
# The part of "net" that the first row is not about.
EXCEPT = {("net", "net/http"): "net/http"}


@dataclass(frozen=True)
class Library:
    name: str
    pattern: str  # of the included path
    allowed: tuple  # glob patterns of including files
    most_files: int = 0  # 0: any number


LIBRARIES = [
    Library("libevent", r"event2/|event\.h$", ("net/*.cc",)),
    Library("c-ares", r"ares\.h$", ("net/dns/*.cc",)),
    Library("OpenSSL", r"openssl/", ("net/*.cc",)),
    Library("nghttp2", r"nghttp2/", ("net/http/*.cc", "net/http/http2_*.h")),
    Library("Boost", r"boost/", ("net/http/*.cc",)),
    Library("yaml-cpp", r"yaml-cpp/", ("base/*.cc",), most_files=1),
    Library("spdlog", r"spdlog/", ("base/*.cc",), most_files=1),
    Library("prometheus-cpp", r"prometheus/", ("base/*.cc",), most_files=1),
    Library("fmt", r"fmt/", ("**/*.cc", "**/*.h")),
    Library("CLI11", r"CLI/", ("proxy/main.cc", "sidecar/main.cc", "simulator/options.cc")),
    Library(
        "nlohmann-json",
        r"nlohmann/",
        (
            "proxy/admin/*.cc",
            "proxy/config/*.cc",
            "net/process/*.cc",
            "model_runtime/python/*.cc",
            "base/load_report/*.cc",
        ),
    ),
    # Of each .proto, in the one file that wraps what is generated from it.
    Library(
        "protobuf",
        r"google/protobuf/|.*\.pb\.h$",
        ("base/load_report/load_report_message.cc", "proxy/scaling/external_scaler.cc"),
    ),
    Library("simdjson", r"simdjson", ("examples/**/*.cc", "sidecar/*.cc")),
    Library("dlopen", r"dlfcn\.h$", ("model_runtime/native/*.cc", "model_runtime/cuda/nvml.cc")),
    Library("CUDA", r"cuda|cub/|thrust/|nv", ("model_runtime/cuda/*", "examples/**/*.cu*", "tests/gpu/*.cu*",
                                           "tests/model_runtime/cuda/*")),
    Library("libpng", r"png\.h$", ("examples/denoise/*.cc",)),
    Library("libjpeg", r"jpeglib\.h$|jerror\.h$", ("examples/denoise/*.cc",)),
    Library("GoogleTest", r"gtest/|gmock/", ("tests/**/*.cc", "tests/**/*.h")),
    Library("Google Benchmark", r"benchmark/", ("tests/bench/*.cc",)),
]
# Tests may look at a layer from outside with that layer's own library.
TESTS_MAY_USE = {
    "libevent", "OpenSSL", "nghttp2", "nlohmann-json", "protobuf", "simdjson", "libpng", "libjpeg"
}

# The standard library's headers have no slash and no dot; these are the operating system's.
SYSTEM = re.compile(
    r"^[a-z0-9_]+$|^(sys|netinet|arpa|linux|net)/[a-z0-9_]+\.h$|^(unistd|fcntl|poll|signal|pthread|"
    r"spawn|netdb|sched|dirent|getopt|endian|byteswap|features|limits|stdint|stddef|stdio|ifaddrs|"
    r"malloc|time|errno|string|immintrin|emmintrin|arm_neon|setjmp|ucontext)\.h$"
)


def under(path, folder):
    return path == folder or path.startswith(folder + "/")


def folder_of(path):
    return path.split("/", 1)[0]


def matches(path, pattern):
    # PurePath.match has no "**" before Python 3.13.
    expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
    return re.fullmatch(expression, path) is not None


def check_own(path, included):
    """Says what is wrong with including one of our own headers, or None."""
    folders = [folder for folder in OWN_INCLUDES if under(path, folder)]
    allowed = OWN_INCLUDES[max(folders, key=len)] if folders else None
    if allowed is None:
        return f"no rule for folder {folder_of(path)}/"
    if folder_of(included) not in allowed:
        return f"{folder_of(path)}/ may include {', '.join(allowed)} only"
    for files, forbidden, because in FORBIDDEN:
        exempt = EXCEPT.get((files, forbidden))
        if exempt is not None and under(path, exempt):
            continue
        if under(path, files) and under(included, forbidden):
            return because
    return check_filters(path, included)


def check_filters(path, included):
    """A filter's folder is known to itself, the composition root, and the configuration."""
    filter_of = re.match(r"proxy/filters/([^/]+)/", included)
    if filter_of is None or not under(path, "proxy"):
        return None
    own = re.match(r"proxy/filters/([^/]+)/", path)
    if own is not None:
        same = own.group(1) == filter_of.group(1)
        return None if same else "a filter never includes another filter"
    if PurePosixPath(path).parent.as_posix() in ("proxy", "proxy/config", "proxy/filters"):
        return None
    return "only the composition root and the configuration know the filters"


def check_foreign(path, included, users):
    """Says what is wrong with including a foreign header, or None; notes who uses which library."""
    for library in LIBRARIES:
        if re.match(library.pattern, included) is None:
            continue
        if under(path, "tests") and library.name in TESTS_MAY_USE:
            return None
        if not any(matches(path, pattern) for pattern in library.allowed):
            return f"{library.name} is for {', '.join(library.allowed)} only"
        users.setdefault(library.name, set()).add(path)
        return None
    if SYSTEM.match(included):
        return None
    return "a library that tests/check_layers does not know: add it to its table, with where it may be"


def source_files(root):
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if not SKIPPED_FOLDERS.intersection(relative.parts) and path.suffix in SOURCE_SUFFIXES:
            yield relative.as_posix(), path


def check(root):
    """All violations under root, as "file:line: include: reason"."""
    problems = []
    users = {}
    for relative, path in source_files(root):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            include = INCLUDE.match(line)
            if include is None:
                continue
            included = include.group(2)
            own = include.group(1) == '"' and not included.endswith(".pb.h")
            reason = (
                check_own(relative, included) if own else check_foreign(relative, included, users)
            )
            if reason is not None:
                problems.append(f"{relative}:{number}: {included}: {reason}")
    for library in LIBRARIES:
        files = users.get(library.name, set())
        if library.most_files and len(files) > library.most_files:
            problems.append(
                f"{library.name} belongs in {library.most_files} file, "
                f"but is included by {', '.join(sorted(files))}"
            )
    return problems


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    problems = check(root)
    for problem in problems:
        print(problem)
    files = sum(1 for _ in source_files(root))
    print(f"{files} files, {len(problems)} includes out of place")
    return 1 if problems or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
