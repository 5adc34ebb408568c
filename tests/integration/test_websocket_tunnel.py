"""WebSockets through the proxy, as bytes.

Promised: a WebSocket is asked for by an upgrade (HTTP/1.1) or by extended CONNECT (HTTP/2, RFC 8441), on
either side, in any combination. It waits for a slot like any request, holds it until the stream to the
replica has ended, and is then two streams of bytes under back-pressure. The route's timeout ends with
the replica's answer; stream_idle_timeout cuts a WebSocket on which nothing moves in either direction.

Shown: clients and replicas by hand on all four pairs of versions.
"""

import concurrent.futures
import json
import random
import signal
import threading

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client, fetch
from support.h2_client import H2Client
from support.programs import Proxy
from support.tunnels import H1Tunnel, H2Tunnel
from support.waiting import PATIENCE_S, eventually, patience

CLIENTS = {"h1": H1Tunnel, "h2": H2Tunnel}
PAIRS = [(client, upstream) for client in CLIENTS for upstream in ("h1", "h2")]
CONNECT_PROTOCOL = 8


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def pair(request):
    return request.param


def websocket_replica(replica, protocol, **options):
    return replica(protocol, settings={CONNECT_PROTOCOL: 1}, **options)


def open_tunnel(kind, proxy, **options):
    return CLIENTS[kind](proxy.address, **options)


def accepted(kind, proxy, fake, index=0, **options):
    """A client's tunnel and the replica's end of it, both open."""
    tunnel = open_tunnel(kind, proxy, **options)
    request = fake.wait_count(index + 1)[index]
    request.accept()
    assert tunnel.answer().status == tunnel.accepted
    return tunnel, request


def test_bytes_go_both_ways_as_they_come(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    fake.on_head = lambda request: request.echo([("sec-websocket-protocol", "chat")])
    proxy = Proxy(proxy_config([fake]))
    tunnel = open_tunnel(client, proxy, headers=[("sec-websocket-protocol", "chat, other"),
                                                 ("sec-websocket-extensions", "permessage-deflate")])
    answer = tunnel.answer()
    assert answer.status == tunnel.accepted
    assert answer.header("sec-websocket-protocol") == "chat"
    for message in (b"x", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 100):
        tunnel.send(message)
        assert tunnel.read(len(message)) == message
    request = fake.requests[0]
    assert request.header("sec-websocket-protocol") == "chat, other"
    assert request.header("sec-websocket-extensions") == "permessage-deflate"
    assert request.header("sec-websocket-version") == "13"
    assert request.header("x-request-timeout-ms") is None
    if upstream == "h1":
        assert (request.method, request.header("upgrade")) == ("GET", "websocket")
    else:
        assert (request.method, request.websocket) == ("CONNECT", "websocket")
        assert request.header("sec-websocket-key") is None
    request.send(b"bye", end=True)
    assert tunnel.read_to_end() == b"bye"
    proxy.wait_empty()


def test_what_comes_before_the_answer_is_kept(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake]))
    tunnel = open_tunnel(client, proxy, early=b"early ")
    request = fake.wait_count(1)[0]
    tunnel.send(b"bytes")
    if client == "h2":  # over HTTP/1.1 it is not counted as a body yet
        eventually(lambda: proxy.metric("penstock_buffered_bytes") == 11)
    assert not request.body
    request.accept()
    request.wait_body(11)
    assert bytes(request.body) == b"early bytes"
    request.finish()
    assert tunnel.answer().status == tunnel.accepted


def test_no_more_than_a_window_is_kept_before_the_answer(replica):
    fake = websocket_replica(replica, "h2")
    proxy = Proxy(proxy_config([fake], listener={"stream_window": "64KiB"}))
    tunnel = open_tunnel("h2", proxy)
    request = fake.wait_count(1)[0]
    sender = threading.Thread(target=tunnel.send, args=(b"e" * (1 << 20),), daemon=True)
    sender.start()
    eventually(lambda: proxy.metric("penstock_buffered_bytes") == 64 << 10)
    assert settled(lambda: proxy.metric("penstock_buffered_bytes"))
    request.accept()
    request.wait_body(1 << 20)
    sender.join(patience(PATIENCE_S))
    request.finish()
    proxy.wait_empty()


