"""What the proxy makes of its replicas' load reports.

Promised: it subscribes to the reports of each replica that turns out to be a sidecar; they show in
/clusters and in metrics; among equally loaded replicas one whose gate is free is preferred, and one
that drains gets nothing while another is known; a target below the predict concurrency is warned of,
and a replica that has more in flight than its target is counted. Whatever a replica says, or does not
say, requests go on, and a counter says why it is not believed.

Shown: the real sidecar, and replicas that count for themselves and say what the test wants.
"""

import pytest

from support.configs import proxy_config
from support.h2_client import H2Client
from support.models import EXAMPLES, stages_body, stages_model
from support.programs import Proxy, Sidecar
from support.reporting import GRPC, Reporter, framed, load_report, report
from support.settings import accepted, reload
from support.waiting import SLOWNESS, equals, eventually

LONG_MS = int(1500 * max(1, SLOWNESS))


def answer(request):
    request.respond(200, body=b"done")


def fetch(client, count=1):
    for _ in range(count):
        got = client.fetch("POST", "/x", body=b"x")
        assert got.status == 200, got


def source(proxy, replica):
    return load_report(proxy, replica.address)["source"]


def known_gates(proxy, replicas, **figures):
    """Waits until each replica's report has arrived, with these figures."""
    for replica, expected in replicas.items():
        eventually(lambda: expected.items() <= load_report(proxy, replica.address).items(),  # noqa: B023
                   f"{expected} of {replica.address}")


def test_it_subscribes_to_a_sidecar_and_shows_what_it_says(tmp_path):
    sidecar = Sidecar(stages_model(2, tmp_path), ["--concurrency-limit", 7])
    proxy = Proxy(proxy_config([sidecar], target=4))
    with H2Client(proxy.address) as client:
        assert load_report(proxy, sidecar.text_address)["source"] == "own"
        assert client.fetch(path="/predict", body=stages_body()).status == 200
        equals(lambda: load_report(proxy, sidecar.text_address)["source"], "stream")
        equals(lambda: sidecar.metric("penstock_load_report_streams"), 1)
        streams = [client.request(path="/predict", body=stages_body(predict_ms=LONG_MS))
                   for _ in range(3)]
        running = {"in_flight": 3, "limit": 7, "predict_in_flight": 2, "predict_concurrency": 2,
                   "gate_waiting": 1, "draining": False, "target_exceeded": 0}
        eventually(lambda: running.items() <= load_report(proxy, sidecar.text_address).items())
        shown = load_report(proxy, sidecar.text_address)
        assert shown["age_ms"] < 3000 and 0 < shown["mem_utilization"] <= 1
        assert all(stream.response().status == 200 for stream in streams)
        eventually(lambda: load_report(proxy, sidecar.text_address)["in_flight"] == 0)
    assert proxy.metric("penstock_load_reports_total", source="stream") > 1
    assert proxy.metric("penstock_load_reports_rejected_total") == 0
    assert proxy.metric("penstock_cluster_predict_concurrency") == 2


def test_it_does_not_ask_a_plain_server(replica):
    plain = replica(handler=answer)
    proxy = Proxy(proxy_config([plain], cluster={"health_check": {"interval": "50ms"}}))
    with H2Client(proxy.address) as client:
        fetch(client, 5)
    checks = plain.health_checks
    eventually(lambda: plain.health_checks > checks + 2)
    assert plain.subscriptions == []
    assert load_report(proxy, plain.address) == {"source": "own", "rejected": 0,
                                                 "target_exceeded": 0}


def test_a_health_check_is_enough_to_find_a_sidecar(replica):
    fake = replica(sidecar=True)
    Reporter(fake, in_flight=0)
    proxy = Proxy(proxy_config([fake], cluster={"health_check": {"interval": "50ms"}}))
    equals(lambda: source(proxy, fake), "stream")
    assert fake.requests == []


