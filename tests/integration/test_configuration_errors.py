"""Configuration is strict, and says where it is wrong.

Promised: an unknown key, a duplicate key, a wrong unit, a value out of range, a reference to nothing is an
error "file:line:col: what was expected"; exit code 1, before any port is opened; `--mode validate` checks and
exits 0 or 1. The sidecar treats a model's config.yaml alike. An address at which another program listens is an error,
unless each of the two proxies says `reuse_port: true`.

Shown: each file below is right but for one thing; files that it names are told by name; the place of the fault is marked with ⟦⟧ right in
front of it, and the mark gives the expected line and column.
"""

import os
import re
import socket

import pytest
import yaml

from support.certificates import Certificates
from support.configs import proxy_config
from support.h2_client import H2Client
from support.models import EXAMPLES
from support.programs import SOURCE, Proxy, Sidecar, binary, run_to_end
from support.waiting import eventually

GOOD = """\
admin: { address: 127.0.0.1:0 }
listeners:
  - name: ingress
    address: 127.0.0.1:0
    routes:
      - { prefix: /, cluster: m }
clusters:
  - name: m
    concurrency_target: 2
    queue: { max_requests: 1000, max_bytes: 256MiB, timeout: 600s }
    replicas:
      static: [127.0.0.1:8090]
"""

FAULTS = {
    "unknown key at the top": ("admin:", "⟦⟧amdin: {}\nadmin:"),
    "unknown key in a listener": ("    routes:", "    ⟦⟧route: []\n    routes:"),
    "unknown key in a route": ("prefix: /,", "prefix: /, ⟦⟧timout: 3s,"),
    "unknown key in a cluster": ("    queue:", "    ⟦⟧concurrency: 3\n    queue:"),
    "unknown key in a queue": ("max_requests: 1000", "⟦⟧max_request: 1000"),
    "unknown replica source": ("static: [127", "⟦⟧statik: [127"),
    "duplicate key": ("    concurrency_target: 2",
                      "    concurrency_target: 2\n    ⟦⟧concurrency_target: 3"),
    "duplicate key at the top": ("clusters:\n", "⟦⟧admin: {}\nclusters:\n"),
    "missing unit of a duration": ("timeout: 600s", "timeout: ⟦⟧600"),
    "wrong unit of a duration": ("timeout: 600s", "timeout: ⟦⟧600MiB"),
    "negative duration": ("timeout: 600s", "timeout: ⟦⟧-5s"),
    "missing unit of a size": ("max_bytes: 256MiB", "max_bytes: ⟦⟧256"),
    "wrong unit of a size": ("max_bytes: 256MiB", "max_bytes: ⟦⟧256s"),
    "zero target": ("concurrency_target: 2", "concurrency_target: ⟦⟧0"),
    "negative target": ("concurrency_target: 2", "concurrency_target: ⟦⟧-1"),
    "target that is no number": ("concurrency_target: 2", "concurrency_target: ⟦⟧two"),
    "target that is no whole number": ("concurrency_target: 2", "concurrency_target: ⟦⟧2.5"),
    "target not finite": ("concurrency_target: 2", "concurrency_target: ⟦⟧.nan"),
    "octal lookalike": ("concurrency_target: 2", "concurrency_target: ⟦⟧010"),
    "target far too large": ("concurrency_target: 2", "concurrency_target: ⟦⟧99999999999999999999"),
    "a list where a map belongs": ("queue: { max_requests: 1000, max_bytes: 256MiB, timeout: 600s }",
                                   "queue: ⟦⟧[1, 2]"),
    "a value where a list belongs": ("static: [127.0.0.1:8090]", "static: ⟦⟧127.0.0.1:8090"),
    "address without a port": ("static: [127.0.0.1:8090]", "static: [⟦⟧127.0.0.1]"),
    "address with a port too high": ("static: [127.0.0.1:8090]", "static: [⟦⟧127.0.0.1:99999]"),
    "listener's address is none": ("    address: 127.0.0.1:0", "    address: ⟦⟧nowhere"),
    "a route to no cluster": ("cluster: m }", "cluster: ⟦⟧n }"),
    "an unknown protocol": ("    queue:", "    protocol: ⟦⟧spdy\n    queue:"),
    "an unknown log format": ("listeners:", "access_log: { format: ⟦⟧xml }\nlisteners:"),
    "an unknown on_client_gone": ("    queue:", "    on_client_gone: ⟦⟧panic\n    queue:"),
    "utilization over 100": ("    queue:", "    autoscaling: { target_utilization: ⟦⟧170 }\n    queue:"),
    "prefix without a slash": ("prefix: /,", "prefix: ⟦⟧api,"),
    "a certificate without its key": (
        "    routes:", "    tls: ⟦⟧{ certificate: a.crt }\n    routes:"),
    "not a boolean": ("prefix: /,", "prefix: /, idempotent: ⟦⟧maybe,"),
}
# Where the place of the fault is a matter of taste, only file and line:column in general are checked.
ANYWHERE = {
    "no name of a listener": ("- name: ingress\n    address", "- address"),
    "no cluster at a route": ("prefix: /, cluster: m", "prefix: /"),
    "no replicas": ("    replicas:\n      static: [127.0.0.1:8090]\n", ""),
    "two sources of replicas": ("static: [127.0.0.1:8090]",
                                "static: [127.0.0.1:8090]\n      process: { command: [x] }"),
    "min over max replicas": ("    queue:",
                              "    autoscaling: { min_replicas: 3, max_replicas: 1 }\n    queue:"),
    "no YAML at all": ("listeners:\n", "listeners: [}\n"),
    "two clusters of one name": ("clusters:\n", "clusters:\n  - name: m\n    replicas: "
                                 "{ static: [127.0.0.1:1] }\n"),
}

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))


