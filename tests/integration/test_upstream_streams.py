"""What streams through the sidecar to and from a model server: responses, gRPC, WebSockets.

Promised: a response passes as it comes, and what breaks off is seen to. The permit comes back when the response has
come from the server, however slowly its client reads (within 1 MiB, beyond which the server is not read), or
with on_client_gone: wait when the server has answered. gRPC and WebSockets flow both ways, under back-pressure, behind one
permit.

Shown: a replica of the tests as the server, which sends when told.
"""

import pytest

from support.h1_client import H1Client
from support.h1_wire import Closed
from support.h2_client import H2Client
from support.model_servers import CHAT, post, wait_gate
from support.tunnels import H1Tunnel, H2Tunnel
from support.waiting import eventually, settled

CONNECT_PROTOCOL = 8


def test_a_request_and_its_response_pass_as_they_are(server, front):
    sidecar = front(server)
    body = bytes(range(256)) * 4096 * 8
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", CHAT + "?x=1&y=%20", [
            ("x-penstock-attempt-id", "attempt"), ("x-request-id", "id-1"),
            ("x-request-timeout-ms", "60000"), ("content-type", "text/plain")], body)
        request = server.by_id("a")
        assert request.whole() == body
        assert request.path == CHAT + "?x=1&y=%20"
        assert request.header("x-request-id") == "id-1"
        assert request.header("content-type") == "text/plain"
        assert request.header("x-penstock-attempt-id") is None
        assert 0 < int(request.header("x-request-timeout-ms")) <= 60000
        request.informational(103, [("link", "</x>")])
        request.respond(201, [("x-own", "1"), ("x-request-id", "id-1"), ("x-penstock-sidecar", "0")],
                        b"made", [("x-sum", "2")])
        answer = stream.response()
    assert (answer.status, answer.body, answer.trailers) == (201, b"made", [("x-sum", "2")])
    assert answer.informational == [] and answer.header("x-own") == "1"
    assert [value for name, value in answer.headers if name == "x-request-id"] == ["id-1"]
    assert [value for name, value in answer.headers if name == "x-penstock-sidecar"] == ["1"]


def test_responses_without_a_body(server, front):
    sidecar = front(server)
    with H1Client(sidecar.address) as client:
        client.request("HEAD", "/v1/models")
        server.request(0).respond(200, [("content-length", "7")])
        answer = client.response("HEAD")
        assert (answer.status, answer.header("content-length")) == (200, "7")
        client.request("POST", CHAT)
        server.request(1).respond(304, [("content-length", "0")] if server.speaks == "h2" else [])
        assert client.response().status == 304
    wait_gate(sidecar, 0, 0)


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_a_response_streams_chunk_by_chunk(server, front, client_class):
    sidecar = front(server)
    with client_class(sidecar.address) as client:
        stream = client.request("POST", CHAT, [("x-test-id", "a")], b"{}")
        request = server.by_id("a")
        request.start(200, [("content-type", "text/event-stream")])
        if client_class is H1Client:
            assert client.head().header("content-type") == "text/event-stream"
            for chunk in (b"data: 1\n\n", b"data: 22\n\n"):
                request.send(chunk)
                assert client.wire.until(b"\r\n") == b"%x\r\n" % len(chunk)
                assert client.wire.exactly(len(chunk) + 2)[:-2] == chunk
            request.finish()
            assert client.wire.until(b"\r\n\r\n") == b"0\r\n\r\n"
        else:
            for count in (1, 2, 3):
                request.send(b"data: 1\n\n")
                assert stream.data(count * 9) == b"data: 1\n\n" * count
            assert not stream.ended
            request.finish()
            assert stream.response().status == 200


def test_a_slow_reader_holds_no_permit_once_the_response_has_come(server, front):
    sidecar = front(server)
    body = b"x" * 900 * 1024
    with H2Client(sidecar.address, auto_window=False) as slow, H2Client(sidecar.address) as other:
        stream = post(slow, "slow")
        request = server.by_id("slow")
        waiter = post(other, "next")
        request.respond(body=body)
        server.by_id("next").respond(body=b"done")
        assert waiter.response().body == b"done"
        assert not stream.ended and len(stream.answer.body) < len(body)
        assert stream.read_on().body == body
    wait_gate(sidecar, 0, 0)


def test_what_a_slow_reader_leaves_is_bounded_and_holds_the_permit(replica, front):
    server = replica("h1", threaded=True)
    sidecar = front(server)
    body = b"x" * 32 * 1024 * 1024
    server.handler = lambda request: request.respond(body=body)
    before = sidecar.bytes_read()
    with H2Client(sidecar.address, auto_window=False) as slow:
        stream = post(slow, "slow")
        stream.head()
        server.by_id("slow")
        assert settled(sidecar.bytes_read) < len(body) / 2 + before
        wait_gate(sidecar, 0, 1)
        assert bytes(stream.read_on(30).body) == body
    wait_gate(sidecar, 0, 0)