def test_the_subscription_ends_with_the_replica(replica):
    leaving, staying = replica(sidecar=True, handler=answer), replica(handler=answer)
    Reporter(leaving, in_flight=0)
    config = proxy_config([leaving, staying], cluster={"health_check": {"interval": "50ms"}})
    proxy = Proxy(config)
    equals(lambda: source(proxy, leaving), "stream")
    config["clusters"][0]["replicas"]["static"] = [staying.address]
    assert reload(proxy, config) is None
    eventually(lambda: leaving.subscriptions[0].peer_gone, "it hangs up")
    assert len(leaving.subscriptions) == 1


def test_among_equals_a_free_gate_is_preferred(replica):
    fakes = [replica(sidecar=True, handler=answer) for _ in range(3)]
    taken = {"predict_in_flight": 1, "gate_waiting": 1, "predict_concurrency": 1}
    free = {"predict_in_flight": 0, "gate_waiting": 0, "predict_concurrency": 1}
    reporters = {fake: Reporter(fake, **taken) for fake in fakes}
    proxy = Proxy(proxy_config(fakes, target=2, cluster={"health_check": {"interval": "50ms"}}))
    with H2Client(proxy.address) as client:
        for preferred in fakes:
            for fake in fakes:
                reporters[fake].say(**(free if fake is preferred else taken))
            known_gates(proxy, {fake: free if fake is preferred else taken for fake in fakes})
            before = [len(fake.requests) for fake in fakes]
            fetch(client, 6)
            got = [len(fake.requests) - count for fake, count in zip(fakes, before)]
            assert got == [6 if fake is preferred else 0 for fake in fakes]


def test_a_free_gate_is_no_reason_to_load_one_more_than_another(replica):
    fakes = [replica(sidecar=True) for _ in range(2)]
    free = {"predict_in_flight": 0, "gate_waiting": 0, "predict_concurrency": 4}
    taken = {"predict_in_flight": 4, "gate_waiting": 0, "predict_concurrency": 4}
    Reporter(fakes[0], **free)
    Reporter(fakes[1], **taken)
    proxy = Proxy(proxy_config(fakes, target=4, cluster={"health_check": {"interval": "50ms"}}))
    known_gates(proxy, {fakes[0]: free, fakes[1]: taken})
    with H2Client(proxy.address) as client:
        streams = [client.request(path="/x") for _ in range(4)]
        for fake in fakes:
            assert len(fake.wait_count(2)) == 2
            for request in fake.requests:
                request.respond()
        assert all(stream.response().status == 200 for stream in streams)


def test_one_that_says_it_drains_gets_nothing_while_another_is_known(replica):
    draining, staying = replica(sidecar=True), replica(sidecar=True)
    reporter = Reporter(draining, draining=1)
    Reporter(staying)
    proxy = Proxy(proxy_config([draining, staying], target=2,
                               cluster={"health_check": {"interval": "50ms"}}))
    known_gates(proxy, {draining: {"draining": True}, staying: {"draining": False}})
    with H2Client(proxy.address) as client:
        streams = [client.request(path="/x") for _ in range(5)]
        proxy.wait_queue(waiting=3, in_flight=2)
        assert len(staying.wait_count(2)) == 2
        staying.request(0).respond()
        staying.request(2)
        assert draining.requests == []
        reporter.say(draining=0)
        draining.wait_count(2)
        for request in staying.requests + draining.requests:
            request.answered.is_set() or request.respond()
        assert all(stream.response().status == 200 for stream in streams)


def test_a_sidecar_under_two_addresses_gets_its_target_once():
    sidecar = Sidecar(EXAMPLES / "stages", ["--concurrency-limit", 1], listen="0.0.0.0:0")
    port = sidecar.address[1]
    addresses = [f"127.0.0.{host}:{port}" for host in (1, 2)]
    proxy = Proxy(proxy_config(addresses, cluster={"health_check": {"interval": "50ms"}}))
    proxy.wait_log("two replicas are one process: only one of the two addresses is used")
    with H2Client(proxy.address) as client:
        streams = [client.request(path="/predict", body=stages_body(predict_ms=20))
                   for _ in range(10)]
        assert [stream.response().status for stream in streams] == [200] * 10
    assert proxy.metric("penstock_cluster_replica_refusals_total", cluster="m") == 0
    assert proxy.metric("penstock_cluster_limit_exceeded_total", cluster="m") == 0


