"""SIGHUP reads the configuration file again.

Promised: settings of clusters and lists of static replicas are taken on without ending anything; overrides and
changes stay above the file; with anything else that differs, or a file that is wrong, the old configuration
stays wholly and the log says why; log, metrics and /server_info tell how it went.

Shown: the real proxy, its file rewritten under it.
"""

import copy
import os
import signal

import yaml

from support import readers
from support.configs import proxy_config
from support.h2_client import H2Client
from support.load import Load
from support.programs import Proxy, binary, run_to_end
from support.replica import Workers
from support.settings import (accepted, bearer, dump, patch, reload, reloads, settings, sources,
                              tagged)
from support.waiting import equals, eventually


def test_settings_are_taken_on(replica):
    fake = replica()
    config = proxy_config([fake], target=1)
    proxy = Proxy(config)
    with H2Client(proxy.address) as client:
        streams = [client.request(headers=tagged(number)) for number in range(3)]
        proxy.wait_queue(waiting=2, in_flight=1)
        config["clusters"][0].update(concurrency_target=3, queue={"max_requests": 0})
        assert reload(proxy, config) is None
        fake.wait_count(3)
        assert client.fetch().reason == "queue_full"
        for number in range(3):
            fake.request(number).respond()
        assert [stream.response().status for stream in streams] == [200] * 3
    assert settings(proxy)["queue"]["max_requests"] == 0
    assert sources(proxy)["concurrency_target"] == "file"
    assert reloads(proxy) == {"success": 1, "failure": 0}
    proxy.wait_log("configuration reloaded")
    proxy.wait_log("settings changed", by="reload")
    del config["clusters"][0]["queue"]
    assert reload(proxy, config) is None
    assert settings(proxy)["queue"]["max_requests"] == 1000
    assert sources(proxy)["queue.max_requests"] == "default"


def test_changes_and_overrides_stay_above_the_file(replica, tmp_path):
    overrides = tmp_path / "overrides.json"
    config = proxy_config([replica()], target=1,
                          admin={"address": "127.0.0.1:0", "overrides_file": str(overrides)})
    overrides.write_text('{"clusters": {"m": {"queue": {"max_requests": 5}}}}')
    proxy = Proxy(config)
    accepted(proxy, {"queue": {"timeout": "7s"}})
    config["clusters"][0].update(concurrency_target=2, queue={"max_requests": 6, "timeout": "6s"})
    assert reload(proxy, config) is None
    now = settings(proxy)
    assert now["concurrency_target"] == 2
    assert (now["queue"]["max_requests"], now["queue"]["timeout"]) == (5, "7s")
    came_from = sources(proxy)
    assert (came_from["queue.max_requests"], came_from["queue.timeout"]) == ("overrides", "patch")
    accepted(proxy, {"autoscaling": {"max_replicas": 3, "min_replicas": 3}})
    config["clusters"][0].update(concurrency_target=9, autoscaling={"max_replicas": 4})
    assert reload(proxy, config) is None
    accepted(proxy, {"autoscaling": {"max_replicas": None}})
    config["clusters"][0].update(concurrency_target=10, autoscaling={"max_replicas": 2})
    assert "expected at least min_replicas (3), got 2" in reload(proxy, config)
    assert settings(proxy)["concurrency_target"] == 9


def test_a_bad_file_changes_nothing(replica):
    config = proxy_config([replica()])
    proxy = Proxy(config)
    before = dump(proxy)
    broken = copy.deepcopy(config)
    broken["clusters"][0].update(concurrency_target=0, queue={"max_requests": 1})
    error = reload(proxy, broken)
    assert proxy.config_file in error
    assert "clusters[].concurrency_target: expected a whole number from 1" in error
    assert "not YAML" in reload(proxy, "listeners: [")
    os.unlink(proxy.config_file)
    proxy.signal(signal.SIGHUP)
    equals(lambda: reloads(proxy), {"success": 0, "failure": 3})
    assert "cannot read it" in proxy.wait_log("configuration not reloaded, the old one stays", 3)["error"]
    assert dump(proxy) == before
    assert readers.get(proxy.admin, "/server_info").json()["config"]["reloads"] == {
        "success": 0, "failure": 3}
    config["clusters"][0]["concurrency_target"] = 4
    assert reload(proxy, config) is None
    assert settings(proxy)["concurrency_target"] == 4


def test_what_needs_a_restart_is_named_and_nothing_is_taken_on(replica):
    config = proxy_config([replica()])
    proxy = Proxy(config)
    before = dump(proxy)
    changed = copy.deepcopy(config)
    changed["drain_timeout"] = "9s"
    changed["listeners"][0]["routes"][0]["timeout"] = "9s"
    changed["listeners"][0]["idle_timeout"] = "9s"
    changed["clusters"][0].update(concurrency_target=9, retry={"max_attempts": 1})
    changed["clusters"].append({**config["clusters"][0], "name": "new"})
    assert reload(proxy, changed) == (
        "only a restart changes clusters[m].retry.max_attempts, clusters[new], drain_timeout, "
        "listeners[ingress].idle_timeout, listeners[ingress].routes")
    assert dump(proxy) == before
    assert reloads(proxy) == {"success": 0, "failure": 1}