def test_a_slow_reader_holds_the_sender_back(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake], route={"response_buffer": "64KiB", "request_buffer": "64KiB"}))
    options = {"auto_window": False} if client == "h2" else {"receive_buffer": 4096}
    tunnel, request = accepted(client, proxy, fake, **options)
    size = 24 << 20
    sender = threading.Thread(target=request.send, args=(b"m" * size,), daemon=True)
    before = proxy.resident_bytes()
    sender.start()
    eventually(lambda: proxy.metric("penstock_buffered_bytes") > 0)
    # What the kernel's buffers take on the way is not ours; the rest stands at the replica.
    eventually(lambda: settled(lambda: proxy.metric("penstock_buffered_bytes")))
    assert sender.is_alive(), "all of it was taken, though nobody reads"
    assert proxy.metric("penstock_buffered_bytes") < 2 << 20
    assert proxy.resident_bytes() - before < 16 << 20
    if client == "h2":
        while len(tunnel.stream.answer.body) < size:
            tunnel.stream.consume_all()
            tunnel.client.wait_for(
                lambda: tunnel.stream.unconsumed or len(tunnel.stream.answer.body) >= size, "more")
    else:
        assert tunnel.read(size, timeout=60) == b"m" * size
    sender.join(patience(20))
    request.finish()
    proxy.wait_empty()


def settled(read, times=20):
    """Whether it reads the same so many times in a row."""
    first = read()
    return all(read() == first for _ in range(times))


def test_it_holds_its_slot_for_its_life(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake], target=1))
    first, request = accepted(client, proxy, fake)
    second = open_tunnel(client, proxy)
    proxy.wait_queue(waiting=1, in_flight=1)
    request.finish()
    assert first.read_to_end() == b""
    fake.wait_count(2)[1].accept()
    assert second.answer().status == second.accepted
    assert fake.max_in_flight == 1
    fake.requests[1].finish()
    proxy.wait_empty()


@pytest.mark.parametrize("leaves", ["vanish", "hang_up"])
def test_a_client_that_leaves_gives_the_slot_back(replica, pair, leaves):
    client, upstream = pair
    fake = websocket_replica(replica, upstream, reset_ends_work=True)
    proxy = Proxy(proxy_config([fake], target=1))
    tunnel, request = accepted(client, proxy, fake)
    tunnel.send(b"last words")
    request.wait_body(10)
    getattr(tunnel, leaves)()
    request.wait_peer_ended()
    request.finish()
    proxy.wait_empty()
    again, request = accepted(client, proxy, fake, index=1)
    request.finish()
    assert again.read_to_end() == b""


def test_last_words_before_a_plain_close_arrive(replica):
    for upstream in ("h1", "h2"):
        fake = websocket_replica(replica, upstream)
        proxy = Proxy(proxy_config([fake]))
        tunnel, request = accepted("h1", proxy, fake)
        tunnel.send(b"w" * 200000)
        tunnel.hang_up()
        request.wait_body(200000)
        request.wait_peer_ended()
        request.finish()
        proxy.wait_empty()


def test_a_client_that_only_ended_its_direction_has_a_while(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake], cluster={"cancel_grace": "3s"}))
    tunnel, request = accepted(client, proxy, fake)
    tunnel.end()
    # Over HTTP/1.1 the replica here takes an end of file for the end of all.
    if upstream == "h2":
        request.wait_peer_ended()
        request.send(b"still")
        assert tunnel.read(5) == b"still"
    assert tunnel.read_to_end() == b""
    request.wait_peer_ended()
    request.end_work()
    proxy.wait_empty()


def test_a_client_that_leaves_before_the_answer_gives_the_slot_back(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream, reset_ends_work=True)
    proxy = Proxy(proxy_config([fake]))
    tunnel = open_tunnel(client, proxy)
    request = fake.wait_count(1)[0]
    tunnel.hang_up()
    eventually(lambda: request.peer_gone)
    proxy.wait_empty()


@pytest.mark.parametrize("upstream", ["h1", "h2"])
def test_a_sidecar_is_told_to_cancel_and_keeps_the_slot_until_it_has_ended(replica, upstream):
    fake = websocket_replica(replica, upstream, sidecar=True)
    proxy = Proxy(proxy_config([fake], target=1))
    tunnel, request = accepted("h2", proxy, fake)
    tunnel.hang_up()
    assert request.cancelled.wait(patience(PATIENCE_S))
    assert fake.cancels == [request.attempt_id] and not request.peer_gone
    with H2Client(proxy.address) as other:
        waiting = other.request()
        proxy.wait_queue(waiting=1, in_flight=1)
        request.finish()
        fake.request(1).respond(body=b"next")
        assert waiting.response().body == b"next"
    assert fake.max_in_flight == 1
    proxy.wait_empty()


