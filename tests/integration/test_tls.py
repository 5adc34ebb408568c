"""TLS towards clients and towards replicas.

Promised: ALPN picks h2 or http/1.1, strictly; TLS 1.2 or newer with ECDHE and AEAD only; no renegotiation; a
client CA makes a client certificate a must; replicas are verified by name and authority; SIGHUP takes on renewed
files, all or none.

Shown: certificates made for the test with openssl.
"""

import pathlib
import signal
import socket
import ssl

import pytest

from support import readers
from support.certificates import Certificates
from support.configs import proxy_config
from support.h1_client import H1Client
from support.h2_client import H2Client
from support.programs import Proxy
from support.reporting import Reporter, load_report
from support.waiting import equals, eventually, patience


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def tls(certificates, **more):
    return {"tls": {"certificate": certificates["server.crt"],
                    "private_key": certificates["server.key"], **more}}


@pytest.fixture
def secure(replica, certificates):
    fake = replica(handler=lambda request: request.respond(
        body=(request.header("x-forwarded-proto") or "").encode()))
    return Proxy(proxy_config([fake], listener=tls(certificates)))


def handshake(address, context):
    sock = socket.create_connection(address, patience(30))
    return context.wrap_socket(sock, server_hostname="localhost")


def refused(address, context):
    """Whether the handshake fails, or (TLS 1.3 tells late) the first read."""
    try:
        with handshake(address, context) as sock:
            sock.settimeout(patience(30))
            sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            return sock.recv(100) == b""
    except (ssl.SSLError, ConnectionError):
        return True


@pytest.mark.parametrize("alpn, chosen", [
    (["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"), (["http/1.1"], "http/1.1"),
    (["spdy/3", "http/1.1"], "http/1.1"), ([], None)])
def test_alpn_picks_the_protocol(secure, certificates, alpn, chosen):
    context = certificates.client(alpn)
    client_class = H2Client if chosen == "h2" else H1Client
    with client_class(secure.address, context) as client:
        assert client.sock.selected_alpn_protocol() == chosen
        for _ in range(3):
            answer = client.fetch(body=b"x" * 100000)
            assert (answer.status, answer.body) == (200, b"https")


def test_an_offer_without_a_protocol_of_ours_fails(secure, certificates):
    assert refused(secure.address, certificates.client(["spdy/3"]))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version, works", [
    (ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)])
def test_versions(secure, certificates, version, works):
    context = certificates.client(["http/1.1"])
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    assert refused(secure.address, context) != works


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA"])
def test_suites_without_forward_secrecy_or_aead_are_refused(secure, certificates, cipher):
    context = certificates.client(["http/1.1"])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher + ":@SECLEVEL=0")
    assert refused(secure.address, context)


def test_a_handshake_that_fails_is_counted_and_logged(replica, certificates):
    proxy = Proxy(proxy_config([replica()], listener=tls(certificates, client_ca=certificates["ca.crt"])))
    for _ in range(5):
        assert refused(proxy.address, certificates.client(["http/1.1"]))
    with socket.create_connection(proxy.address, patience(10)) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: plain.recv(1000) == b"", "no TLS: it is closed")
    equals(lambda: proxy.metric("penstock_listener_rejected_total", listener="ingress",
                                reason="tls_handshake"), 6)
    line = proxy.wait_log("a client's TLS handshake failed", listener="ingress")
    assert line["client"].startswith("127.0.0.1:")
    assert line["why"] == "handshake_failed: peer did not return a certificate"
    logged = proxy.logged("a client's TLS handshake failed")
    assert len(logged) + sum(line["not_logged"] for line in logged) <= 6


def test_a_client_ca_makes_a_certificate_a_must(replica, certificates):
    fake = replica(handler=lambda request: request.respond(body=b"in"))
    proxy = Proxy(proxy_config([fake], listener=tls(certificates, client_ca=certificates["ca.crt"])))
    assert refused(proxy.address, certificates.client(["http/1.1"]))
    assert refused(proxy.address, certificates.client(["http/1.1"], certificate="client-other"))
    with H2Client(proxy.address, certificates.client(certificate="client")) as client:
        assert client.fetch().body == b"in"
    assert len(fake.requests) == 1


def test_plain_text_on_a_tls_port_and_a_silent_client_harm_nobody(replica, certificates):
    fake = replica(handler=lambda request: request.respond(body=b"fine"))
    proxy = Proxy(proxy_config([fake], listener={
        **tls(certificates), "tls_handshake_timeout": "300ms"}))
    silent = socket.create_connection(proxy.address, patience(30))
    plain = socket.create_connection(proxy.address, patience(30))
    plain.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    plain.settimeout(patience(30))
    silent.settimeout(patience(30))
    with H1Client(proxy.address, certificates.client(["http/1.1"])) as client:
        assert client.fetch("GET").body == b"fine"
    try:
        while plain.recv(1000):
            pass
    except ConnectionError:
        pass
    assert silent.recv(1000) == b"", "the handshake timeout closes it"
    equals(lambda: proxy.metric("penstock_listener_connections", listener="ingress"), 0)