def test_clusters_that_share_a_replica_are_told_of(replica, tmp_path):
    """At --mode validate, at the start, after a reload, and in /clusters as long as it is so."""
    first, second = replica(), replica()
    config = proxy_config([first, second], target=2)
    config["clusters"].append({"name": "other", "concurrency_target": 3,
                               "replicas": {"static": [second.address]}})
    told = f'clusters "m", "other" share {second.address}: each replica there is sent up to 5 requests'
    file = tmp_path / "shared.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    code, _, errors = run_to_end([binary("penstock-proxy"), "-c", file, "--mode", "validate"])
    assert code == 0 and f"{file}: warning: {told}" in errors
    proxy = Proxy(config)
    assert proxy.wait_log("clusters share replicas")["why"].startswith(told)
    for name in ("m", "other"):
        [warning] = proxy.cluster(name)["warnings"]
        assert warning.startswith(told)
    config["clusters"][0]["replicas"]["static"] = [first.address]
    assert reload(proxy, config) is None
    eventually(lambda: proxy.cluster("m")["warnings"] == proxy.cluster("other")["warnings"] == [])
    config["clusters"][1]["replicas"]["static"] = [first.address]
    assert reload(proxy, config) is None
    assert f"share {first.address}: " in proxy.wait_log("clusters share replicas", 2)["why"]


def test_static_replicas_join_and_leave_under_load(replica):
    fakes = [replica(), replica(), replica()]
    for fake in fakes:
        fake.handler = Workers(lambda request: 0.003)
    config = proxy_config(fakes[:2], target=2)
    proxy = Proxy(config, workers=2)
    load = Load(proxy, 4, at_once=4)
    for members in [(0, 1, 2), (1, 2), (0,), (0, 1), (2,), (0, 1, 2)]:
        config["clusters"][0]["replicas"]["static"] = [fakes[i].address for i in members]
        assert reload(proxy, config) is None
        eventually(lambda: {r["address"] for r in proxy.cluster()["replicas"]}
                   == {fakes[i].address for i in members}, "the replicas are those of the file")
        counts = [len(fake.requests) for fake in fakes]
        for i in members:
            fakes[i].wait_count(counts[i] + 10)
        for i in set(range(3)) - set(members):
            assert len(fakes[i].requests) == counts[i], "one that has left gets nothing"
    assert load.stop() == {200}
    assert max(fake.max_in_flight for fake in fakes) == 2
    assert dump(proxy)["clusters"][0]["replicas"]["static"] == [fake.address for fake in fakes]
    proxy.wait_empty()


def test_a_replica_that_leaves_finishes_what_it_has(replica):
    old, new = replica(), replica()
    config = proxy_config([old], target=1)
    proxy = Proxy(config)
    with H2Client(proxy.address) as client:
        running = client.request(headers=tagged("running"))
        old.wait_count(1)
        waiting = client.request(headers=tagged("waiting"))
        proxy.wait_queue(waiting=1, in_flight=1)
        config["clusters"][0]["replicas"]["static"] = [new.address]
        assert reload(proxy, config) is None
        new.by_id("waiting").respond()
        assert waiting.response().status == 200
        states = {r["address"]: r["state"] for r in proxy.cluster()["replicas"]}
        assert states == {old.address: "draining", new.address: "ready"}
        old.by_id("running").respond()
        assert running.response().status == 200
        eventually(lambda: len(proxy.cluster()["replicas"]) == 1, "the old one is gone")
    assert old.ids == ["running"]


def test_one_that_is_back_at_once_gets_no_more_than_its_target(replica):
    fake, other = replica(), replica()
    config = proxy_config([fake], target=1)
    proxy = Proxy(config)
    with H2Client(proxy.address) as client:
        running = client.request(headers=tagged("running"))
        fake.wait_count(1)
        for address in (other.address, fake.address):
            config["clusters"][0]["replicas"]["static"] = [address]
            assert reload(proxy, config) is None
        assert [r["state"] for r in proxy.cluster()["replicas"]] == ["draining", "ready"]
        waiting = client.request(headers=tagged("waiting"))
        proxy.wait_queue(waiting=1, in_flight=1)
        fake.by_id("running").respond()
        fake.by_id("waiting").respond()
        assert [stream.response().status for stream in (running, waiting)] == [200] * 2
    assert fake.max_in_flight == 1
    assert proxy.cluster()["replicas"][0]["incarnation"] == 3


def test_the_token_is_read_again(replica, tmp_path):
    token_file = tmp_path / "token"
    token_file.write_text("the-first-of-the-secrets")
    config = proxy_config([replica()], admin={"address": "127.0.0.1:0",
                                              "token_file": str(token_file)})
    proxy = Proxy(config)
    token_file.write_text("the-second-of-the-secrets")
    assert reload(proxy, config) is None
    change = {"concurrency_target": 5}
    assert patch(proxy, change, headers=bearer("the-first-of-the-secrets")).status == 401
    accepted(proxy, change, headers=bearer("the-second-of-the-secrets"))
    token_file.write_text("short")
    assert "expected a token" in reload(proxy, config)
    accepted(proxy, {"concurrency_target": 6}, headers=bearer("the-second-of-the-secrets"))
