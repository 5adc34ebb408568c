"""Replicas behind a name.

Promised: the addresses that the name leads to get requests; new ones join, missing ones finish what they have;
one that is back before it has
finished gets no more than its target; the time to live is honoured within bounds; when nobody can say, the last good answer holds, of each question (A, AAAA,
a target of SRV records) its own; a name with nothing
behind it empties the cluster, who waits is served when there is something again; SRV records bring ports; an
endpoint counts once, whatever record it is in; an answer that was cut off is fetched over TCP.

Shown: a name server of the test's own, and replicas at 127.0.0.1, 127.0.0.2, 127.0.0.3 that count for themselves.
"""

import pytest

from support.configs import proxy_config
from support.certificates import Certificates
from support.dns_server import A, AAAA, SRV, DnsServer
from support.h2_client import H2Client
from support.programs import Proxy
from support.waiting import equals, eventually

NAME = "replicas.test"


@pytest.fixture
def dns():
    server = DnsServer()
    yield server
    server.close()


def start(dns, port=None, ready=0, environment=None, **more):
    where = {"port": port} if port else {"srv": True}
    proxy = Proxy(proxy_config([], cluster={"replicas": {"dns": {
        "name": NAME + ".", "resolvers": [dns.address], "min_refresh": "20ms", "max_refresh": "50ms",
        "timeout": "2s", **where, **more}}}), environment=environment)
    known(proxy, ready)
    return proxy


def known(proxy, count):
    equals(lambda: [r["state"] for r in proxy.cluster()["replicas"]], ["ready"] * count)


def addresses(proxy):
    return sorted(replica["address"] for replica in proxy.cluster()["replicas"])


def lookups(proxy, result):
    return proxy.metric("penstock_dns_lookups_total", cluster="m", result=result)


def more_lookups(proxy, result, count=2):
    before = lookups(proxy, result)
    eventually(lambda: lookups(proxy, result) >= before + count, f"{count} times {result}")


def ask(client):
    return client.request(path="/predict", body=b"x")


def test_the_fleet_grows_and_shrinks_with_the_answer(replica, dns):
    fakes = [replica(handler=lambda request: request.respond())]
    port = fakes[0].port
    for host in ("127.0.0.2", "127.0.0.3"):
        fakes.append(replica(handler=lambda request: request.respond(), host=host, port=port))
    dns.records = {(NAME, A): ["127.0.0.1"]}
    proxy = start(dns, port, ready=1)
    with H2Client(proxy.address) as client:
        for hosts in (["127.0.0.1", "127.0.0.2", "127.0.0.3"], ["127.0.0.3"], ["127.0.0.1"]):
            dns.records = {(NAME, A): hosts}
            streams = [ask(client) for _ in range(20)]
            equals(lambda hosts=hosts: addresses(proxy), [f"{host}:{port}" for host in hosts])
            streams += [ask(client) for _ in range(20)]
            assert [stream.response().status for stream in streams] == [200] * 40
    assert all(fake.max_in_flight <= 1 for fake in fakes)
    proxy.wait_empty()


def test_one_that_is_gone_finishes_what_it_has(replica, dns):
    fake = replica()
    dns.records = {(NAME, A): ["127.0.0.1"]}
    proxy = start(dns, fake.port, ready=1)
    with H2Client(proxy.address) as client:
        stream = ask(client)
        request = fake.request(0)
        dns.records = {}
        equals(lambda: [r["state"] for r in proxy.cluster()["replicas"]], ["draining"])
        request.respond(200, body=b"done")
        assert stream.response().body == b"done"
        known(proxy, 0)
        # Who comes now waits, and is served when the name leads somewhere again.
        waiting = ask(client)
        proxy.wait_queue(waiting=1)
        dns.records = {(NAME, A): ["127.0.0.1"]}
        fake.request(1).respond()
        assert waiting.response().status == 200


def test_one_that_is_back_at_once_gets_no_more_than_its_target(replica, dns):
    fake = replica()
    dns.records = {(NAME, A): ["127.0.0.1"]}
    proxy = start(dns, fake.port, ready=1)
    with H2Client(proxy.address) as client:
        running = ask(client)
        fake.wait_count(1)
        dns.records = {}
        equals(lambda: [r["state"] for r in proxy.cluster()["replicas"]], ["draining"])
        waiting = ask(client)
        proxy.wait_queue(waiting=1, in_flight=1)
        dns.records = {(NAME, A): ["127.0.0.1"]}
        equals(lambda: [r["state"] for r in proxy.cluster()["replicas"]], ["draining", "ready"])
        proxy.wait_queue(waiting=1, in_flight=1)
        for number, stream in enumerate((running, waiting)):
            fake.request(number).respond()
            assert stream.response().status == 200
    assert fake.max_in_flight == 1