def validate(tmp_path, text):
    file = tmp_path / "proxy.yaml"
    file.write_text(text, encoding="utf-8")
    code, _, errors = run_to_end([binary("penstock-proxy"), "-c", file, "--mode", "validate"])
    return file, code, errors


def change(old, new):
    assert GOOD.count(old) == 1, old
    return GOOD.replace(old, new)


def marked(text):
    before, mark, after = text.partition("⟦⟧")
    assert mark
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return before + after, line, column


def test_a_good_file_passes(tmp_path):
    _, code, errors = validate(tmp_path, GOOD)
    assert code == 0, errors


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_named_with_file_line_and_column(tmp_path, fault):
    text, line, column = marked(change(*FAULTS[fault]))
    file, code, errors = validate(tmp_path, text)
    assert code == 1, errors
    assert f"{file}:{line}:{column}: " in errors, f"expected {line}:{column} in {errors}"


@pytest.mark.parametrize("fault", ANYWHERE)
def test_the_fault_is_named_with_some_line_and_column(tmp_path, fault):
    file, code, errors = validate(tmp_path, change(*ANYWHERE[fault]))
    assert code == 1, errors
    assert re.search(re.escape(str(file)) + r":\d+:\d+: \S", errors), errors


def test_every_fault_of_a_file_is_no_crash_but_an_error_message(tmp_path):
    for text in ("", "[]", "just text", "~", BOMB + GOOD, "\t", "\0", "clusters: *nothing\n"):
        _, code, errors = validate(tmp_path, text)
        assert code == 1 and errors, repr(text[:40])


def test_a_missing_file_is_named():
    code, _, errors = run_to_end([binary("penstock-proxy"), "-c", "/nowhere/at/all.yaml"])
    assert code == 1 and "/nowhere/at/all.yaml" in errors


def test_serving_with_a_faulty_file_opens_no_port(tmp_path):
    file = tmp_path / "proxy.yaml"
    file.write_text(change("cluster: m }", "cluster: n }"), encoding="utf-8")
    code, _, errors = run_to_end([binary("penstock-proxy"), "-c", file])
    assert code == 1 and f"{file}:6:" in errors
    assert "listening" not in errors


