"""Routes, clusters and what the proxy adds to a request.

Promised: the longest prefix wins among the routes whose host matches; hosts are exact or *.suffix; a request
without a route is 404, and so is one for what a sidecar serves to the proxy and the operator. The replica gets x-request-id (the client's own, or a new UUID v4), x-forwarded-for,
x-forwarded-proto and, unless it is known to be no sidecar, x-penstock-attempt-id; the client gets the x-request-id back on local replies.

Shown: one cluster per route, each with a replica that tells its name.
"""

import re
import uuid

import pytest

from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.programs import Proxy
from support.replica import Replica

ROUTES = [
    ({"prefix": "/"}, "root"), ({"prefix": "/a"}, "a"), ({"prefix": "/a/b"}, "ab"),
    ({"prefix": "/", "hosts": ["exact.example"]}, "exact"),
    ({"prefix": "/", "hosts": ["*.wild.example"]}, "wild"),
    ({"prefix": "/only", "hosts": ["exact.example"]}, "only"),
]


@pytest.mark.parametrize("host, path, name", [
    ("any.example", "/", "root"), ("any.example", "/a", "a"), ("any.example", "/a/b/c?x=/", "ab"),
    ("any.example", "/ax", "a"), ("any.example", "/b", "root"), ("any.example", "/?/a/b", "root"),
    ("exact.example", "/", "exact"), ("exact.example:80", "/", "exact"), ("EXACT.example", "/", "exact"),
    ("exact.example", "/only/x", "only"), ("any.example", "/only/x", "root"),
    ("x.wild.example", "/", "wild"), ("x.y.wild.example", "/", "wild"),
    ("wild.example", "/", "root"), ("xwild.example", "/", "root"),
])
def test_which_route_takes_it(routed, host, path, name):
    for client_class in (H1Client, H2Client):
        with client_class(routed.address) as client:
            where = {"host": host} if client_class is H1Client else {"authority": host}
            stream = client.request("GET", path, **where)
            answer = stream.response() if stream else client.response()
        assert (answer.status, answer.body.decode()) == (200, name)


@pytest.fixture(scope="module")
def routed():
    fakes = {name: Replica(handler=lambda request, name=name: request.respond(body=name.encode()))
             for _, name in ROUTES}
    config = proxy_config([])
    config["listeners"][0]["routes"] = [{**match, "cluster": name} for match, name in ROUTES]
    config["clusters"] = [{"name": name, "replicas": {"static": [fake.address]}}
                          for name, fake in fakes.items()]
    proxy = Proxy(config)
    yield proxy
    complaints = proxy.finish()
    for fake in fakes.values():
        fake.close()
    assert not complaints


def test_no_route_is_404(replica):
    proxy = Proxy(proxy_config([replica()], route={"prefix": "/a", "hosts": ["x.example"]}))
    with H2Client(proxy.address) as client:
        for path, authority in (("/b", "x.example"), ("/a", "y.example")):
            answer = client.request("GET", path, authority=authority).response()
            assert (answer.status, answer.reason) == (404, "not_found")


INTERNAL = ["/metrics", "/health/live", "/health/ready?x", "/penstock/cancel", "//metrics", "/v1/../metrics",
            "/%6detrics", "/v1%2f..%2Fmetrics", "/health/./live",
            "/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics"]
UPGRADE = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-version", "13"),
           ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA==")]


