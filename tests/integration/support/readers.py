"""Reads the admin port and /metrics pages."""

import re

from .h1_client import H1Client

SAMPLE = re.compile(r'^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def get(address, path, headers=(), method="GET", body=b""):
    with H1Client(address) as client:
        return client.fetch(method, path, list(headers) + [("connection", "close")], body)


def samples(address):
    """Every sample of a Prometheus page: [(name, labels, value)]."""
    page = get(address, "/metrics")
    assert page.status == 200, page
    found = []
    for line in page.body.decode().splitlines():
        if not line or line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        assert match, f"not a sample: {line!r}"
        found.append((match[1], dict(LABEL.findall(match[2] or "")), float(match[3])))
    return found


def metric(address, name, /, **labels):
    """The sum of the samples of that name with (at least) those labels; None if there are none."""
    values = [value for sample, having, value in samples(address)
              if sample == name and all(having.get(k) == v for k, v in labels.items())]
    return sum(values) if values else None


def clusters(address):
    page = get(address, "/clusters")
    assert page.status == 200, page
    return page.json()["clusters"]


def cluster(address, name):
    for candidate in clusters(address):
        if candidate["name"] == name:
            return candidate
    raise AssertionError(f"no cluster {name} in /clusters")