def test_an_address_in_use_is_an_error_not_a_crash(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        file = tmp_path / "proxy.yaml"
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        file.write_text(change("    address: 127.0.0.1:0", f"    address: {address}"), "utf-8")
        code, _, errors = run_to_end([binary("penstock-proxy"), "-c", file])
    assert code == 1 and address in errors


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("place", ["the listener", "the listener, by another name", "admin"])
def test_a_second_proxy_at_the_same_address_does_not_start(replica, workers, place):
    fake = replica()
    first = Proxy(proxy_config([fake]), workers)
    taken = first.admin if place == "admin" else first.address
    address = ("0.0.0.0:%d" % taken[1]) if "another name" in place else "%s:%d" % taken
    config = proxy_config([fake])
    (config["admin"] if place == "admin" else config["listeners"][0])["address"] = address
    for _ in range(3):
        second = Proxy(config, workers, ready=False)
        assert second.wait() == 1
        error = second.wait_log("cannot start")["error"]
        assert address in error and "another program listens there" in error
        assert ("reuse_port: true" in error) == (place != "admin"), "what to do if it is meant"
    with H2Client(first.address) as client:
        stream = client.request()
        fake.request(0).respond()
        assert stream.response().status == 200


def test_a_second_sidecar_at_the_same_address_does_not_start():
    first = Sidecar(EXAMPLES / "stages")
    code, _, errors = run_to_end([binary("penstock-sidecar"), "--model", EXAMPLES / "stages",
                                  "--listen", first.text_address])
    assert code == 1 and first.text_address in errors and "another program listens there" in errors


def test_proxies_share_an_address_if_each_says_so(replica):
    fake = replica(handler=lambda request: request.respond())
    first = Proxy(proxy_config([fake], listener={"reuse_port": True}), 2)
    at = {"address": "%s:%d" % first.address, "reuse_port": True}
    second = Proxy(proxy_config([fake], listener=at), 2)

    def served(proxy):
        return proxy.metric("penstock_listener_connections_total", listener="ingress")

    def both():
        with H2Client(first.address) as client:
            assert client.fetch("GET", "/").status == 200
        return served(first) and served(second)
    eventually(both, "the kernel gives connections to both")


@pytest.mark.parametrize("file", sorted((SOURCE / "configs").glob("*.yaml")),
                         ids=lambda file: file.name)
def test_the_configurations_in_the_tree_are_valid(file, named_files):
    code, _, errors = run_to_end([os.path.abspath(binary("penstock-proxy")), "-c", file, "--mode", "validate"],
                                 cwd=named_files)
    assert code == 0, errors


@pytest.fixture(scope="module")
def named_files(tmp_path_factory):
    """A folder with the files that the configurations in the tree name."""
    folder = tmp_path_factory.mktemp("named")
    certificates = Certificates(folder)
    for name in ("clients-ca.crt", "replicas-ca.crt"):
        (folder / name).write_bytes((folder / "ca.crt").read_bytes())
    (folder / "admin.token").write_text("0123456789abcdef\n")
    assert certificates["server.key"]
    return folder


FILES = {
    "certificate": ("tls: { certificate: nope.crt, private_key: server.key }", "listener", "nope.crt", "No such file"),
    "key": ("tls: { certificate: server.crt, private_key: nope.key }", "listener", "nope.key", "No such file"),
    "not a key": ("tls: { certificate: server.crt, private_key: server.crt }", "listener", "server.crt", ""),
    "another's key": ("tls: { certificate: server.crt, private_key: client.key }", "listener", "client.key",
                      "key values mismatch"),
    "clients' CA": ("tls: { certificate: server.crt, private_key: server.key, client_ca: nope.crt }", "listener",
                    "nope.crt", "No such file"),
    "replicas' CA": ("tls: { ca: nope.crt, server_name: x }", "cluster", "nope.crt", ""),
    "token": ("token_file: nope.token", "admin", "nope.token", "No such file"),
}


@pytest.mark.parametrize("mode", ["validate", "serve"])
@pytest.mark.parametrize("what", FILES)
def test_a_file_that_cannot_be_used_is_named(tmp_path, named_files, mode, what):
    written, owner, name, why = FILES[what]
    config = yaml.safe_load(GOOD)
    place = {"listener": config["listeners"][0], "cluster": config["clusters"][0],
             "admin": config.setdefault("admin", {"address": "127.0.0.1:0"})}[owner]
    place |= yaml.safe_load(written)
    file = tmp_path / "proxy.yaml"
    file.write_text(yaml.safe_dump(config))
    code, _, errors = run_to_end([os.path.abspath(binary("penstock-proxy")), "-c", file, "--mode", mode],
                                 cwd=named_files)
    assert code == 1 and owner in errors and name in errors and why in errors, errors



MODEL_FAULTS = {
    "predict_concurrency at the top": "⟦⟧predict_concurrency: 2\n",
    "predict_concurrency of 0": "runtime: { predict_concurrency: ⟦⟧0 }\n",
    "predict_concurrency that is no number": "runtime: { predict_concurrency: ⟦⟧many }\n",
    "unknown key of ours": "penstock: { library: libx.so, ⟦⟧libary: y.so }\n",
    "duplicate key": "model_name: a\n⟦⟧model_name: b\n",
}


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_a_models_fault_is_named_with_file_line_and_column(tmp_path, fault):
    text, line, column = marked(MODEL_FAULTS[fault])
    if "penstock:" not in text:
        text += "penstock: { library: libstages.so }\n"
    if "model_name" not in text:
        text += "model_name: x\n"
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    code, _, errors = run_to_end(
        [binary("penstock-sidecar"), "--model", tmp_path, "--listen", "127.0.0.1:0"])
    assert code == 1, errors
    assert f"config.yaml:{line}:{column}: " in errors, f"expected {line}:{column} in {errors}"


def test_a_model_that_cannot_be_loaded_ends_the_sidecar_and_says_why(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "model_name: x\npenstock: { library: libnowhere.so }\n", encoding="utf-8")
    code, _, errors = run_to_end(
        [binary("penstock-sidecar"), "--model", tmp_path, "--listen", "127.0.0.1:0"])
    assert code == 1 and "libnowhere.so" in errors
    code, _, errors = run_to_end(
        [binary("penstock-sidecar"), "--model", tmp_path / "none", "--listen", "127.0.0.1:0"])
    assert code == 1 and "none" in errors


@pytest.mark.parametrize("program", ["penstock-proxy", "penstock-sidecar"])
def test_help_version_and_bad_arguments(program):
    code, output, _ = run_to_end([binary(program), "--help"])
    assert code == 0 and "--log-level" in output or "--listen" in output
    code, output, _ = run_to_end([binary(program), "--version"])
    assert code == 0 and re.search(r"\d+\.\d+\.\d+", output)
    needed = {"penstock-proxy": ["-c", "x"], "penstock-sidecar": ["--model", ".", "--listen", "x"]}
    code, _, errors = run_to_end([binary(program), *needed[program], "--no-such-option"])
    assert code != 0 and "no-such-option" in errors
