"""The access log, one line per request, in Envoy's default format or as JSON.

Promised: every exchange leaves one line with status, bytes, duration, the time waited, the replica, the
attempts and the reason; what a client sends cannot forge or break a line; "none" writes nothing.

Shown: requests of each kind of outcome, and the lines that they left.
"""

import json
import re
import socket
import struct

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import eventually, patience, settled

DEFAULT = re.compile(
    r'^\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "(?P<method>\S+) (?P<path>\S+) (?P<protocol>\S+)" '
    r'(?P<status>\d+) (?P<flags>\S+) (?P<received>\d+) (?P<sent>\d+) (?P<duration>\d+) '
    r'(?P<service>\d+|-) "(?P<forwarded>[^"]*)" "(?P<agent>(?:[^"\\]|\\.)*)" "(?P<id>[^"]*)" '
    r'"(?P<authority>[^"]*)" "(?P<upstream>[^"]*)".* client=(?P<client>\S+)$')


@pytest.fixture
def logged(replica, tmp_path):
    """(proxy, replica, lines()) with the log in a file."""
    path = tmp_path / "access.log"

    def make(form, protocol="both", threaded=False, **options):
        fake = replica(protocol, threaded=threaded)
        proxy = Proxy(proxy_config([fake], access_log={"path": str(path), "format": form}, **options))

        def lines(count):
            eventually(lambda: path.exists() and path.read_bytes().count(b"\n") >= count,
                       f"{count} lines in the access log")
            found = path.read_text(encoding="utf-8").splitlines()
            assert len(found) == count
            return found
        return proxy, fake, lines
    return make


def test_the_default_format_is_envoys(logged):
    proxy, fake, lines = logged("default")
    fake.handler = lambda request: request.respond(body=b"12345")
    with H2Client(proxy.address) as client:
        client.fetch("POST", "/a?b", [("user-agent", "agent/1"), ("x-request-id", "id-1")], b"123")
    with H1Client(proxy.address) as client:
        client.fetch("GET", "/c", [("user-agent", 'quo"te')], host="h.example")
    first, second = (DEFAULT.match(line) for line in lines(2))
    assert first and second, lines(2)
    assert first["method"] == "POST" and first["path"] == "/a?b" and first["protocol"] == "HTTP/2"
    assert (first["status"], first["received"], first["sent"]) == ("200", "3", "5")
    assert (first["agent"], first["id"], first["upstream"]) == ("agent/1", "id-1", fake.address)
    assert second["protocol"] == "HTTP/1.1" and second["authority"] == "h.example"
    assert first["client"].startswith("127.0.0.1:") and second["client"].startswith("127.0.0.1:")


def test_the_default_format_tells_the_client_of_a_request_without_a_route(logged):
    proxy, _, lines = logged("default", route={"prefix": "/v1"})
    with H1Client(proxy.address) as client:
        assert client.fetch("GET", "/none", [("x-forwarded-for", "192.0.2.7")]).status == 404
        port = client.sock.getsockname()[1]
    line = DEFAULT.match(lines(1)[0])
    assert (line["flags"], line["client"]) == ("not_found", f"127.0.0.1:{port}")


def test_json_tells_waiting_replica_attempts_and_reason(logged):
    proxy, fake, lines = logged("json", queue={"max_requests": 1})
    with H2Client(proxy.address) as client:
        running = client.request("POST", "/first", [("x-request-id", "r1")], b"abc")
        fake.wait_count(1)
        waiter = client.request("POST", "/second", [("x-request-id", "r2")])
        proxy.wait_queue(waiting=1, in_flight=1)
        eventually(lambda: proxy.cluster()["oldest_wait_seconds"] > 0.1)
        assert client.fetch("POST", "/third", [("x-request-id", "r3")]).status == 429
        fake.request(0).refuse()
        fake.request(1).respond(body=b"hello")
        fake.request(2).respond(500)
        running.response()
        waiter.response()
    found = {entry["request_id"]: entry for entry in map(json.loads, lines(3))}
    assert set(found) == {"r1", "r2", "r3"}
    first, second, third = found["r1"], found["r2"], found["r3"]
    assert first["method"] == "POST" and first["path"] == "/first"
    assert (first["status"], first["attempts"], first["reason"]) == (200, 2, "none")
    assert first["replica"] == second["replica"] == fake.address
    assert (first["bytes_received"], first["bytes_sent"]) == (3, 5)
    assert second["status"] == 500
    waited = [value for key, value in second.items() if "wait" in key]
    assert waited and float(waited[0]) > 0
    assert (third["status"], third["reason"], third["attempts"]) == (429, "queue_full", 0)


def test_clients_that_leave_are_logged_as_499(logged):
    proxy, fake, lines = logged("json")
    with H2Client(proxy.address) as client:
        stream = client.request()
        fake.wait_count(1)
        stream.reset()
        entry = json.loads(lines(1)[0])  # before the answer, which could overtake the reset
        fake.request(0).respond()
    assert (entry["status"], entry["reason"]) == (499, "client_gone")


