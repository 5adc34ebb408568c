"""Connections to replicas: how many there are, and what happens when they allow nothing or end.

Promised: never more connections than the slots in use need; over HTTP/2 two a worker, and more only when the
streams of all are used up; a replica's limit on streams is kept at every moment; what waits for a stream is
bounded, and counts as not executed.

Shown: replicas that count their connections, and allow streams as the test says.
"""

import array
import fcntl
import termios

import h2.exceptions
import h2.settings
import pytest

from support.configs import proxy_config
from support.h2_client import H2Client
from support.h2_wire import StreamGone
from support.programs import Proxy
from support.waiting import equals, eventually, settled

MAX_STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS
# Waits for a stream are short, and never the end of a request.
IMPATIENT = {"protocol": "h2", "connect_timeout": "100ms", "retry": {"max_attempts": 10}}


def allow(fake, streams):
    """The replica changes its limit, on the connections that there are and on those to come."""
    with fake.lock:
        fake.settings = {MAX_STREAMS: streams}
        connections = list(fake.connections)
    for connection in connections:
        with connection.lock:
            connection.h2.update_settings({MAX_STREAMS: streams})
            connection.flush()


def test_a_replica_that_allows_no_stream_is_waited_for_on_few_connections(replica):
    fake = replica(settings={MAX_STREAMS: 0}, handler=lambda request: request.respond(body=b"x"))
    proxy = Proxy(proxy_config([fake], cluster=IMPATIENT))
    with H2Client(proxy.address) as client:
        stream = client.request(body=b"x")
        eventually(lambda: proxy.metric("penstock_cluster_stream_timeouts_total", cluster="m") >= 3,
                   "the request was put back three times")
        assert fake.accepted <= 2
        assert proxy.metric("penstock_cluster_connections", cluster="m") <= 2
        assert not fake.requests
        allow(fake, 1)
        assert stream.response().status == 200
    assert fake.accepted <= 2
    assert proxy.metric("penstock_cluster_connections_opened_total", cluster="m") == fake.accepted
    proxy.wait_empty()


def test_a_request_that_finds_no_stream_until_its_deadline_is_not_said_to_have_run(replica):
    fake = replica(settings={MAX_STREAMS: 0})
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "h2", "connect_timeout": "20s"}))
    with H2Client(proxy.address) as client:
        answer = client.fetch(headers=[("x-request-timeout-ms", "300")])
        assert (answer.status, answer.reason) in ((503, "queue_timeout"), (503, "no_replica"))
    proxy.wait_empty()


def test_a_limit_that_is_lowered_before_the_request_is_out_is_kept(replica):
    fake = replica(handler=lambda request: request.respond(body=b"x"))
    lowered = []

    def lower(connection):
        """In the packet of the first SETTINGS a second one."""
        begin = connection.begin

        def both():
            with connection.lock:
                connection.h2.initiate_connection()
                if not lowered:
                    lowered.append(connection)
                    connection.h2.update_settings({MAX_STREAMS: 0})
                connection.flush()
            connection.reader.start()
        connection.begin = both
        return begin

    keep = fake._keep

    def keep_and_lower(connection):
        lower(connection)
        return keep(connection)
    fake._keep = keep_and_lower
    proxy = Proxy(proxy_config([fake], cluster=IMPATIENT))
    with H2Client(proxy.address) as client:
        # The first connection stays at 0; the second is of use.
        assert client.fetch(body=b"x").status == 200
    assert lowered and not lowered[0].exchanges
    assert fake.accepted == 2
    proxy.wait_empty()


def test_used_up_streams_get_more_connections_and_no_more_than_slots(replica):
    fake = replica(settings={MAX_STREAMS: 1})
    proxy = Proxy(proxy_config([fake], target=5, cluster={"protocol": "h2"}))
    with H2Client(proxy.address) as client:
        streams = [client.request(body=b"x") for _ in range(8)]
        fake.wait_count(5)
        assert settled(lambda: fake.accepted) == 5
        for index in range(8):
            fake.request(index).respond(body=b"x")
        assert [stream.response().status for stream in streams] == [200] * 8
    assert fake.accepted == 5 and fake.max_in_flight == 5
    proxy.wait_empty()


