"""Settings that change while the proxy serves.

Promised: GET and PATCH /clusters/NAME/settings; a change is strict and all or nothing, answered ACCEPTED or
UNCHANGED; a raised target takes waiters at once, a lowered one ends nothing and holds as soon as what ran too
much has ended; lower bounds drop nobody who waits; accepted changes survive a restart where there is an
overrides file, and are not made if it cannot be written; a broken overrides file stops the start with its
place; changes are for loopback or who has the token, and for no page of another site; /config_dump tells where
each value comes from.

Shown: the real proxy in front of replicas that count for themselves.
"""

import json
import os

import pytest

from support import readers
from support.configs import proxy_config
from support.h2_client import H2Client
from support.load import Load
from support.programs import Proxy, binary, run_to_end
from support.replica import Workers
from support.settings import (JSON, accepted, bearer, dump, error_of, patch, path_of, settings, sources,
                              tagged)
from support.waiting import eventually

DEFAULTS = {
    "concurrency_target": 1,
    "queue": {"max_requests": 1000, "max_bytes": "256MiB", "timeout": "10m"},
    "autoscaling": {"min_replicas": 1, "max_replicas": 1, "window": "1m", "scale_down_delay": "15m",
                    "target_utilization": 70, "max_scale_down_rate": 50},
}


def test_they_are_shown_and_changed(replica):
    proxy = Proxy(proxy_config([replica()]))
    assert settings(proxy) == DEFAULTS
    now = accepted(proxy, {"concurrency_target": 3, "queue": {"timeout": "90s"},
                           "autoscaling": {"min_replicas": 0, "max_replicas": 4}})
    assert now == settings(proxy)
    assert now == {**DEFAULTS, "concurrency_target": 3,
                   "queue": {**DEFAULTS["queue"], "timeout": "90s"},
                   "autoscaling": {**DEFAULTS["autoscaling"], "min_replicas": 0, "max_replicas": 4}}
    cluster = proxy.cluster()
    assert (cluster["concurrency_target"], cluster["queue"]["timeout_seconds"]) == (3, 90)
    again = patch(proxy, now)
    assert again.status == 200 and again.json() == {"result": "UNCHANGED", "settings": now}
    assert accepted(proxy, {"concurrency_target": None, "queue": None,
                            "autoscaling": None}) == DEFAULTS
    first = proxy.wait_log("settings changed", cluster="m", by="patch")
    assert "concurrency_target 1 → 3, queue.timeout 10m → 90s" in first["changes"]
    proxy.wait_log("settings changed", count=2, cluster="m", by="patch")
    assert len(proxy.logged("settings changed")) == 2


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_a_raised_target_takes_waiters_at_once(replica, workers):
    fake = replica()
    proxy = Proxy(proxy_config([fake]), workers=workers)
    with H2Client(proxy.address) as one, H2Client(proxy.address) as other:
        streams = []
        for number in range(6):
            streams.append((one, other)[number % 2].request(headers=tagged(number)))
            proxy.wait_queue(waiting=number, in_flight=1)
        accepted(proxy, {"concurrency_target": 4})
        fake.wait_count(4)
        proxy.wait_queue(waiting=2, in_flight=4)
        assert sorted(fake.ids) == ["0", "1", "2", "3"]
        for number in range(6):
            fake.by_id(str(number)).respond()
        assert [stream.response().status for stream in streams] == [200] * 6
    assert fake.max_in_flight == 4
    proxy.wait_empty()


def test_a_lowered_target_ends_nothing(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake], target=4))
    with H2Client(proxy.address) as client:
        streams = [client.request(headers=tagged(number)) for number in range(6)]
        proxy.wait_queue(waiting=2, in_flight=4)
        accepted(proxy, {"concurrency_target": 1})
        for number in range(3):
            fake.request(number).respond()
            proxy.wait_queue(waiting=2, in_flight=3 - number)
        assert len(fake.ids) == 4, "slots beyond the target are not handed on"
        fake.request(3).respond()
        fake.request(4).respond()
        fake.request(5).respond()
        assert [stream.response().status for stream in streams] == [200] * 6
    proxy.wait_empty()


@pytest.mark.parametrize("workers", [1, 4])
def test_the_target_goes_up_and_down_under_load(replica, workers):
    fakes = [replica(), replica()]
    for fake in fakes:
        fake.handler = Workers(lambda request: 0.003)
    proxy = Proxy(proxy_config(fakes, target=8), workers=workers)
    load = Load(proxy, 6, at_once=4)
    for target in [1, 6, 2, 8, 1, 3, 7, 2]:
        accepted(proxy, {"concurrency_target": target})
        eventually(lambda: all(r["in_flight"] <= target for r in proxy.cluster()["replicas"]),
                   "what ran too much has ended")
        counts = []
        for fake in fakes:
            with fake.lock:
                fake.max_in_flight = fake.in_flight
                counts.append(len(fake.requests))
        for fake, count in zip(fakes, counts):
            fake.wait_count(count + 40)
        for fake in fakes:
            with fake.lock:
                assert fake.max_in_flight <= target
        eventually(lambda: any(fake.max_in_flight == target for fake in fakes),
                   "the target is made use of")
    assert load.stop() == {200} and len(load.statuses) > 600
    proxy.wait_empty()