@pytest.mark.parametrize("protocol, reason", [("h2", "replica_stream_failed"),
                                              ("h1", "replica_connection_lost")])
def test_a_broken_answer_is_logged_as_what_its_client_was_told(logged, protocol, reason):
    proxy, fake, lines = logged("json", protocol=protocol)
    with H2Client(proxy.address) as client:
        stream = client.request()
        fake.request(0).start(200)
        fake.request(0).send(b"half")
        stream.data(4)
        if protocol == "h2":
            fake.request(0).reset(2)
        else:
            fake.request(0).die()
        assert not stream.end() or not stream.complete
    entry = json.loads(lines(1)[0])
    assert (entry["status"], entry["reason"], entry["bytes_sent"]) == (200, reason, 4)


@pytest.mark.parametrize("upstream", ["h1", "h2"])
def test_what_was_buffered_for_a_client_that_leaves_was_not_sent(logged, upstream):
    proxy, fake, lines = logged("json", protocol=upstream, route={"response_buffer": "24MiB"},
                                cluster={"on_client_gone": "reset"}, threaded=True)
    fake.handler = lambda request: request.respond(body=b"z" * (32 << 20))
    buffered = lambda: proxy.metric("penstock_buffered_bytes")  # noqa: E731
    with H2Client(proxy.address, auto_window=False) as client:
        stream = client.request(path="/h2")
        eventually(lambda: buffered() > 20 << 20, "the response's buffer is full")
        received = settled(lambda: len(stream.answer.body))
        stream.reset()
        assert json.loads(lines(1)[0])["bytes_sent"] == received
    eventually(lambda: buffered() == 0)
    with H1Client(proxy.address, receive_buffer=4096) as client:
        client.request(path="/h1")
        eventually(lambda: buffered() > 20 << 20, "the response's buffer is full")
    entry = json.loads(lines(2)[1])
    # The kernel takes a few megabytes that the client never reads.
    with open("/proc/sys/net/ipv4/tcp_wmem", encoding="ascii") as limits:
        most = int(limits.read().split()[2])
    assert 0 < entry["bytes_sent"] <= 2 * most < 20 << 20, entry


UNREADABLE = {
    "bad chunk": (b"3\r\nabc\r\nzz\r\n", 400, "bad_request"),
    "forbidden trailer": (b"3\r\nabc\r\n0\r\nhost: y\r\n\r\n", 400, "bad_request"),
    "too many chunks": (b"1\r\na\r\n" * 12, 400, "bad_request"),
    "too large a trailer": (b"3\r\nabc\r\n0\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", 431,
                            "headers_too_large"),
    "too slow": (b"3\r\nab", 408, "request_timeout"),
}


def outcomes(proxy):
    return (proxy.metric("penstock_cluster_requests_total") or 0) + (
        proxy.metric("penstock_listener_rejected_total") or 0)


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_request_that_becomes_unreadable_is_one_line_one_count_one_id(logged, name):
    sent, status, reason = UNREADABLE[name]
    proxy, fake, lines = logged("json", listener={"body_idle_timeout": "300ms", "max_chunks": 10})
    fake.handler = lambda request: request.respond()
    with H1Client(proxy.address) as client:
        client.begin("POST", "/bad", [("transfer-encoding", "chunked"), ("x-request-id", "mine")])
        client.send(sent)
        answer = client.response()
        assert (answer.status, answer.reason) == (status, reason)
        assert answer.header("x-request-id") == "mine" and answer.closed
        client.wait_closed()
    with H1Client(proxy.address) as client:
        client.fetch("GET", "/control")
    bad, control = map(json.loads, lines(2))
    assert (bad["path"], bad["status"], bad["reason"], bad["request_id"]) == (
        "/bad", status, reason, "mine")
    assert control["path"] == "/control"
    assert outcomes(proxy) == 2


@pytest.mark.parametrize("grpc", [False, True], ids=["plain", "grpc"])
@pytest.mark.parametrize("kind", ["too slow", "bad trailer", "bad head"])
def test_and_so_is_one_over_http2(logged, kind, grpc):
    patient = "300ms" if kind == "too slow" else "60s"
    proxy, fake, lines = logged("json", listener={"body_idle_timeout": patient},
                                route={"stream_idle_timeout": patient})
    headers = [("content-type", "application/grpc")] if grpc else []
    with H2Client(proxy.address) as client:
        if kind == "bad head":
            answer = client.fetch(path="/bad#", headers=headers)
        else:
            stream = client.request(path="/bad", headers=headers + [("x-request-id", "mine")],
                                    body=b"ab", end=False)
            if kind == "bad trailer":
                stream.trailers([("x", "y" * 70_000)])
            answer = stream.end()
        reason = {"too slow": "request_timeout", "bad trailer": "headers_too_large",
                  "bad head": "bad_request"}[kind]
        status = {"too slow": 408, "bad trailer": 431, "bad head": 400}[kind]
        assert answer.reason == reason
        if grpc:
            assert answer.status == 200 and answer.header("grpc-status")
        else:
            assert answer.status == status
        fake.handler = lambda request: request.respond()
        with H2Client(proxy.address) as other:
            other.fetch(path="/control")
    bad, control = map(json.loads, lines(2))
    assert (bad["status"], bad["reason"]) == (200 if grpc else status, reason)
    assert bad["request_id"] == answer.header("x-request-id")
    assert control["path"] == "/control"
    assert outcomes(proxy) == 2