@pytest.mark.parametrize("up", ["h1", "h2"])
def test_internal_paths_of_replicas_need_a_route_that_names_them(replica, up):
    fake = replica(up, handler=lambda request: request.respond())
    config = proxy_config([fake], cluster={"protocol": {"h1": "http1"}.get(up, "h2")})
    config["listeners"][0]["routes"].append(
        {"prefix": "/metrics", "hosts": ["operators.example"], "cluster": "m"})
    proxy = Proxy(config)
    for path in INTERNAL:
        for client_class, extra in [(H1Client, []), (H1Client, UPGRADE), (H2Client, [])]:
            with client_class(proxy.address) as client:
                answer = client.fetch("GET" if "cancel" not in path or extra else "POST", path, extra)
                assert (answer.status, answer.reason) == (404, "not_found"), (path, client_class, extra)
    assert not fake.requests
    with H1Client(proxy.address) as client:
        for path, host in [("/health", "any"), ("/v1/metrics", "any"), ("/metrics", "operators.example")]:
            assert client.fetch("GET", path, host=host).status == 200, path
    assert [request.path for request in fake.requests] == ["/health", "/v1/metrics", "/metrics"]


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
@pytest.mark.parametrize("up", ["h1", "h2"])
def test_what_the_replica_is_told(replica, client_class, up):
    fake = replica(up, handler=lambda request: request.respond(), sidecar=True)
    proxy = Proxy(proxy_config([fake], cluster={"protocol": {"h1": "http1"}.get(up, "h2")}))
    with client_class(proxy.address) as client:
        client.fetch("GET", "/x?y=z", [("user-agent", "test/1"), ("cookie", "a=b"), ("cookie", "c=d")])
        client.fetch("GET", "/", [("x-request-id", "mine-1"), ("x-forwarded-for", "10.1.2.3")])
    made, kept = fake.requests
    assert made.path == "/x?y=z" and made.header("user-agent") == "test/1"
    assert "a=b" in str(made.headers) and "c=d" in str(made.headers)
    assert uuid.UUID(made.header("x-request-id")).version == 4
    assert made.header("x-forwarded-for") == "127.0.0.1"
    assert made.header("x-forwarded-proto") == "http"
    assert re.fullmatch(r"[\x21-\x7e]+", made.attempt_id)
    assert kept.header("x-request-id") == "mine-1"
    assert kept.header("x-forwarded-for").replace(" ", "") == "10.1.2.3,127.0.0.1"
    assert made.attempt_id != kept.attempt_id
    host = made.header("host") if up == "h1" else made.authority
    assert host == "%s:%d" % proxy.address


CLAIMS = {"x-forwarded-proto": "https", "x-forwarded-host": "other.example", "x-forwarded-port": "443",
          "x-real-ip": "6.6.6.6", "forwarded": "for=6.6.6.6"}


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
@pytest.mark.parametrize("trusted", [[], ["127.0.0.0/8"], ["10.0.0.0/8", "::1"]],
                         ids=["none", "this_one", "others"])
def test_what_a_client_says_of_where_it_comes_from(replica, client_class, trusted):
    fake = replica(handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake], listener={"trusted_proxies": trusted}))
    sent = [*CLAIMS.items(), ("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.7"),
            ("x_forwarded_for", "7.7.7.7"), ("x_forwarded_proto", "https"), ("x_kept", "1")]
    with client_class(proxy.address) as client:
        client.fetch("GET", "/", sent)
    request = fake.request(0)
    assert request.header("x-forwarded-for") == "6.6.6.6, 203.0.113.7, 127.0.0.1"
    assert [name for name, _ in request.headers if "_" in name] == ["x_kept"]
    told = {name: request.header(name) for name in CLAIMS}
    host = "%s:%d" % proxy.address
    ours = f'for=127.0.0.1;host="{host}";proto=http'
    if trusted == ["127.0.0.0/8"]:
        assert told == {**CLAIMS, "forwarded": "for=6.6.6.6, " + ours}
    else:
        assert told == {"x-forwarded-proto": "http", "x-forwarded-host": host,
                        "x-forwarded-port": str(proxy.address[1]), "x-real-ip": "127.0.0.1",
                        "forwarded": ours}


@pytest.mark.parametrize("sidecar,ids_of_the_second", [(True, 1), (False, 0)])
def test_a_client_cannot_give_itself_an_attempt_id(replica, sidecar, ids_of_the_second):
    fake = replica(handler=lambda request: request.respond(), sidecar=sidecar)
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        for _ in range(2):
            client.fetch(headers=[("x-penstock-attempt-id", "forged")])
    counts = [[n for n, _ in request.headers].count("x-penstock-attempt-id") for request in fake.requests]
    assert counts == [1, ids_of_the_second]
    assert all(request.attempt_id != "forged" for request in fake.requests)


@pytest.mark.parametrize("client_class", [H1Client, H2Client])
def test_of_several_request_ids_the_first_that_is_one_stays(replica, client_class):
    fake = replica(handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake]))
    with client_class(proxy.address) as client:
        for ids, kept in ((("mine", "other"), "mine"), (("no id", "mine"), "mine")):
            client.fetch("GET", "/", [("x-request-id", value) for value in ids])
            headers = fake.requests[-1].headers
            assert [value for name, value in headers if name == "x-request-id"] == [kept]


def test_local_replies_carry_the_request_id(replica):
    proxy = Proxy(proxy_config([replica()], route={"prefix": "/a"}))
    with H2Client(proxy.address) as client:
        assert client.fetch("GET", "/b", [("x-request-id", "mine-2")]).header(
            "x-request-id") == "mine-2"
        made = client.fetch("GET", "/b").header("x-request-id")
        assert uuid.UUID(made).version == 4
