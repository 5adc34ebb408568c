"""Settings of a running proxy, changed as an operator does it, and its configuration file, reloaded."""

import json
import signal

import yaml

from . import readers
from .waiting import equals

JSON = ("content-type", "application/json")


def path_of(cluster):
    return f"/clusters/{cluster}/settings"


def settings(proxy, cluster="m"):
    page = readers.get(proxy.admin, path_of(cluster))
    assert page.status == 200, page
    return page.json()


def patch(proxy, change, cluster="m", headers=(), content_type=JSON):
    """change: a dict, or bytes as they are."""
    body = change if isinstance(change, bytes) else json.dumps(change).encode()
    fields = ([content_type] if content_type else []) + list(headers)
    return readers.get(proxy.admin, path_of(cluster), fields, "PATCH", body)


def accepted(proxy, change, cluster="m", **options):
    answer = patch(proxy, change, cluster, **options)
    assert (answer.status, answer.json()["result"]) == (200, "ACCEPTED"), answer
    return answer.json()["settings"]


def error_of(answer):
    error = answer.json()["error"]
    assert error["code"] == answer.status
    return error["message"]


def dump(proxy):
    page = readers.get(proxy.admin, "/config_dump")
    assert page.status == 200, page
    return page.json()


def sources(proxy, cluster="m"):
    return dump(proxy)["sources"][cluster]


def reload(proxy, config):
    """Writes the file anew and waits until the proxy has looked at it; returns the error, if any."""
    seen = reloads(proxy)
    with open(proxy.config_file, "w", encoding="utf-8") as file:
        file.write(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
    proxy.signal(signal.SIGHUP)
    count = sum(seen.values()) + 1
    equals(lambda: sum(reloads(proxy).values()), count, "the file has been read again")
    last = readers.get(proxy.admin, "/server_info").json()["config"]["last_reload"]
    assert last["success"] == ("error" not in last)
    assert proxy.metric("penstock_config_last_reload_success") == (1 if last["success"] else 0)
    return last.get("error")


def reloads(proxy):
    return {result: proxy.metric("penstock_config_reloads_total", result=result)
            for result in ("success", "failure")}


def bearer(token):
    return [("authorization", f"Bearer {token}")]


def tagged(number):
    return [("x-test-id", str(number))]