HEADERS, SETTINGS, DATA = 1, 4, 0


def h2_frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


# From a client that has said nothing else.
NO_HTTP2 = {"an unknown entry of the table": h2_frame(HEADERS, 5, 1, b"\xff\xff\xff\x0f"),
            "a request on stream 0": h2_frame(HEADERS, 5, 0, b"\x82\x84\x86"),
            "a request on an even stream": h2_frame(HEADERS, 5, 2, b"\x82\x84\x86"),
            "a frame that is too large": b"\xff\xff\xff" + bytes(6)}


@pytest.mark.parametrize("field", [("Upper", "x"), ("connection", "close"), ("te", "gzip"), (":late", "x"),
                                   ("content-length", "x"), ("a", "b\nc"), ("bad name", "x")])
def test_a_malformed_request_over_http2_is_one_line_one_count_one_id(logged, field):
    proxy, fake, lines = logged("json")
    fake.handler = lambda request: request.respond()
    with H2Client(proxy.address) as client:
        answer = client.request("GET", "/bad", [field]).end()
        assert answer.status in (0, 400)
        assert client.fetch("GET", "/control").status == 200, "the connection goes on"
    bad, control = map(json.loads, lines(2))
    assert (bad["status"], bad["reason"], control["path"]) == (400, "bad_request", "/control")
    assert bad["request_id"] and bad["client"] == control["client"]
    eventually(lambda: proxy.metric("penstock_listener_rejected_total", reason="bad_request") == 1, "it is counted")
    assert outcomes(proxy) == 2


@pytest.mark.parametrize("kind", NO_HTTP2)
def test_and_so_is_what_is_no_http2_at_all(logged, kind):
    proxy, _, lines = logged("json")
    with socket.create_connection(proxy.address, patience(30)) as client:
        client.settimeout(patience(30))
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(SETTINGS, 0, 0) + NO_HTTP2[kind])
        try:
            while client.recv(1000):
                pass
        except ConnectionError:
            pass
    entry = json.loads(lines(1)[0])
    assert (entry["status"], entry["reason"], entry["protocol"]) == (400, "bad_request", "HTTP/2")
    assert outcomes(proxy) == 1


def test_a_connection_that_breaks_under_a_request_is_that_requests_line(logged):
    proxy, fake, lines = logged("json")
    with H2Client(proxy.address) as client:
        client.request("POST", "/running")
        fake.wait_count(1)
        client.send_raw(NO_HTTP2["a request on stream 0"])
        client.wait_for(lambda: client.closed, "the end of the connection")
        fake.request(0).respond()
    entry = json.loads(lines(1)[0])
    assert (entry["path"], entry["status"], entry["reason"]) == ("/running", 400, "bad_request")
    proxy.wait_empty()
    lines(1)
    assert outcomes(proxy) == 1


@pytest.mark.parametrize("form", ["default", "json"])
def test_a_client_cannot_break_or_forge_a_line(logged, form):
    proxy, fake, lines = logged(form)
    fake.handler = lambda request: request.respond()
    hostile = 'a" \\ \x1b[31m \xe9\xff \t {"x":1}'
    with H1Client(proxy.address) as client:
        client.request("GET", '/"path"', [("user-agent", hostile), ("x-request-id", "z" * 3000)])
        assert client.response().status in (200, 400)
    with H1Client(proxy.address) as client:
        assert client.fetch("GET", "/" + "x" * 7000).status == 200
        separators = [("user-agent", "\xc2\x85 \xe2\x80\xa8 \xe2\x80\xa9")]
        assert client.fetch("GET", "/separators", separators).status == 200
    for line in lines(3):
        assert len(line) <= 16 * 1024
        assert not any(end in line for end in "\x85\u2028\u2029")
        assert "\x1b" not in line and "\x00" not in line
        if form == "json":
            assert isinstance(json.loads(line), dict)


def test_standard_output_is_the_default_and_none_is_silent(replica):
    fake = replica(handler=lambda request: request.respond())
    config = proxy_config([fake])
    del config["access_log"]
    loud, silent = Proxy(config), Proxy(proxy_config([fake]))
    for proxy in (loud, silent):
        with H2Client(proxy.address) as client:
            assert client.fetch().status == 200
        assert proxy.stop() == 0
    assert len(loud.output) == 1 and DEFAULT.match(loud.output[0])
    assert silent.output == []