def test_a_sidecar_that_drains_is_left_alone_while_it_finishes():
    """Nothing is sent to it that it would have to refuse: not one request is put back."""
    sidecars = [Sidecar(EXAMPLES / "stages", ["--concurrency-limit", 4]) for _ in range(2)]
    leaving, _ = sidecars
    # The checks find out that they are sidecars, and come too seldom to find out anything else.
    proxy = Proxy(proxy_config(sidecars, target=4, cluster={"health_check": {"interval": "60s"}}))
    with H2Client(proxy.address) as client:
        for sidecar in sidecars:
            equals(lambda: load_report(proxy, sidecar.text_address)["source"], "stream")  # noqa: B023
        running = [client.request(path="/predict", body=stages_body(predict_ms=LONG_MS))
                   for _ in range(2)]
        eventually(lambda: load_report(proxy, leaving.text_address)["in_flight"] == 1)
        leaving.signal(15)
        eventually(lambda: load_report(proxy, leaving.text_address)["draining"])
        quick = [client.request(path="/predict", body=stages_body()) for _ in range(3)]
        assert {stream.response().status for stream in quick + running} == {200}
    assert proxy.metric("penstock_cluster_retries_total") == 0
    assert proxy.logged("no stream of load reports from a replica", why="finished") == []
    assert leaving.wait() == 0


def test_the_only_replica_is_used_whatever_it_says(replica):
    fake = replica(sidecar=True, handler=answer)
    Reporter(fake, draining=1, in_flight=9, predict_in_flight=9, predict_concurrency=1)
    proxy = Proxy(proxy_config([fake], cluster={"health_check": {"interval": "50ms"}}))
    known_gates(proxy, {fake: {"draining": True}})
    with H2Client(proxy.address) as client:
        fetch(client, 10)
    assert fake.max_in_flight == 1


# What a replica may say instead of a report; each: what it sends, and the counter that says so.
def named(name, value):
    return lambda stream: stream.send(framed(report(**{name: value})))