def test_a_replica_that_dies_ends_it(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake]))
    tunnel, request = accepted(client, proxy, fake)
    request.send(b"half")
    assert tunnel.read(4) == b"half"
    request.die()
    assert tunnel.read_to_end() == b""
    proxy.wait_empty()


def test_a_refusal_is_passed_on(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    fake.on_head = lambda request: request.respond(403, [("x-why", "no")], b"not you")
    proxy = Proxy(proxy_config([fake]))
    tunnel = open_tunnel(client, proxy)
    answer = tunnel.answer()
    assert (answer.status, answer.header("x-why"), answer.body) == (403, "no", b"not you")
    proxy.wait_empty()
    if client == "h1":
        assert not answer.closed
        fake.on_head = None
        fake.handler = lambda request: request.respond(body=b"still HTTP")
        assert tunnel.client.fetch().body == b"still HTTP"


def test_a_replica_that_ignores_the_upgrade_has_not_accepted(replica):
    fake = replica("h1")
    fake.on_head = lambda request: request.respond(200, body=b"a page")
    proxy = Proxy(proxy_config([fake]))
    for kind in CLIENTS:
        assert open_tunnel(kind, proxy).answer().status == 501
    proxy.wait_empty()
    assert proxy.cluster()["replicas"][0]["state"] == "ready"


def test_http2_without_rfc_8441_is_told_and_costs_the_replica_nothing(replica):
    fake = replica("h2")
    proxy = Proxy(proxy_config([fake], cluster={"ejection": {"consecutive_failures": 1}}))
    for kind in CLIENTS:
        answer = open_tunnel(kind, proxy).answer()
        assert (answer.status, answer.reason) == (502, "replica_protocol_error")
        assert b"protocol: http1" in bytes(answer.body)
    proxy.wait_empty()
    assert not fake.requests
    assert proxy.cluster()["replicas"][0]["state"] == "ready"


def test_a_refusal_as_not_executed_is_tried_again(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake]))
    tunnel = open_tunnel(client, proxy, early=b"kept")
    fake.wait_count(1)
    if client == "h2":
        eventually(lambda: proxy.metric("penstock_buffered_bytes") == 4)
    fake.requests[0].refuse()
    request = fake.wait_count(2)[1]
    request.accept()
    assert tunnel.answer().status == tunnel.accepted
    request.wait_body(4)
    assert bytes(request.body) == b"kept"
    request.finish()


def test_silence_is_cut_and_a_trickle_is_not(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake], target=2, route={"stream_idle_timeout": "2s"}))
    from_client, at_client = accepted(client, proxy, fake)
    stop = threading.Event()

    def trickle():
        while not stop.wait(0.05):
            from_client.send(b".")

    sender = threading.Thread(target=trickle, daemon=True)
    sender.start()
    for index in (1, 2):  # the second begins when the first one's time is over
        silent, at_silent = accepted(client, proxy, fake, index)
        assert silent.read_to_end() == b""
        at_silent.wait_peer_ended()
        at_silent.end_work()
    at_client.send(b"still here")
    assert from_client.read(10) == b"still here"
    stop.set()
    sender.join()
    at_client.finish()
    proxy.wait_empty()
    reasons = "penstock_cluster_requests_total"
    eventually(lambda: proxy.metric(reasons, reason="replica_timeout") == 2)


def test_the_routes_timeout_ends_with_the_answer(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake], target=2, route={"timeout": "2s"}))
    tunnel, request = accepted(client, proxy, fake)
    unanswered = open_tunnel(client, proxy)
    answer = unanswered.answer()
    assert (answer.status, answer.reason) == (504, "replica_timeout")
    # Asked for later, timed out already: the first one is older than its timeout.
    tunnel.send(b"still")
    request.wait_body(5)
    request.finish()
    fake.requests[1].end_work()


