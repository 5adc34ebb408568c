"""Header blocks that are large, on their way through both programs.

Promised: what the configuration allows arrives, over HTTP/2 too; what a peer says it does not take never leaves
a client waiting: a response becomes 502, a request 431, trailers reset their stream, each without harm to the
connection, and the slot comes back; a program that is told to end does.

Shown: replicas and clients that announce SETTINGS_MAX_HEADER_LIST_SIZE; the end of each program is the fixture's.
"""

import pytest
from h2.settings import SettingCodes

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.model_servers import CHAT
from support.programs import Proxy
from support.waiting import equals

KIB = 1024
LARGE = [(f"x-{n}", "v" * 2000) for n in range(90)]  # 180 KiB
MODERATE = [(f"x-{n}", "v" * 2000) for n in range(20)]
ROOM = {SettingCodes.MAX_HEADER_LIST_SIZE: 1024 * KIB}
NO_ROOM = {SettingCodes.MAX_HEADER_LIST_SIZE: 16 * KIB}
WIDE_CLUSTER = {"max_response_header_bytes": "256KiB"}


def answer(request):
    what = request.path.strip("/")
    if what == "head":
        request.respond(headers=LARGE, body=b"body")
    elif what == "trailers":
        request.respond(body=b"body", trailers=LARGE)
    elif what == "grpc":
        request.start(headers=[("content-type", "application/grpc")])
        request.send(b"\0\0\0\0\0")
        request.finish([("grpc-status", "0"), *LARGE])
    elif what == "early":
        request.informational(103, LARGE)
        request.respond(body=b"body")
    else:
        request.respond(body=b"small")


def large(headers):
    return [header for header in headers if header[0].startswith("x-") and len(header[1]) == 2000]


@pytest.fixture(params=["h1", "h2"])
def wide(request, replica):
    """A proxy whose replica speaks that version and may answer with large heads."""
    fake = replica(request.param, handler=answer)
    cluster = {"protocol": "http1" if request.param == "h1" else "h2", **WIDE_CLUSTER}
    return Proxy(proxy_config([fake], cluster=cluster))


def test_large_responses_arrive_where_there_is_room(wide):
    with H2Client(wide.address, settings=ROOM) as client:
        assert len(large(client.fetch("GET", "/head").headers)) == len(LARGE)
        assert len(large(client.fetch("GET", "/trailers").trailers)) == len(LARGE)
        early = client.fetch("GET", "/early")
        assert len(large(early.informational[0][1])) == len(LARGE) and early.body == b"body"
    wide.wait_empty()


def test_large_responses_are_a_502_where_there_is_none(wide):
    with H2Client(wide.address, settings=NO_ROOM) as client:
        for _ in range(3):
            refused = client.fetch("GET", "/head")
            assert (refused.status, refused.reason) == (502, "replica_protocol_error")
            cut = client.request("GET", "/trailers").end()
            assert (cut.status, bytes(cut.body), cut.reset) == (200, b"body", 2)
            early = client.fetch("GET", "/early")
            assert (early.status, early.informational) == (200, [])
        assert client.fetch("GET", "/small").body == b"small"
        wide.wait_empty()
    with H1Client(wide.address) as client:
        assert len(large(client.fetch("GET", "/head").headers)) == len(LARGE)


def test_a_grpc_client_gets_a_status_in_the_place_of_large_trailers(replica):
    fake = replica("h2", handler=answer)
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "h2", **WIDE_CLUSTER}))
    with H2Client(proxy.address, settings=NO_ROOM) as client:
        answered = client.fetch("POST", "/grpc", [("content-type", "application/grpc")])
        assert answered.body == b"\0\0\0\0\0" and answered.trailer("grpc-status") == "14"
    proxy.wait_empty()


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_large_requests_arrive_where_there_is_room(replica, client_class):
    fake = replica("h2", handler=answer, settings=ROOM)
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "h2"},
                               listener={"max_header_bytes": "256KiB"}))
    with client_class(proxy.address) as client:
        assert client.fetch("GET", "/small", LARGE).status == 200
    assert len(large(fake.request(0).headers)) == len(LARGE)


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_large_requests_are_a_431_where_there_is_none(replica, client_class):
    fake = replica("h2", handler=answer, settings=NO_ROOM)
    proxy = Proxy(proxy_config([fake], route={"idempotent": True},
                               cluster={"protocol": "h2"}, listener={"max_header_bytes": "256KiB"}))
    with client_class(proxy.address) as client:
        for fields in (LARGE, MODERATE):
            refused = client.fetch("GET", "/small", fields)
            assert (refused.status, refused.reason) == (431, "headers_too_large")
        assert client.fetch("GET", "/small").status == 200
    proxy.wait_empty()
    assert len(fake.requests) == 1
    assert proxy.metric("penstock_cluster_retries_total") == 0


def test_a_sidecar_says_that_a_models_fields_are_too_large(server, front):
    sidecar = front(server)
    with H2Client(sidecar.address, settings=NO_ROOM) as client:
        for name, body, trailers in (("a", b"", ()), ("b", b"body", ()), ("c", b"", [("t", "x")])):
            stream = client.request("POST", CHAT, [("x-test-id", name)], b"{}")
            server.by_id(name).respond(headers=MODERATE, body=body, trailers=trailers)
            answer = stream.response()
            assert (answer.status, answer.reason) == (500, "response_fields_too_large")
        stream = client.request("POST", CHAT, [("x-test-id", "trailers")], b"{}")
        server.by_id("trailers").respond(body=b"body", trailers=MODERATE)
        cut = stream.end()
        assert (cut.status, bytes(cut.body), cut.reset) == (200, b"body", 2)
        stream = client.request("POST", CHAT, [("x-test-id", "small")], b"{}")
        server.by_id("small").respond(body=b"fine")
        assert stream.response().body == b"fine", "the connection goes on"
    equals(lambda: sidecar.metric("penstock_in_flight"), 0)


def test_a_sidecar_says_that_a_server_does_not_take_the_requests_fields(replica, front):
    server = replica("h2", settings=NO_ROOM)
    sidecar = front(server, protocol="h2")
    with H2Client(sidecar.address) as client:
        refused = client.fetch("POST", CHAT, MODERATE, b"{}")
        assert (refused.status, refused.reason) == (431, "headers_too_large")
    equals(lambda: sidecar.metric("penstock_in_flight"), 0)


def test_what_the_proxy_takes_by_default_the_sidecar_takes_too(replica, front):
    sidecar = front(replica("h1", handler=lambda request: request.respond()))
    proxy = Proxy(proxy_config([sidecar]))
    with H2Client(proxy.address) as client:
        many = [(f"x-{n}", "v") for n in range(99)]
        large = [("x-large", "v" * (64 * KIB - 300))]
        for fields in (many, large):
            assert client.fetch("GET", "/", fields).status == 200
