"""gRPC through the proxy: both directions run at once, and every call ends in a gRPC status.

Promised: a gRPC request asks for its slot at its head, so that client and replica may speak in turns, and either
first. Once a replica has a request, stream_idle_timeout bounds how slowly its client sends the rest, and
min_body_rate and body_idle_timeout do not. Whatever goes wrong, a gRPC client receives a status: instead of the
response, or in trailers if that has begun.

Shown: a replica of the tests, a raw client that says each piece when told, and grpcio for the whole of it.
"""

import concurrent.futures
import queue

import grpc
import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.model_servers import attached_model
from support.programs import Proxy, Sidecar
from support.waiting import eventually, patience, settled

GRPC = [("content-type", "application/grpc"), ("te", "trailers")]
ANSWER = GRPC[:1]
OK, CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE = "0", "1", "4", "8", "13", "14"
REFUSED_STREAM, INTERNAL_ERROR, CANCEL = 7, 2, 8


def begin(client, test_id="a", body=b"", headers=GRPC):
    """A call whose client has more to say."""
    return client.request(path="/s.S/Call", headers=headers + [("x-test-id", test_id)], body=body,
                          end=False)


def status_of(answer):
    """What a gRPC client takes for the call's status."""
    return answer.trailer("grpc-status") or answer.header("grpc-status")


@pytest.mark.parametrize("first", ["client", "replica"])
def test_client_and_replica_speak_in_turns(replica, first):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = begin(client)
        request = fake.by_id("a")
        heard = b""
        if first == "replica":
            request.start(200, ANSWER)
            request.send(b"hello")
            heard = b"hello"
            assert stream.data(5) == heard
        for turn in range(1, 4):
            stream.send(b"ping")
            request.wait_body(4 * turn)
            if turn == 1 and first == "client":
                request.start(200, ANSWER)
            request.send(b"pong")
            heard += b"pong"
            assert stream.data(len(heard)) == heard
        stream.send(b"", end=True)
        request.whole()
        request.finish([("grpc-status", OK)])
        assert status_of(stream.response()) == OK
    proxy.wait_empty()


def test_a_call_that_the_replica_ends_first_gives_its_slot_back(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = begin(client, body=b"some")
        fake.by_id("a").respond(200, ANSWER, trailers=[("grpc-status", RESOURCE_EXHAUSTED)])
        assert status_of(stream.end()) == RESOURCE_EXHAUSTED
        proxy.wait_queue(0, 0)
    proxy.wait_empty()


def test_a_call_that_waits_keeps_its_place_and_holds_no_more_than_a_window(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "64MiB"}))
    with H2Client(proxy.address) as client:
        running = begin(client, "running")
        fake.by_id("running")
        waiting = begin(client, "waiting")
        proxy.wait_queue(1, 1)
        later = client.request(headers=[("x-test-id", "later")], body=b"whole")
        proxy.wait_queue(2, 1)
        sent = []

        def send_more():
            sent.append(client.send_what_fits(waiting.id, b"x" * 100_000))
            return sent[-1]
        assert settled(send_more) == 0
        assert 0 < sum(sent) <= 256 * 1024
        fake.by_id("running").respond(200, ANSWER, trailers=[("grpc-status", OK)])
        request = fake.by_id("waiting")
        waiting.send(b"y" * 1_000_000, end=True)
        assert len(request.whole()) == sum(sent) + 1_000_000
        request.respond(200, ANSWER, trailers=[("grpc-status", OK)])
        fake.by_id("later").respond()
        assert status_of(running.end()) == status_of(waiting.response()) == OK
        assert later.response().status == 200
    assert fake.ids == ["running", "waiting", "later"]
    proxy.wait_empty()


def idle_witness(client):
    """A plain upload that stays with the proxy: its 408 shows that body_idle_timeout is over."""
    return client.request(headers=[("x-test-id", "witness")], body=b"x", end=False)


def test_stream_idle_timeout_governs_an_upload_over_http1_too(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], listener={"body_idle_timeout": "300ms"},
                               route={"request_buffer": "4KiB", "stream_idle_timeout": "60s"}))
    with H1Client(proxy.address) as slow, H2Client(proxy.address) as other:
        slow.begin("POST", "/", [("x-test-id", "slow"), ("content-length", "5004")])
        slow.send(b"x" * 5000)
        request = fake.by_id("slow")
        request.wait_body(5000)
        assert idle_witness(other).response().status == 408
        slow.send(b"rest")
        assert request.whole().endswith(b"rest")
        request.respond()
        assert slow.response().status == 200
    proxy.wait_empty()