@pytest.mark.parametrize("alpn, protocol", [(["h2"], "HTTP/2"), (["http/1.1"], "HTTP/1.1")])
def test_replicas_over_tls(replica, certificates, alpn, protocol):
    fake = replica(tls=certificates.server(alpn), threaded=True,
                   handler=lambda request: request.respond(body=request.protocol.encode()))
    proxy = Proxy(proxy_config([fake], cluster={
        "tls": {"ca": certificates["ca.crt"], "server_name": "localhost"}}))
    with H2Client(proxy.address) as client:
        for _ in range(3):
            assert client.fetch(body=b"x" * 10000).body == protocol.encode()


@pytest.mark.parametrize("alpn, source", [(["h2"], "stream"), (["http/1.1"], "in_band")])
def test_load_reports_over_tls(replica, certificates, alpn, source):
    fake = replica(tls=certificates.server(alpn), threaded=True, sidecar=True,
                   handler=lambda request: request.respond(
                       headers=[("endpoint-load-metrics", "TEXT cpu_utilization=0.5")]))
    Reporter(fake)
    proxy = Proxy(proxy_config([fake], cluster={
        "tls": {"ca": certificates["ca.crt"], "server_name": "localhost"}}))
    with H2Client(proxy.address) as client:
        def reported():
            assert client.fetch().status == 200
            return load_report(proxy, fake.address)["source"] == source
        eventually(reported)
    if source == "stream":
        assert fake.subscriptions[0].authority == "localhost"


@pytest.mark.parametrize("ca, name, why", [
    ("other-ca.crt", "localhost", "unable to get local issuer certificate"),
    ("ca.crt", "wrong.example", "hostname mismatch"),
])
def test_a_replica_that_cannot_prove_who_it_is_gets_nothing(replica, certificates, ca, name, why):
    fake = replica(tls=certificates.server(), handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake], queue={"timeout": "500ms"}, cluster={
        "tls": {"ca": certificates[ca], "server_name": name}}))
    with H2Client(proxy.address) as client:
        assert client.fetch().status in (502, 503)
    assert not fake.requests
    error = proxy.cluster()["replicas"][0]["last_error"]
    assert error == f"handshake_failed: certificate verify failed: {why}"
    logged = proxy.wait_log("replica unhealthy", cluster="m")
    assert logged["why"] == f"cannot be connected to: {error}"
    tries = fake.accepted
    eventually(lambda: fake.accepted >= tries + 3, "it is tried again")
    assert len(proxy.logged("replica unhealthy", cluster="m")) == 1, "a connection without TLS proves nothing"


def test_renewed_certificates_are_taken_on(replica, tmp_path):
    old, new = (Certificates(tmp_path / name) for name in ("old", "new"))
    fake = replica(handler=lambda request: request.respond())
    proxy = Proxy(proxy_config([fake], listener=tls(old, client_ca=old["ca.crt"])))

    def reload(success):
        before = proxy.metric("penstock_config_reloads_total", result=success)
        proxy.signal(signal.SIGHUP)
        equals(lambda: proxy.metric("penstock_config_reloads_total", result=success), before + 1)

    before = old.client(certificate="client")
    with H2Client(proxy.address, before) as kept:
        assert kept.fetch().status == 200
        pathlib.Path(old["server.key"]).write_text(pathlib.Path(new["server.key"]).read_text())
        reload("failure")
        error = readers.get(proxy.admin, "/server_info").json()["config"]["last_reload"]["error"]
        assert error.startswith(f'listener "ingress": cannot use private key {old["server.key"]}')
        with H2Client(proxy.address, before) as client:
            assert client.fetch().status == 200, "the old ones stay"

        for name in ("server.crt", "ca.crt"):
            pathlib.Path(old[name]).write_text(pathlib.Path(new[name]).read_text())
        reload("success")
        with H2Client(proxy.address, new.client(certificate="client")) as client:
            assert client.fetch().status == 200
        assert refused(proxy.address, before), "another authority's server, and a stranger as client"
        assert kept.fetch().status == 200, "what is open stays"
    end = proxy.metric("penstock_listener_certificate_end_timestamp_seconds", listener="ingress")
    assert end == ssl.cert_time_to_seconds(new.end("server"))


def test_a_renewed_authority_of_replicas_is_taken_on(replica, certificates, tmp_path):
    authority = tmp_path / "ca.crt"
    authority.write_text(pathlib.Path(certificates["other-ca.crt"]).read_text())
    fake = replica(handler=lambda request: request.respond(), tls=certificates.server())
    proxy = Proxy(proxy_config([fake], queue={"timeout": "500ms"}, cluster={"tls": {"ca": str(authority)}}))
    with H2Client(proxy.address) as client:
        assert client.fetch().status in (502, 503)
        authority.write_text(pathlib.Path(certificates["ca.crt"]).read_text())
        proxy.signal(signal.SIGHUP)
        eventually(lambda: client.fetch().status == 200, "the replica is trusted")


def test_missing_files_are_a_configuration_error(certificates):
    config = proxy_config(["127.0.0.1:1"], listener=tls(certificates))
    config["listeners"][0]["tls"]["private_key"] = "/nowhere.key"
    proxy = Proxy(config, ready=False)
    assert proxy.wait() == 1
    assert "/nowhere.key" in proxy.tail()