def test_on_client_gone_wait_holds_the_permit_until_the_server_has_answered(server, front):
    sidecar = front(server, on_client_gone="wait")
    with H2Client(sidecar.address) as client:
        leaver = post(client, "leaver")
        request = server.by_id("leaver")
        request.start()
        request.send(b"x" * 100_000)
        leaver.data(100_000)
        waiter = post(client, "next")
        wait_gate(sidecar, 1, 1)
        leaver.reset()
        for _ in range(10):  # more than all windows together
            request.send(b"x" * 100_000)
        assert not request.peer_gone
        wait_gate(sidecar, 1, 1)
        assert server.ids == ["leaver"]
        request.finish()
        server.by_id("next").respond()
        assert waiter.response().status == 200
    assert server.max_in_flight == 1


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_a_response_that_breaks_off_is_seen_to(server, front, client_class):
    sidecar = front(server)
    with client_class(sidecar.address) as client:
        stream = client.request("POST", CHAT, [("x-test-id", "a")], b"{}")
        request = server.by_id("a")
        request.start()
        request.send(b"half")
        if client_class is H1Client:
            answer = client.head()
            assert answer.status == 200
            assert client.wire.until(b"half\r\n")
            request.die()
            with pytest.raises(Closed):
                client.body(answer)
        else:
            stream.data(4)
            request.die()
            stream.end()
            assert not stream.complete and stream.answer.status == 200
    wait_gate(sidecar, 0, 0)


def test_a_grpc_stream_flows_both_ways_behind_one_permit(replica, front):
    server = replica("h2", auto_window=False)
    sidecar = front(server, protocol="h2")
    grpc = [("content-type", "application/grpc"), ("te", "trailers")]
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", "/s.S/Bidi", grpc, b"ping1", end=False)
        request = server.by_id("a")
        request.wait_body(5)
        assert request.header("te") == "trailers" and not request.complete.is_set()
        request.start(200, [("content-type", "application/grpc")])
        request.send(b"pong1")
        assert stream.data(5) == b"pong1"
        other = post(client, "b", "/s.S/Bidi", grpc, b"early", end=False)
        wait_gate(sidecar, 1, 1)
        stream.send(b"ping2", end=True)
        request.wait_body(10)
        assert request.whole() == b"ping1ping2"
        request.finish([("grpc-status", "0")])
        assert stream.response().trailer("grpc-status") == "0"
        second = server.by_id("b")
        second.wait_body(5)
        second.respond(200, grpc[:1], trailers=[("grpc-status", "8")])
        other.end()
        assert other.answer.trailer("grpc-status") == "8", "answered before the request ended"
    wait_gate(sidecar, 0, 0)


def test_a_server_that_does_not_read_holds_back_a_grpc_client(replica, front):
    server = replica("h2", auto_window=False)
    sidecar = front(server, protocol="h2")
    with H2Client(sidecar.address) as client:
        stream = post(client, "a", "/s.S/Up", [("content-type", "application/grpc")], end=False)
        request = server.by_id("a")
        with pytest.raises(AssertionError):
            stream.send(b"x" * 16 * 1024 * 1024, end=True, timeout=1)
        assert len(request.body) < 1024 * 1024
        stream.reset()
        eventually(lambda: request.peer_gone)
    wait_gate(sidecar, 0, 0)


@pytest.mark.parametrize("upstream", ["h1", "h2"])
@pytest.mark.parametrize("tunnel_class", [H1Tunnel, H2Tunnel])
def test_a_websocket_holds_one_permit_for_its_life(replica, front, tunnel_class, upstream):
    server = replica(upstream, settings={CONNECT_PROTOCOL: 1})
    server.speaks = {"h1": "http1", "h2": "h2"}[upstream]
    sidecar = front(server)
    tunnel = tunnel_class(sidecar.address, path="/v1/realtime", early=b"early ")
    request = server.wait_count(1)[0]
    request.accept()
    assert tunnel.answer().status == tunnel.accepted
    tunnel.send(b"bytes")
    request.wait_body(11)
    assert bytes(request.body) == b"early bytes"
    request.send(b"back")
    assert tunnel.read(4) == b"back"
    with H2Client(sidecar.address) as client:
        waiter = post(client, "next")
        wait_gate(sidecar, 1, 1)
        request.send(b"bye", end=True)
        assert tunnel.read_to_end() == b"bye"
        server.by_id("next").respond()
        assert waiter.response().status == 200
    second = tunnel_class(sidecar.address, path="/v1/realtime")
    request = server.wait_count(3)[2]
    request.accept()
    assert second.answer().status == second.accepted
    second.vanish()
    eventually(lambda: request.peer_gone, "the server sees that the client has gone")
    wait_gate(sidecar, 0, 0)
    third = tunnel_class(sidecar.address, path="/v1/realtime")
    server.wait_count(4)[3].respond(403)
    assert third.answer().status == 403
    wait_gate(sidecar, 0, 0)


def test_a_websocket_that_the_server_cannot_take_is_refused(replica, front):
    sidecar = front(replica("h2"), protocol="h2")
    tunnel = H1Tunnel(sidecar.address, path="/v1/realtime")
    answer = tunnel.answer()
    assert (answer.status, answer.reason) == (501, "not_implemented")
    wait_gate(sidecar, 0, 0)