@pytest.mark.parametrize("kind", ["grpc", "plain"])
def test_stream_idle_timeout_governs_what_the_replica_has(replica, kind):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], listener={"body_idle_timeout": "300ms"},
                               route={"request_buffer": "4KiB", "stream_idle_timeout": "60s"}))
    with H2Client(proxy.address) as client:
        slow = begin(client, "slow", b"x" * 5000, GRPC if kind == "grpc" else [])
        request = fake.by_id("slow")
        request.wait_body(5000)
        assert idle_witness(client).response().status == 408
        slow.send(b"rest", end=True)
        assert request.whole().endswith(b"rest")
        request.respond(200, ANSWER, trailers=[("grpc-status", OK)])
        assert slow.response().status == 200
    assert "witness" not in fake.ids
    proxy.wait_empty()


def test_a_call_that_waits_is_not_too_slow_either(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], listener={"body_idle_timeout": "300ms"}))
    with H2Client(proxy.address) as client:
        begin(client, "running")
        fake.by_id("running")
        waiting = begin(client, "waiting", b"first")
        assert idle_witness(client).response().status == 408
        fake.by_id("running").respond(200, ANSWER, trailers=[("grpc-status", OK)])
        fake.by_id("waiting").respond(200, ANSWER, trailers=[("grpc-status", OK)])
        assert status_of(waiting.end()) == OK


@pytest.mark.parametrize("kind", ["grpc", "plain"])
def test_an_upload_that_stops_at_the_replica_ends_after_stream_idle_timeout(replica, kind):
    fake = replica("h2", reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "4KiB",
                                              "stream_idle_timeout": "300ms"}))
    with H2Client(proxy.address) as client:
        stream = begin(client, body=b"x" * 5000, headers=GRPC if kind == "grpc" else [])
        fake.by_id("a").wait_body(5000)
        answer = stream.end()
        assert answer.reason == "request_timeout"
        if kind == "grpc":
            assert (answer.status, status_of(answer)) == (200, DEADLINE_EXCEEDED)
        else:
            assert answer.status == 408
        eventually(lambda: fake.by_id("a").peer_gone, "the replica sees that nothing more comes")
    proxy.wait_empty()


ENDINGS = {
    "lost": (lambda request: request.die(), {}, UNAVAILABLE, "replica_connection_lost"),
    "reset": (lambda request: request.reset(INTERNAL_ERROR), {}, INTERNAL,
              "replica_stream_failed"),
    "silent": (lambda request: None, {"stream_idle_timeout": "300ms"}, DEADLINE_EXCEEDED,
               "replica_timeout"),
    "late": (lambda request: None, {"timeout": "1500ms"}, DEADLINE_EXCEEDED, "replica_timeout"),
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "open"])
def test_a_response_that_breaks_off_ends_in_a_status(replica, ending, complete):
    end, route, status, reason = ENDINGS[ending]
    fake = replica("h2", reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], route=route, cluster={"on_client_gone": "reset"}))
    with H2Client(proxy.address) as client:
        stream = begin(client)
        request = fake.by_id("a")
        stream.send(b"ping", end=complete)
        request.wait_body(4)
        request.start(200, ANSWER)
        request.send(b"half")
        stream.data(4)
        end(request)
        answer = stream.response()
        assert (answer.status, answer.body) == (200, b"half")
        assert (status_of(answer), answer.trailer("x-penstock-reason")) == (status, reason)
        assert answer.trailer("grpc-message")
    eventually(lambda: proxy.metric("penstock_cluster_requests_total", reason=reason) == 1)
    proxy.wait_empty()


def test_too_large_a_stream_ends_in_a_status(replica):
    fake = replica("h2", reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], route={"max_request_body": "10KiB"}))
    with H2Client(proxy.address) as client:
        stream = begin(client)
        fake.by_id("a").start(200, ANSWER)
        stream.head()
        stream.send(b"x" * 12_000)
        answer = stream.end()
        assert (status_of(answer), answer.trailer("x-penstock-reason")) == (
            RESOURCE_EXHAUSTED, "payload_too_large")
    proxy.wait_empty()


@pytest.mark.parametrize("headers", [[], [*ANSWER, ("content-length", "100")]],
                         ids=["not_grpc", "counted"])
def test_trailers_are_for_what_a_grpc_client_reads_as_grpc(replica, headers):
    """A body of another type, or of a declared length, is cut off as for any other client."""
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = begin(client)
        request = fake.by_id("a")
        request.start(200, headers)
        request.send(b"half")
        stream.data(4)
        request.die()
        answer = stream.end()
        assert not stream.complete and answer.reset == INTERNAL_ERROR
    proxy.wait_empty()