def test_many_share_a_connection_and_ordinary_requests_go_on(replica):
    fake = websocket_replica(replica, "h2")
    fake.on_head = lambda request: request.echo() if request.websocket else None
    fake.handler = lambda request: None if request.websocket else request.respond(body=b"plain")
    proxy = Proxy(proxy_config([fake], target=20))
    with H2Client(proxy.address) as client:
        tunnels = [H2Tunnel(None, client=client) for _ in range(10)]
        for number, tunnel in enumerate(tunnels):
            tunnel.send(b"%d" % number)
        assert client.fetch().body == b"plain"
        assert [tunnel.read(1) for tunnel in tunnels] == [b"%d" % n for n in range(10)]
        for tunnel in tunnels:
            tunnel.stream.send(b"", end=True)
        for tunnel in tunnels:
            assert tunnel.stream.end().reset is None
    proxy.wait_empty()


@pytest.mark.parametrize("kind", CLIENTS)
def test_drain_waits_for_it_and_then_cuts_it_off(replica, kind):
    fake = websocket_replica(replica, "h2")
    proxy = Proxy(proxy_config([fake], drain_timeout="3s"))
    tunnel, request = accepted(kind, proxy, fake)
    proxy.signal(signal.SIGTERM)
    proxy.wait_log("draining")
    tunnel.send(b"still open")
    request.wait_body(10)
    assert tunnel.read_to_end() == b""
    request.wait_peer_ended()
    assert proxy.wait() == 0


def test_drain_lets_it_end_by_itself(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream)
    proxy = Proxy(proxy_config([fake]))
    tunnel, request = accepted(client, proxy, fake)
    proxy.signal(signal.SIGTERM)
    proxy.wait_log("draining")
    request.send(b"bye", end=True)
    assert tunnel.read_to_end() == b"bye"
    if client == "h2":
        tunnel.client.close()
    assert proxy.wait() == 0


@pytest.mark.parametrize("kind, method, status", [("h1", "GET", 101), ("h2", "CONNECT", 200)])
def test_the_access_log_tells_it_once_when_it_ends(replica, tmp_path, kind, method, status):
    fake = websocket_replica(replica, "h1")
    log = tmp_path / "access.log"
    proxy = Proxy(proxy_config([fake], access_log={"path": str(log), "format": "json"}))
    tunnel, request = accepted(kind, proxy, fake)
    tunnel.send(b"12345")
    request.wait_body(5)
    assert not log.exists() or not log.read_text()
    request.send(b"123", end=True)
    tunnel.read_to_end()
    proxy.wait_empty()
    line = eventually(lambda: log.exists() and log.read_text())
    entry = json.loads(line)
    assert (entry["method"], entry["status"], entry["reason"]) == (method, status, "none")
    assert (entry["bytes_received"], entry["bytes_sent"]) == (5, 3)


def test_whatever_way_many_end_all_slots_come_back(replica, pair):
    client, upstream = pair
    fake = websocket_replica(replica, upstream, reset_ends_work=True)
    fake.on_head = lambda request: request.echo()
    proxy = Proxy(proxy_config([fake], target=4), workers=2)
    endings = random.Random(8441)

    def use(ending):
        tunnel = open_tunnel(client, proxy)
        if ending == "at once":
            tunnel.vanish()
            return
        assert tunnel.answer(60).status == tunnel.accepted
        message = b"m" * (1 << 16)
        tunnel.send(message)
        if ending != "unread":
            assert tunnel.read(len(message)) == message
        if ending == "half":
            tunnel.end()
            assert tunnel.read_to_end() == b""
            tunnel.client.close()
        elif ending == "hang up":
            tunnel.hang_up()
        else:
            tunnel.vanish()

    kinds = ["at once", "unread", "half", "hang up", "vanish"]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        list(pool.map(use, [endings.choice(kinds) for _ in range(120)]))
    proxy.wait_empty()
    fake.wait_idle()


REFUSED = {
    "a version other than 13": (b"sec-websocket-version: 8\r\n"
                                b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
    "no version": (b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400),
    "no key": (b"sec-websocket-version: 13\r\n", 400),
    "a short key": (b"sec-websocket-version: 13\r\nsec-websocket-key: c2hvcnQ=\r\n", 400),
    "a body": (b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
               b"content-length: 1\r\n", 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_handshake_is_refused(replica, name):
    fake = replica()
    fields, status = REFUSED[name]
    proxy = Proxy(proxy_config([fake]))
    with H1Client(proxy.address) as client:
        client.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                    + fields + b"\r\n")
        answer = client.response()
        assert (answer.status, answer.reason) == (status, "bad_request")
        if "version" in name:
            assert answer.header("sec-websocket-version") == "13"
    assert not fake.requests
    assert fetch(proxy.address, "CONNECT").status == 405