REJECTED = "penstock_load_reports_rejected_total"
ENDED = "penstock_load_report_streams_ended_total"
TWICE = report(in_flight=1) + report(in_flight=1)
WRONG_WIRE_TYPE = b"\x0a\x02hi"  # cpu_utilization as a string
LIES = {
    "nan": (named("in_flight", float("nan")), REJECTED, "not_finite"),
    "infinity": (named("gate_busy", float("inf")), REJECTED, "not_finite"),
    "huge": (named("in_flight", 1e300), REJECTED, "out_of_range"),
    "negative": (named("in_flight", -1), REJECTED, "out_of_range"),
    "half_a_request": (named("in_flight", 0.5), REJECTED, "wrong_type"),
    "twice": (lambda stream: stream.send(framed(TWICE)), REJECTED, "duplicate"),
    "string": (lambda stream: stream.send(framed(WRONG_WIRE_TYPE)), REJECTED, "wrong_type"),
    "noise": (lambda stream: stream.send(framed(b"\xff" * 9)), REJECTED, "syntax"),
    "one_megabyte": (lambda stream: stream.send(framed(b"x" * (1 << 20))), REJECTED, "too_long"),
    "compressed": (lambda stream: stream.send(framed(b"x", compressed=1)), ENDED, "unreadable"),
    "flood": (lambda stream: stream.send(framed(report()) * 2000), ENDED, "too_often"),
    "closes_at_once": (lambda stream: stream.die(), ENDED, "lost"),
    "refuses": (lambda stream: stream.finish([("grpc-status", "8")]), ENDED, "refused"),
    "unimplemented": (lambda stream: stream.finish([("grpc-status", "12")]), ENDED,
                      "unimplemented"),
    "never_answers": (lambda stream: None, ENDED, "silent"),
    "no_trailers": (lambda stream: stream.finish(), ENDED, "unreadable"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_replica_that_lies_is_counted_and_used(replica, lie):
    act, metric, reason = LIES[lie]
    fake = replica(sidecar=True, handler=answer)

    def on_subscribe(stream):
        stream.start(200, GRPC)
        act(stream)
    fake.on_subscribe = on_subscribe
    proxy = Proxy(proxy_config([fake], target=2, cluster={"health_check": {"interval": "50ms"}}))
    with H2Client(proxy.address) as client:
        fetch(client, 5)
        equals(lambda: proxy.metric(metric, reason=reason) >= 1, True)
        fetch(client, 5)
    shown = load_report(proxy, fake.address)
    if metric == REJECTED:
        assert shown["rejected"] >= 1
        assert "in_flight" not in shown, "nothing of it is kept"
        assert proxy.wait_log("a replica's load report cannot be believed")["why"] == reason
    else:
        proxy.wait_log("no stream of load reports from a replica", why=reason)
    assert proxy.metric("penstock_cluster_target_exceeded_total") == 0
    assert len(fake.requests) == 10


def test_where_there_is_no_such_service_it_is_not_asked_for_again_soon(replica):
    fake = replica(sidecar=True, handler=answer)
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        fetch(client)
        log = proxy.wait_log("no stream of load reports from a replica")
        fetch(client, 20)
    assert (log["why"], log["again_in_seconds"]) == ("unimplemented", 30)
    assert len(fake.subscriptions) == 1


def test_a_stale_report_is_not_believed_any_more(replica):
    fake = replica(sidecar=True, handler=answer)
    Reporter(fake, in_flight=1)
    proxy = Proxy(proxy_config([fake], cluster={"health_check": {"interval": "50ms"}}))
    equals(lambda: source(proxy, fake), "stream")
    equals(lambda: source(proxy, fake), "own")
    assert load_report(proxy, fake.address)["age_ms"] >= 3000
    eventually(lambda: proxy.metric(ENDED, reason="silent") >= 1)
    with H2Client(proxy.address) as client:
        fetch(client, 5)


FORMAT = "endpoint-load-metrics-format"
CARRIED = "endpoint-load-metrics"


def carrying(value):
    """Answers each request with a report, whether or not it asks for one."""
    return lambda request: request.respond(200, [(CARRIED, value)], b"done")


def text(**figures):
    return "TEXT " + ",".join(f"named_metrics.penstock.{name}={value}"
                              for name, value in figures.items())


def until_in_band(proxy, fake, client, **expected):
    """Sends requests until the proxy has read such a report; they may be too quick for each to count."""
    def read():
        got = client.fetch("POST", "/x")
        assert got.status == 200 and got.header(CARRIED) is None, got
        shown = load_report(proxy, fake.address)
        return shown["source"] == "in_band" and expected.items() <= shown.items()
    eventually(read)


def test_without_a_stream_answers_are_asked_for_a_report_each(replica):
    fake = replica(sidecar=True, handler=carrying(text(in_flight=1, limit=5)))
    proxy = Proxy(proxy_config([fake], target=2))
    with H2Client(proxy.address) as client:
        fetch(client)
        assert fake.requests[0].header(FORMAT) is None, "it is not known for a sidecar yet"
        proxy.wait_log("no stream of load reports from a replica", why="unimplemented")
        until_in_band(proxy, fake, client, in_flight=1, limit=5)
    assert {request.header(FORMAT) for request in fake.requests[1:]} == {"TEXT"}
    assert proxy.metric("penstock_load_reports_total", source="in_band") >= 1


def test_a_client_that_asks_for_itself_gets_its_own_form(replica):
    value = 'JSON {"named_metrics":{"penstock.in_flight":2}}'
    fake = replica(sidecar=True, handler=carrying(value))
    proxy = Proxy(proxy_config([fake], target=2, cluster={"health_check": {"interval": "50ms"}}))
    proxy.wait_log("no stream of load reports from a replica")
    with H2Client(proxy.address) as client:
        got = client.fetch("POST", "/x", [(FORMAT, "json")])
        assert got.header(CARRIED) == value
        assert fake.requests[0].header(FORMAT) == "json"
        equals(lambda: source(proxy, fake), "in_band")
        assert load_report(proxy, fake.address)["in_flight"] == 2
        assert client.fetch("POST", "/x").header(CARRIED) is None


def test_while_a_stream_tells_more_answers_are_not_asked(replica):
    fake = replica(sidecar=True, handler=carrying(text(in_flight=2)))
    reporter = Reporter(fake, in_flight=1)
    proxy = Proxy(proxy_config([fake], target=2, cluster={"health_check": {"interval": "50ms"}}))
    equals(lambda: source(proxy, fake), "stream")
    with H2Client(proxy.address) as client:
        reporter.say(in_flight=0)
        known_gates(proxy, {fake: {"in_flight": 0}})
        got = client.fetch("POST", "/x")
        assert fake.requests[0].header(FORMAT) is None
        assert got.header(CARRIED) == text(in_flight=2), "what was not asked for is the client's"
        # Stale: from here on it is asked for, until a stream is there again.
        equals(lambda: source(proxy, fake), "own")
        fake.on_subscribe = None
        until_in_band(proxy, fake, client, in_flight=2)
        assert fake.requests[-1].header(FORMAT) == "TEXT"
        Reporter(fake, in_flight=0)
        equals(lambda: source(proxy, fake), "stream")
        client.fetch("POST", "/x")
        assert fake.requests[-1].header(FORMAT) is None


def test_what_a_plain_server_says_is_the_clients(replica):
    plain = replica(handler=carrying("TEXT cpu_utilization=0.3"))
    proxy = Proxy(proxy_config([plain]))
    with H2Client(proxy.address) as client:
        for headers in ([], [(FORMAT, "TEXT")], []):
            got = client.fetch("POST", "/x", headers)
            assert got.header(CARRIED) == "TEXT cpu_utilization=0.3"
    assert [request.header(FORMAT) for request in plain.requests] == [None, "TEXT", None]
    assert proxy.metric("penstock_load_reports_total") == 0


def test_a_request_that_is_sent_again_asks_each_replica_anew(replica):
    """The refusing one has no stream, the other has: only the former is asked for a report."""
    refusing = replica(sidecar=True, handler=lambda request: request.refuse())
    other = replica(sidecar=True, handler=carrying(text(in_flight=1)))
    Reporter(refusing, predict_in_flight=0, predict_concurrency=1)
    Reporter(other, predict_in_flight=1, predict_concurrency=1)
    refusing.on_subscribe = None
    proxy = Proxy(proxy_config([refusing, other], target=2,
                               cluster={"health_check": {"interval": "50ms"}}))
    equals(lambda: source(proxy, other), "stream")
    proxy.wait_log("no stream of load reports from a replica", address=refusing.address)
    with H2Client(proxy.address) as client:
        def sent_again():
            assert client.fetch("POST", "/x").status == 200
            return refusing.requests
        eventually(sent_again)
    assert refusing.requests[0].header(FORMAT) == "TEXT"
    assert {request.header(FORMAT) for request in other.requests} == {None}


CARRIED_LIES = {
    "not_finite": "TEXT named_metrics.penstock.in_flight=nan",
    "out_of_range": "TEXT mem_utilization=7",
    "wrong_type": 'JSON {"cpu_utilization":"a lot"}',
    "duplicate": "TEXT cpu_utilization=0.1,cpu_utilization=0.1",
    "syntax": "JSON {",
    "too_long": "TEXT " + ",".join(f"named_metrics.m{i}=1" for i in range(70)),
}


@pytest.mark.parametrize("reason", CARRIED_LIES)
def test_a_lie_in_an_answer_is_counted_and_the_answer_delivered(replica, reason):
    fake = replica(sidecar=True, handler=carrying(CARRIED_LIES[reason]))
    proxy = Proxy(proxy_config([fake], target=2, cluster={"health_check": {"interval": "50ms"}}))
    proxy.wait_log("no stream of load reports from a replica")
    with H2Client(proxy.address) as client:
        got = client.fetch("POST", "/x")
        assert got.status == 200 and bytes(got.body) == b"done" and got.header(CARRIED) is None
        equals(lambda: proxy.metric(REJECTED, reason=reason), 1)
    assert source(proxy, fake) == "own"


def test_over_http1_a_sidecar_reports_with_its_answers(tmp_path):
    sidecar = Sidecar(stages_model(2, tmp_path), ["--concurrency-limit", 7])
    proxy = Proxy(proxy_config([sidecar], target=2, cluster={"protocol": "http1"}))
    with H2Client(proxy.address) as client:
        def read():
            got = client.fetch(path="/predict", body=stages_body())
            assert got.status == 200 and got.header(CARRIED) is None
            return load_report(proxy, sidecar.text_address)["source"] == "in_band"
        eventually(read)
        shown = load_report(proxy, sidecar.text_address)
        assert (shown["limit"], shown["predict_concurrency"]) == (7, 2)
    assert sidecar.metric("penstock_load_report_streams") == 0


def test_more_in_flight_than_the_target_is_counted(replica):
    fake = replica(sidecar=True, handler=answer)
    reporter = Reporter(fake, in_flight=2)
    proxy = Proxy(proxy_config([fake], target=2, cluster={"health_check": {"interval": "50ms"}}))
    known_gates(proxy, {fake: {"in_flight": 2}})
    assert proxy.metric("penstock_cluster_target_exceeded_total") == 0
    reporter.say(in_flight=3)
    equals(lambda: proxy.metric("penstock_cluster_target_exceeded_total"), 1)
    warned = proxy.wait_log("a replica has more requests in flight than the concurrency target")
    assert (warned["in_flight"], warned["concurrency_target"]) == (3, 2)
    assert load_report(proxy, fake.address)["target_exceeded"] == 1


def test_a_target_raised_and_lowered_between_two_reports_is_no_excess(replica):
    holding = replica(sidecar=True)
    reporter = Reporter(holding, in_flight=0)
    proxy = Proxy(proxy_config([holding], target=1, cluster={"health_check": {"interval": "50ms"}}))
    known_gates(proxy, {holding: {"in_flight": 0}})
    with H2Client(proxy.address) as client:
        accepted(proxy, {"concurrency_target": 4})
        streams = [client.request() for _ in range(4)]
        held = holding.wait_count(4)
        accepted(proxy, {"concurrency_target": 1})
        reporter.say(in_flight=4)
        known_gates(proxy, {holding: {"in_flight": 4}})
        for request in held:
            request.respond()
        assert [stream.response().status for stream in streams] == [200] * 4
    assert proxy.metric("penstock_cluster_target_exceeded_total") == 0


def test_a_target_below_the_predict_concurrency_is_warned_of(tmp_path):
    sidecar = Sidecar(stages_model(2, tmp_path))
    proxy = Proxy(proxy_config([sidecar], target=1, cluster={"health_check": {"interval": "50ms"}}))
    too_low = lambda: proxy.metric("penstock_cluster_target_below_predict_concurrency")  # noqa: E731
    equals(too_low, 1)
    warned = proxy.wait_log(
        "the concurrency target is below the predict concurrency of replicas, which cannot be reached")
    assert (warned["concurrency_target"], warned["predict_concurrency"]) == (1, 2)
    [shown] = proxy.cluster()["warnings"]
    assert "concurrency_target 1" in shown and "predict concurrency 2" in shown
    accepted(proxy, {"concurrency_target": 2})
    assert proxy.cluster()["warnings"] == []
    equals(too_low, 0)