def test_a_call_that_goes_out_in_pieces_can_be_sent_again(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = begin(client, body=b"one,")
        first = fake.wait_count(1)[0]
        first.wait_body(4)
        stream.send(b"two,")
        first.wait_body(8)
        first.reset(REFUSED_STREAM)
        again = fake.wait_count(2)[1]
        again.wait_body(8)
        stream.send(b"three", end=True)
        assert again.whole() == b"one,two,three"
        again.respond(200, ANSWER, trailers=[("grpc-status", OK)])
        assert status_of(stream.response()) == OK
    proxy.wait_empty()


def test_more_than_the_request_buffer_is_sent_once_and_its_client_is_not_held_back(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], route={"request_buffer": "8KiB"}))
    with H2Client(proxy.address) as client:
        stream = begin(client)
        request = fake.by_id("a")
        for turn in range(1, 401):
            stream.send(b"x" * 1024)
            request.wait_body(1024 * turn)
        request.reset(REFUSED_STREAM)
        assert status_of(stream.end()) == UNAVAILABLE
    assert len(fake.requests) == 1
    proxy.wait_empty()


@pytest.mark.parametrize("status, reason, told", [
    (502, "server_connection_lost", UNAVAILABLE), (503, "model_overloaded", UNAVAILABLE),
    (504, "deadline_exceeded", DEADLINE_EXCEEDED), (413, "body_too_large", RESOURCE_EXHAUSTED)])
@pytest.mark.parametrize("complete", [True, False], ids=["complete", "open"])
def test_what_a_sidecar_refuses_in_http_is_a_status_too(replica, status, reason, told, complete):
    fake = replica("h2", sidecar=True)
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = begin(client)
        stream.send(b"ping", end=complete)
        fake.by_id("a").wait_body(4)
        fake.by_id("a").respond(status, [("x-penstock-reason", reason)], b'{"error": {}}')
        answer = stream.end()
        assert (answer.status, answer.body, answer.reason) == (200, b"", reason)
        assert status_of(answer) == told and answer.header("grpc-message").endswith(reason)
        proxy.wait_queue(0, 0)
    proxy.wait_empty()


def test_another_servers_own_answer_in_http_passes_as_it_is(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        stream = begin(client, body=b"ping")
        fake.by_id("a").respond(404, [("content-type", "text/plain")], b"no such thing")
        answer = stream.end()
        assert (answer.status, answer.body, status_of(answer)) == (404, b"no such thing", None)
    proxy.wait_empty()


@pytest.mark.parametrize("sidecar", [False, True], ids=["server", "sidecar"])
def test_a_client_that_cancels_in_mid_call_ends_it_at_the_replica(replica, sidecar):
    fake = replica("h2", sidecar=sidecar)
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        if sidecar:  # the proxy learns it from an answer
            warm = client.request()
            fake.request(0).respond()
            warm.response()
        stream = begin(client, body=b"ping")
        request = fake.by_id("a")
        request.wait_body(4)
        request.start(200, ANSWER)
        stream.head()
        stream.reset(CANCEL)
        if sidecar:
            assert request.cancelled.wait(patience(30))
            assert not request.peer_gone and proxy.in_flight() == 1, "it has the slot until it ends"
            request.finish([("grpc-status", CANCELLED)])
        else:
            eventually(lambda: request.peer_gone)
        proxy.wait_empty()
        request.end_work()


class Echo(grpc.GenericRpcHandler):
    """Bidirectional: /s/greets says hello before it listens; everything else answers each message."""

    def service(self, details):
        def serve(messages, _):
            if details.method == "/s/greets":
                yield b"hello"
            for message in messages:
                yield b"re:" + message
        return grpc.stream_stream_rpc_method_handler(serve)


def talk(address, method, greets):
    """Says three things, each once the last is answered."""
    to_say = queue.Queue()
    heard = []
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(method)(iter(to_say.get, None), timeout=patience(20))
        if greets:
            heard.append(next(call))
        for turn in range(3):
            to_say.put(b"%d" % turn)
            heard.append(next(call))
        to_say.put(None)
        return heard + list(call)


@pytest.mark.parametrize("behind", ["server", "sidecar"])
def test_grpcio_talks_through_it(tmp_path, behind):
    pool = concurrent.futures.ThreadPoolExecutor(4)
    server = grpc.server(pool, handlers=[Echo()])
    address = "127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
    server.start()
    if behind == "sidecar":
        address = Sidecar(attached_model(tmp_path, address, 1, protocol="h2"))
    proxy = Proxy(proxy_config([address], cluster={"protocol": "h2"}))
    there = "%s:%d" % proxy.address
    said = [b"re:0", b"re:1", b"re:2"]
    assert talk(there, "/s/echo", greets=False) == said
    assert talk(there, "/s/greets", greets=True) == [b"hello", *said]
    proxy.wait_empty()
    server.stop(None).wait()