def test_lower_bounds_drop_nobody_who_waits(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        streams = [client.request(headers=tagged(number), body=b"x" * 1000) for number in range(6)]
        proxy.wait_queue(waiting=5, in_flight=1)
        accepted(proxy, {"queue": {"max_requests": 2}})
        refused = client.fetch(body=b"x")
        assert (refused.status, refused.reason) == (429, "queue_full")
        accepted(proxy, {"queue": {"max_requests": 6, "max_bytes": "2KiB"}})
        refused = client.fetch(body=b"x")
        assert (refused.status, refused.reason) == (429, "queue_bytes_full")
        accepted(proxy, {"queue": {"max_bytes": "1MiB"}})
        streams.append(client.request(headers=tagged(6), body=b"x"))
        proxy.wait_queue(waiting=6, in_flight=1)
        for number in range(7):
            fake.request(number).respond()
        assert [stream.response().status for stream in streams] == [200] * 7
    assert fake.ids == [str(number) for number in range(7)]


def test_another_timeout_is_for_who_comes_later(replica):
    fake = replica()
    proxy = Proxy(proxy_config([fake]))
    with H2Client(proxy.address) as client:
        streams = [client.request(headers=tagged(number)) for number in range(2)]
        proxy.wait_queue(waiting=1, in_flight=1)
        accepted(proxy, {"queue": {"timeout": "50ms"}})
        late = client.fetch()
        assert (late.status, late.reason) == (503, "queue_timeout")
        proxy.wait_queue(waiting=1, in_flight=1)
        for number in range(2):
            fake.request(number).respond()
        assert [stream.response().status for stream in streams] == [200] * 2


def test_the_autoscaler_follows(replica):
    proxy = Proxy(proxy_config([replica()], cluster={"autoscaling": {"max_replicas": 5}}))
    accepted(proxy, {"autoscaling": {"min_replicas": 3}, "concurrency_target": 7})
    shown = readers.get(proxy.admin, "/autoscaler").json()["clusters"][0]
    assert shown["settings"]["min_replicas"] == 3 and shown["settings"]["concurrency_target"] == 7
    assert shown["latest"]["replicas"] == 3


BAD = [
    ({"concurrency_target": 0}, "concurrency_target: expected a whole number from 1 to 1000000"),
    ({"concurrency_target": 5, "queue": {"timeout": 60}}, "queue.timeout: expected a duration"),
    ({"concurrency_target": 5, "queue": {"max_byte": "1MiB"}}, 'did you mean "max_bytes"?'),
    ({"concurrency_target": 5, "autoscaling": {"min_replicas": 2}},
     "autoscaling.max_replicas: expected at least min_replicas (2), got 1"),
    ({"concurrency_target": 5, "replicas": {}}, 'unknown key "replicas"'),
    ([5], "expected a JSON object"),
    (b'{"concurrency_target": 5, "concurrency_target": 6}', "expected each key once"),
    (b"concurrency_target: 5", "expected JSON"),
    (b"", "expected JSON"),
]


def test_what_is_wrong_changes_nothing(replica, tmp_path):
    overrides = tmp_path / "overrides.json"
    admin = {"address": "127.0.0.1:0", "overrides_file": str(overrides)}
    proxy = Proxy(proxy_config([replica()], admin=admin))
    before = dump(proxy)
    for change, expected in BAD:
        answer = patch(proxy, change)
        assert answer.status == 400, change
        assert expected in error_of(answer)
    assert dump(proxy) == before
    assert not overrides.exists()
    assert not proxy.logged("settings changed")


def test_other_requests_are_refused(replica):
    proxy = Proxy(proxy_config([replica()]))
    change = {"concurrency_target": 5}
    assert patch(proxy, change, cluster="other").status == 404
    assert readers.get(proxy.admin, path_of("other")).status == 404
    for method in ("POST", "PUT", "DELETE"):
        answer = readers.get(proxy.admin, path_of("m"), [JSON], method, b"{}")
        assert (answer.status, answer.header("allow")) == (405, "GET, HEAD, PATCH")
    assert readers.get(proxy.admin, "/clusters", [JSON], "PATCH", b"{}").status == 405
    assert patch(proxy, b" " * 65534 + b"{}").status == 200
    assert patch(proxy, b" " * 65535 + b"{}").status == 413
    for wrong in (None, ("content-type", "text/plain"),
                  ("content-type", "application/x-www-form-urlencoded")):
        assert patch(proxy, change, content_type=wrong).status == 415
    for origin in ("https://evil.example", "null"):
        assert patch(proxy, change, headers=[("origin", origin)]).status == 403
    assert settings(proxy) == DEFAULTS
    own = "http://%s:%d" % proxy.admin
    accepted(proxy, change, headers=[("origin", own)])


def test_changes_survive_a_restart(replica, tmp_path):
    fake = replica()
    overrides = tmp_path / "overrides.json"
    config = proxy_config([fake], target=2, queue={"timeout": "5s"},
                          admin={"address": "127.0.0.1:0", "overrides_file": str(overrides)})
    proxy = Proxy(config)
    accepted(proxy, {"concurrency_target": 4, "queue": {"max_requests": 9, "timeout": "6s"}})
    now = accepted(proxy, {"queue": {"timeout": "5s"}})
    assert json.loads(overrides.read_text()) == {
        "clusters": {"m": {"concurrency_target": 4, "queue": {"max_requests": 9}}}}
    assert os.listdir(tmp_path) == ["overrides.json"]
    came_from = sources(proxy)
    assert (came_from["concurrency_target"], came_from["queue.timeout"]) == ("patch", "file")
    assert came_from["queue.max_bytes"] == "default"
    assert proxy.stop() == 0

    proxy = Proxy(config)
    assert settings(proxy) == now and proxy.cluster()["concurrency_target"] == 4
    came_from = sources(proxy)
    assert (came_from["concurrency_target"], came_from["queue.timeout"]) == ("overrides", "file")
    with H2Client(proxy.address) as client:
        streams = [client.request() for _ in range(5)]
        proxy.wait_queue(waiting=1, in_flight=4)
        for number in range(5):
            fake.request(number).respond()
        assert [stream.response().status for stream in streams] == [200] * 5
    accepted(proxy, {"concurrency_target": None, "queue": None})
    assert json.loads(overrides.read_text()) == {"clusters": {}}
    assert sources(proxy)["concurrency_target"] == "file"


def test_what_cannot_be_kept_is_not_changed(replica, tmp_path):
    folder = tmp_path / "gone"
    admin = {"address": "127.0.0.1:0", "overrides_file": str(folder / "overrides.json")}
    proxy = Proxy(proxy_config([replica()], admin=admin))
    answer = patch(proxy, {"concurrency_target": 5})
    assert answer.status == 500 and "No such file or directory" in error_of(answer)
    assert settings(proxy) == DEFAULTS and sources(proxy)["concurrency_target"] == "file"
    folder.mkdir()
    accepted(proxy, {"concurrency_target": 5})


def test_a_broken_overrides_file_stops_the_start(replica, tmp_path):
    overrides = tmp_path / "overrides.yaml"
    admin = {"address": "127.0.0.1:0", "overrides_file": str(overrides)}
    config = proxy_config([replica()], admin=admin)
    config_file = tmp_path / "proxy.yaml"
    config_file.write_text(json.dumps(config))
    for text, expected in [
            ("clusters:\n  m: {concurrency_target: none}\n",
             ":2:27: clusters.m.concurrency_target: expected a whole number from 1"),
            ("clusters: {m: {listeners: []}}\n", ':1:16: clusters.m: unknown key "listeners"'),
            ("clusters: {m: {autoscaling: {min_replicas: 9}}}\n",
             ":1:15: clusters.m: autoscaling.max_replicas: expected at least min_replicas (9)"),
            ('{"clusters": {"m": {"concurrency', "not YAML"),
            ("", ":1:1: expected a mapping")]:
        overrides.write_text(text)
        for mode in ("serve", "validate"):
            code, _, stderr = run_to_end(
                [binary("penstock-proxy"), "-c", config_file, "--mode", mode])
            assert code == 1 and str(overrides) in stderr and expected in stderr, stderr

    overrides.write_text("clusters: {gone: {concurrency_target: 5}, m: {concurrency_target: 6}}\n")
    proxy = Proxy(config)
    proxy.wait_log("overrides of an unknown cluster are ignored", cluster="gone")
    assert settings(proxy)["concurrency_target"] == 6


def test_from_afar_changes_need_the_token(replica, tmp_path):
    change = {"concurrency_target": 5}
    proxy = Proxy(proxy_config([replica()], admin={"address": "0.0.0.0:0"}))
    assert patch(proxy, change).status == 403
    assert patch(proxy, change, headers=bearer("0123456789abcdef")).status == 403
    assert settings(proxy) == DEFAULTS

    token_file = tmp_path / "token"
    token_file.write_text("a-secret-of-the-operators\n")
    for address in ("0.0.0.0:0", "127.0.0.1:0"):
        proxy = Proxy(proxy_config([replica()], admin={"address": address,
                                                       "token_file": str(token_file)}))
        for headers in ([], bearer("another-secret-of-the-operators"), bearer("")):
            answer = patch(proxy, change, headers=headers)
            assert (answer.status, answer.header("www-authenticate")) == (401, "Bearer")
        assert settings(proxy) == DEFAULTS
        accepted(proxy, change, headers=bearer("a-secret-of-the-operators"))
        assert "secret" not in proxy.tail() + json.dumps(dump(proxy))


def test_a_token_that_is_none_stops_the_start(replica, tmp_path):
    token_file = tmp_path / "token"
    admin = {"address": "127.0.0.1:0", "token_file": str(token_file)}
    for text, expected in [("short", "expected a token"), (None, "cannot read it")]:
        token_file.unlink(missing_ok=True)
        if text:
            token_file.write_text(text)
        proxy = Proxy(proxy_config([replica()], admin=admin), ready=False)
        assert proxy.wait() == 1
        assert expected in proxy.wait_log("cannot start")["error"]
