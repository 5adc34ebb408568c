"""What bodies may hold, and what becomes of the odd ones.

Promised: answers are always valid JSON (NaN and infinity are null); of duplicate keys the last wins; invalid
UTF-8 and nesting of 10 000 are 400 and never a dead worker; 64 MiB pass in and out, in JSON and binary, and
more is 413; memory files are gone afterwards.

Shown: a model that sends its input back, over both protocols and through the proxy.
"""

import hashlib
import json

import msgpack
import pytest

from support.h2_client import H2Client
from support.truss import Served, body_files, truss
from support.waiting import SLOWNESS, eventually

MIB = 1 << 20
MOST = 64 * MIB if SLOWNESS <= 1 else 8 * MIB
OCTETS = [("content-type", "application/octet-stream")]

MODEL = """
    import hashlib
    import math

    class Model:
        def predict(self, inputs):
            if isinstance(inputs, dict) and inputs.get("do") == "odd":
                return {"nan": math.nan, "more": [math.inf, -math.inf, 1.5], "in": {"a": (math.nan,)}}
            if isinstance(inputs, dict) and inputs.get("do") == "unknown":
                return {"object": object()}
            if isinstance(inputs, dict) and inputs.get("do") == "deep":
                value = []
                for _ in range(10_000):
                    value = [value]
                return value
            if isinstance(inputs, dict) and "digest" in inputs:
                return hashlib.sha256(inputs["digest"]).hexdigest()
            return inputs
"""


@pytest.fixture(scope="module", params=Served.WAYS)
def served(request, tmp_path_factory):
    started = Served(truss(tmp_path_factory.mktemp("bodies"), MODEL), request.param)
    yield started
    for program in (started.proxy, started.sidecar):
        assert program is None or not program.finish()


def strict(text):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")
    return json.loads(text, parse_constant=refuse)


def test_nan_and_infinity_become_null(served):
    answer = served.fetch(b'{"do": "odd"}')
    assert strict(answer.body) == {"nan": None, "more": [None, None, 1.5], "in": {"a": [None]}}


def test_of_duplicate_keys_the_last_wins(served):
    assert served.fetch(b'{"a": 1, "a": 2, "a": 3}').json() == {"a": 3}


@pytest.mark.parametrize("body", [b'{"a": "\xff"}', b"\xc3\x28", b'"\xed\xa0\x80"', b"[" * 10_000,
                                  b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000],
                         ids=["utf8", "utf8-2", "surrogate", "open", "deep", "deep-objects"])
def test_invalid_utf8_and_bottomless_nesting_are_400(served, body):
    worker = served.worker()
    answer = served.fetch(body)
    assert answer.status == 400, answer
    assert answer.header("x-baseten-error-code") == "700"
    assert "error" in strict(answer.body)
    assert served.worker() == worker


@pytest.mark.parametrize("what", ["deep", "unknown"])
def test_an_answer_that_has_no_json_is_a_500(served, what):
    answer = served.fetch(b'{"do": "%s"}' % what.encode())
    assert answer.status == 500 and "error" in strict(answer.body)


def test_the_largest_body_passes_both_ways(served):
    value = "0123456789abcdef" * ((MOST - 2) // 16)
    body = json.dumps(value).encode()
    answer = served.fetch(body, timeout=60)
    assert answer.status == 200
    assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()


def test_a_large_binary_body(served):
    data = bytes(range(256)) * (MOST // 512)
    answer = served.fetch(msgpack.packb({"digest": data}), headers=OCTETS, timeout=60)
    assert msgpack.unpackb(answer.body) == hashlib.sha256(data).hexdigest()


def test_more_than_the_largest_is_413(served):
    fields = [("content-length", str(64 * MIB + 1))]
    with served.client_class(served.address) as client:
        if isinstance(client, H2Client):
            answer = client.request("POST", "/predict", fields, end=False).head()
        else:
            client.begin("POST", "/predict", fields)
            answer = client.response("POST")
    assert answer.status == 413


def test_memory_files_are_gone_afterwards(served):
    assert served.fetch(json.dumps("y" * MIB).encode()).status == 200
    for pid in (served.sidecar.pid, served.worker()):
        eventually(lambda p=pid: not body_files(p), "no body is left open")