@pytest.mark.parametrize("broken", ["servfail", "silent", "garbage", "wrong_id"])
def test_when_nobody_can_say_the_last_answer_holds(replica, dns, broken):
    fake = replica(handler=lambda request: request.respond())
    dns.records = {(NAME, A): ["127.0.0.1"]}
    proxy = start(dns, fake.port, ready=1, timeout="100ms")
    dns.broken = broken
    more_lookups(proxy, "failure")
    with H2Client(proxy.address) as client:
        assert ask(client).response().status == 200
    dns.broken = None
    proxy.wait_log("name found again")
    assert len(proxy.logged("name not found out; the last answer holds")) == 1


def test_an_error_of_one_family_and_nothing_of_the_other_empties_nothing(replica, dns):
    fake = replica(handler=lambda request: request.respond())
    dns.records = {(NAME, A): ["127.0.0.1"]}
    proxy = start(dns, fake.port, ready=1)
    dns.broken = {(NAME, A): "servfail"}
    dns.records = {(NAME, AAAA): []}
    more_lookups(proxy, "failure")
    assert [r["incarnation"] for r in proxy.cluster()["replicas"]] == [1]
    assert lookups(proxy, "empty") == 0
    with H2Client(proxy.address) as client:
        assert ask(client).response().status == 200


@pytest.mark.parametrize("broken", ["servfail", "silent"])
def test_a_family_without_an_answer_hinders_nobody(replica, dns, broken):
    fake = replica()
    replica(host="127.0.0.2", port=fake.port)
    dns.broken = {(NAME, AAAA): broken}
    dns.records = {(NAME, A): ["127.0.0.1"]}
    proxy = start(dns, fake.port, ready=1, timeout="100ms")
    dns.records = {(NAME, A): ["127.0.0.2"]}
    equals(lambda: addresses(proxy), [f"127.0.0.2:{fake.port}"])
    assert lookups(proxy, "partial") >= 2
    assert lookups(proxy, "addresses") == lookups(proxy, "failure") == 0
    message = proxy.wait_log("name found out in part; the last answer holds for the rest")
    assert message["why"].startswith(NAME + ". AAAA: ")


def test_of_a_replica_with_two_addresses_one_counts(replica, dns):
    fake = replica()
    dns.records = {(NAME, A): ["127.0.0.1"], (NAME, AAAA): ["::1"]}
    proxy = start(dns, fake.port, ready=1, family="ipv4")
    assert addresses(proxy) == [f"127.0.0.1:{fake.port}"]
    dns.broken = {(NAME, AAAA): "servfail"}
    dns.records = {}
    known(proxy, 0)


def test_a_target_that_nobody_can_find_keeps_its_address(replica, dns):
    fakes = [replica() for _ in range(3)]
    dns.records = {(NAME, SRV): [(1, fakes[0].port, "a.test"), (1, fakes[1].port, "b.test")],
                   ("a.test", A): ["127.0.0.1"], ("b.test", A): ["127.0.0.1"]}
    proxy = start(dns, ready=2)
    dns.broken = {("a.test", A): "servfail"}
    dns.records = {**dns.records, (NAME, SRV): [(1, fakes[0].port, "a.test"), (1, fakes[2].port, "b.test")]}
    equals(lambda: addresses(proxy), sorted(f"127.0.0.1:{fakes[i].port}" for i in (0, 2)))
    more_lookups(proxy, "partial")
    proxy.wait_log("addresses changed", joined=1, left=1)


def test_one_empty_answer_in_between_empties_nothing(replica, dns):
    fake = replica(handler=lambda request: request.respond())
    dns.records = {(NAME, A): ["127.0.0.1"]}
    proxy = start(dns, fake.port, ready=1, min_refresh="500ms", max_refresh="500ms")
    dns.records = {}
    more_lookups(proxy, "empty", 1)
    dns.records = {(NAME, A): ["127.0.0.1"]}
    more_lookups(proxy, "addresses", 1)
    assert [r["incarnation"] for r in proxy.cluster()["replicas"]] == [1]


def test_srv_records_bring_the_ports_and_the_best_priority_counts(replica, dns):
    fakes = [replica(handler=lambda request: request.respond()) for _ in range(3)]
    ports = [fake.port for fake in fakes]
    dns.records = {(NAME, SRV): [(1, ports[0], "a.test"), (1, ports[1], "b.test"),
                                 (2, ports[2], "a.test")],
                   ("a.test", A): ["127.0.0.1"], ("b.test", A): ["127.0.0.1"]}
    proxy = start(dns, ready=2)
    assert addresses(proxy) == sorted(f"127.0.0.1:{port}" for port in ports[:2])
    with H2Client(proxy.address) as client:
        assert [ask(client).response().status for _ in range(4)] == [200] * 4
    assert fakes[2].ids == []