def test_max_connections_bounds_them(replica):
    fake = replica(protocol="h1")
    proxy = Proxy(proxy_config([fake], target=4, cluster={
        "protocol": "http1", "connect_timeout": "20s", "max_connections": 1}))
    with H2Client(proxy.address) as client:
        streams = [client.request(body=b"x") for _ in range(4)]
        for index in range(4):
            assert len(fake.wait_count(index + 1)) == index + 1
            fake.request(index).respond(body=b"x")
        assert [stream.response().status for stream in streams] == [200] * 4
    assert fake.accepted == 1
    proxy.wait_empty()


def unacknowledged(sock):
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return count[0]


def upload(client, stream):
    """Sends what fits; whether the answer has come."""
    try:
        client.send_what_fits(stream.id, b"y" * 65536)
    except (StreamGone, h2.exceptions.ProtocolError):
        return True
    return stream.ended


@pytest.mark.parametrize("protocol", ["h1", "h2"])
def test_an_early_answer_is_read_although_the_rest_cannot_be_written(replica, protocol):
    """Whether the proxy writes or reads first is the kernel's to say, so it is tried often."""
    fake = replica(protocol=protocol)

    def refuse(request):
        request.end_work()
        request.respond(401, body=b"who are you?")
        # A reset drops what has not arrived, and on a busy machine may overtake what is on its way.
        eventually(lambda: unacknowledged(request.connection.sock) == 0, "the answer has arrived")
        request.connection.close(abrupt=True)
    fake.on_head = refuse
    proxy = Proxy(proxy_config([fake], target=1, route={"request_buffer": "16KiB"}, cluster={
        "protocol": "http1" if protocol == "h1" else "h2",
        "ejection": {"consecutive_failures": 1}}))
    for _ in range(40):
        with H2Client(proxy.address) as client:
            stream = client.request(body=b"x" * 16384, end=False)
            eventually(lambda: upload(client, stream), "the answer")
            answer = stream.end()
            assert (answer.status, bytes(answer.body)) == (401, b"who are you?"), answer
        equals(lambda: proxy.metric("penstock_cluster_connections", cluster="m"), 0)
    equals(lambda: proxy.metric("penstock_cluster_requests_total", cluster="m", code="401", reason="none"), 40)
    proxy.wait_empty()


@pytest.mark.parametrize("method, idempotent, status", [
    ("GET", False, 200), ("HEAD", False, 200), ("POST", False, 502), ("POST", True, 200)])
def test_a_kept_connection_that_ends_unused_fails_no_safe_request(replica, method, idempotent, status):
    """The replica closes its connection as the second request arrives on it, and reads nothing."""
    fake = replica(protocol="h1")

    def serve(request):
        if getattr(request.connection, "served", False):
            request.end_work()
            request.connection.close(abrupt=True)
        else:
            request.connection.served = True
            request.respond(body=b"" if request.method == "HEAD" else b"x")
    fake.handler = serve
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "http1"}, route={"idempotent": idempotent}))
    with H2Client(proxy.address) as client:
        assert client.fetch("GET").status == 200
        answer = client.fetch(method)
        assert answer.status == status
        assert answer.reason == (None if status == 200 else "replica_connection_lost")
    assert len(fake.requests) == (3 if status == 200 else 2)
    proxy.wait_empty()


def test_a_new_connection_that_ends_unused_is_not_tried_again(replica):
    fake = replica(protocol="h1", handler=lambda request: request.die())
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "http1"}))
    with H2Client(proxy.address) as client:
        assert client.fetch("GET").reason == "replica_connection_lost"
    assert len(fake.requests) == 1


def test_a_buffered_body_goes_to_http1_with_its_length(replica):
    fake = replica(protocol="h1", handler=lambda request: request.respond(body=b"x"))
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "http1"}, route={"request_buffer": "16KiB"}))
    with H2Client(proxy.address) as client:
        assert client.fetch(body=b"seven b").status == 200
        stream = client.request(body=b"with ", end=False)
        stream.send(b"trailers")
        stream.trailers([("x-after", "1")])
        assert stream.response().status == 200
        assert client.fetch(body=b"y" * 100000).status == 200
        assert client.fetch("GET").status == 200
    lengths = [request.header("content-length") for request in fake.requests]
    framings = [request.header("transfer-encoding") for request in fake.requests]
    assert lengths == ["7", None, None, None]
    assert framings == [None, "chunked", "chunked", None]
    assert [bytes(request.body) for request in fake.requests] == [
        b"seven b", b"with trailers", b"y" * 100000, b""]