def test_an_endpoint_counts_once(replica, dns):
    fake = replica(handler=lambda request: request.respond())
    dns.records = {(NAME, A): ["127.0.0.1", "127.0.0.1"], (NAME, AAAA): ["::ffff:127.0.0.1"]}
    proxy = start(dns, fake.port, ready=1)
    more_lookups(proxy, "addresses")
    assert len(addresses(proxy)) == 1


def test_a_cut_off_answer_is_fetched_over_tcp(replica, dns):
    fake = replica(handler=lambda request: request.respond())
    dns.truncate = True
    dns.records = {(NAME, A): ["127.0.0.1"]}
    start(dns, fake.port, ready=1)
    assert dns.over_tcp > 0


def test_an_answer_holds_for_its_time_to_live(replica, dns):
    fake = replica(handler=lambda request: request.respond())
    dns.ttl = 1000
    dns.records = {(NAME, A): ["127.0.0.1"]}
    proxy = start(dns, fake.port, ready=1, max_refresh="1h")
    assert lookups(proxy, "addresses") == 1
    with H2Client(proxy.address) as client:
        assert [ask(client).response().status for _ in range(50)] == [200] * 50
    assert lookups(proxy, "addresses") == 1


@pytest.mark.parametrize("name", ["localhost", "_http._tcp.localhost"])
def test_over_tls_the_name_is_verified_not_the_address(replica, dns, tmp_path, name):
    certificates = Certificates(tmp_path)
    fake = replica(tls=certificates.server(), handler=lambda request: request.respond())
    dns.records = {("_http._tcp.localhost", SRV): [(1, fake.port, "a.test")],
                   ("a.test", A): ["127.0.0.1"], (NAME, A): ["127.0.0.1"]}

    def proxy(name, **tls):
        where = {"srv": True} if name.startswith("_") else {"port": fake.port}
        return Proxy(proxy_config([], queue={"timeout": "500ms"}, cluster={
            "tls": {"ca": certificates["ca.crt"], **tls}, "replicas": {"dns": {
                "name": name, "resolvers": [dns.address], "family": "ipv4", **where}}}))

    named = proxy(name)
    known(named, 1)
    with H2Client(named.address) as client:
        assert ask(client).response().status == 200
    other = proxy(NAME + ".")
    known(other, 1)
    with H2Client(other.address) as client:
        assert ask(client).response().status == 503
    assert other.cluster()["replicas"][0]["last_error"] == (
        "handshake_failed: certificate verify failed: hostname mismatch"), "its address is right"
    assert len(fake.requests) == 1
    with H2Client(proxy(NAME + ".", server_name="localhost.").address) as client:
        assert ask(client).response().status == 200, "certificates have names without a final dot"


def test_localhost_needs_no_name_server(replica, dns):
    fake = replica(handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([], cluster={"replicas": {"dns": {
        "name": "localhost", "port": fake.port, "resolvers": [dns.address]}}}))
    eventually(lambda: f"127.0.0.1:{fake.port}" in addresses(proxy), "localhost is known")


@pytest.mark.parametrize("broken", ["servfail", "silent"])
def test_neither_a_dead_server_nor_a_domain_without_an_answer_hides_the_name(replica, dns, broken):
    fake = replica()
    dead = DnsServer()
    dead.broken = "silent"
    dns.records = {(NAME, A): ["127.0.0.1"]}
    dns.broken = {(NAME + ".corp.test", kind): broken for kind in (A, AAAA)}
    start(dns, fake.port, ready=1, name=NAME, resolvers=[dead.address, dns.address], timeout="3s",
          environment={"LOCALDOMAIN": "ns.test corp.test", "RES_OPTIONS": "ndots:5"})
    assert dead.questions
    dead.close()


def test_an_address_that_can_be_no_replica_is_refused_and_named(replica, dns):
    fake = replica()
    dns.records = {(NAME, A): ["0.0.0.0", "127.0.0.1", "224.0.0.1"], (NAME, AAAA): ["::", "fe80::1"]}
    proxy = start(dns, fake.port, ready=1)
    assert addresses(proxy) == [f"127.0.0.1:{fake.port}"]
    message = proxy.wait_log("addresses left out")
    for host in ("0.0.0.0", "224.0.0.1", "[::]", "[fe80::1]"):
        assert f"{host}:{fake.port} (" in message["why"]
    assert message["why"] in proxy.cluster()["warnings"]
    dns.records = {(NAME, A): ["127.0.0.1"]}
    equals(lambda: message["why"] in proxy.cluster()["warnings"], False)
