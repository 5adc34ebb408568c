"""Bodies to values and back: JSON's edges, and msgpack against the package and against fixed
bytes."""

import json
import random
import subprocess
import sys
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest

from penstock_worker import content, msgpack_codec
from penstock_worker.errors import ContentError, EncodeError
from penstock_worker.msgpack_reader import BudgetSpent, Reader
from penstock_worker.msgpack_values import from_map
from penstock_worker.msgpack_writer import Writer

numpy = pytest.importorskip("numpy")
msgpack = pytest.importorskip("msgpack")

VALUES = [
    None,
    True,
    False,
    0,
    1,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2**32 - 1,
    2**32,
    2**64 - 1,
    -1,
    -32,
    -33,
    -128,
    -129,
    -32768,
    -32769,
    -(2**31),
    -(2**31) - 1,
    -(2**63),
    0.0,
    1.5,
    -1e300,
    "",
    "a",
    "é" * 20,
    "x" * 31,
    "x" * 32,
    "x" * 255,
    "x" * 256,
    "x" * 70_000,
    b"",
    b"a",
    b"b" * 255,
    b"b" * 256,
    b"b" * 70_000,
    [],
    [1, [2, [3]]],
    list(range(15)),
    list(range(16)),
    list(range(70_000)),
    {},
    {"a": {"b": [None]}},
    {str(i): i for i in range(20)},
    {b"k": 1},
    (1, 2),
]


def plain(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("index", range(len(VALUES)))
def test_msgpack_is_written_and_read_as_the_package_does(index):
    value = VALUES[index]
    packed = msgpack.packb(value)
    assert b"".join(Writer().write(value)) == packed
    assert Reader(packed).read() == plain(value)
    assert type(Reader(packed).read()) is type(plain(value))
    assert msgpack_codec.unpack(packed) == plain(value)
    assert b"".join(msgpack_codec.pack(value)) == packed


def test_other_forms_that_the_reader_meets():
    assert Reader(msgpack.packb(1.5, use_single_float=True)).read() == 1.5
    assert Reader(msgpack.packb(msgpack.ExtType(5, b"abcd"))).read() == msgpack.ExtType(5, b"abcd")
    assert Reader(msgpack.packb(msgpack.ExtType(5, b"abc"))).read() == msgpack.ExtType(5, b"abc")
    stamp = msgpack.Timestamp(1, 2)
    assert Reader(msgpack.packb(stamp)).read() == stamp


SPECIAL = [
    (
        datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        {b"__dt_datetime_iso__": True, b"data": "2024-01-02T03:04:05Z"},
    ),
    (
        datetime(2024, 1, 2, 3, 4, 5, 6),
        {b"__dt_datetime_iso__": True, b"data": "2024-01-02T03:04:05.000006"},
    ),
    (date(2024, 1, 2), {b"__dt_date_iso__": True, b"data": "2024-01-02"}),
    (time(3, 4, 5), {b"__dt_time_iso__": True, b"data": "03:04:05"}),
    (timedelta(1, 2, 3), {b"__dt_timedelta__": True, b"data": [1, 2, 3]}),
    (Decimal("1.50"), {b"__decimal__": True, b"data": "1.50"}),
    (uuid.UUID(int=5), {b"__uuid__": True, b"data": "00000000-0000-0000-0000-000000000005"}),
    (1 + 2j, {b"complex": True, b"data": "(1+2j)"}),
]


@pytest.mark.parametrize("value, wire", SPECIAL)
def test_values_that_msgpack_lacks(value, wire):
    for many in ([], list(range(1000))):  # by our own code, and by the package
        packed = b"".join(msgpack_codec.pack([value, many]))
        assert msgpack.unpackb(packed)[0] == wire
        assert msgpack_codec.unpack(packed)[0] == value
    assert Reader(packed).read()[0] == value


ARRAYS = [
    numpy.arange(6, dtype="int16").reshape(2, 3),
    numpy.zeros((0, 3)),
    numpy.array(2.5, dtype="float32"),
    numpy.arange(12).reshape(3, 4)[:, ::2],
    numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3)),
    numpy.array(["a", "bc"]),
    numpy.array([True, False]),
    numpy.array([1 + 2j]),
    numpy.array(["2024-01-02"], dtype="datetime64[D]"),
    numpy.array([(1, 2.5)], dtype=[("a", "i4"), ("b", "f8")]),
    numpy.arange(100_000, dtype="float32"),
]


@pytest.mark.parametrize("index", range(len(ARRAYS)))
@pytest.mark.parametrize("many", [False, True])
def test_arrays(index, many):
    array = ARRAYS[index]
    packed = b"".join(msgpack_codec.pack({"x": array, "many": list(range(1000)) if many else []}))
    wire = msgpack.unpackb(packed)["x"]
    assert wire[b"nd"] is True and wire[b"shape"] == list(array.shape)
    assert wire[b"data"] == array.tobytes()
    assert wire[b"kind"] == (b"V" if array.dtype.names else b"")
    back = msgpack_codec.unpack(packed)["x"]
    assert back.dtype == array.dtype and back.shape == array.shape
    assert (back == array).all()


def test_the_bytes_of_an_array_on_the_wire():
    packed = b"".join(msgpack_codec.pack(numpy.array([1, 2], dtype="<i2")))
    assert packed == (
        b"\x85\xc4\x02nd\xc3\xc4\x04type\xa3<i2\xc4\x04kind\xc4\x00"
        b"\xc4\x05shape\x91\x02\xc4\x04data\xc4\x04\x01\x00\x02\x00"
    )


def test_scalars():
    for value in (numpy.float32(1.5), numpy.int8(-3), numpy.bool_(True)):
        packed = b"".join(msgpack_codec.pack(value))
        assert msgpack.unpackb(packed) == {
            b"nd": False,
            b"type": value.dtype.str,
            b"data": value.tobytes(),
        }
        back = msgpack_codec.unpack(packed)
        assert back == value and back.dtype == value.dtype


def test_a_large_array_is_neither_copied_in_nor_out():
    array = numpy.arange(1_000_000, dtype="uint8")
    pieces = msgpack_codec.pack({"x": array})
    assert any(numpy.shares_memory(numpy.frombuffer(piece, "uint8"), array) for piece in pieces)
    body = b"".join(pieces)
    back = msgpack_codec.unpack(body)["x"]
    assert numpy.shares_memory(back, numpy.frombuffer(body, "uint8"))


def test_large_bytes_are_bytes():
    value = {"a": b"x" * 100_000, b"data": b"y" * 100_000, "l": [b"z" * 100_000]}
    back = Reader(msgpack.packb(value)).read()
    assert back == value and type(back["a"]) is type(back[b"data"]) is type(back["l"][0]) is bytes


@pytest.mark.parametrize(
    "wire",
    [
        {
            b"nd": True,
            b"type": "|O",
            b"kind": b"O",
            b"shape": [1],
            b"data": b"cos\nsystem\n(S'true'\ntR.",
        },
        {b"nd": True, b"type": "|O", b"kind": b"", b"shape": [1], b"data": b"12345678"},
        {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [100], b"data": b"1234"},
        {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [-1], b"data": b"1234"},
        {b"nd": True, b"type": "nonsense", b"kind": b"", b"shape": [1], b"data": b"1234"},
        {b"__decimal__": True, b"data": "x"},
        {b"__uuid__": True, b"data": 5},
    ],
)
def test_maps_that_are_no_value_are_the_requests_fault(wire):
    with pytest.raises(ContentError):
        content.decode_msgpack(msgpack.packb(wire))
    with pytest.raises(ContentError):
        content.decode_msgpack(msgpack.packb([wire, b"x" * 100_000]))


def test_maps_that_only_look_like_a_value():
    for packed in ({b"nd": True}, {b"data": b"x"}, {b"__uuid__": True}, {"nd": 1, "data": 2}):
        assert from_map(dict(packed)) == packed


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 8, 16, 17, 300, 70_000])
@pytest.mark.parametrize("many", [False, True])
def test_extension_types_come_back_as_they_came(size, many):
    value = {"x": msgpack.ExtType(5, bytes(size)), "negative": msgpack.ExtType(127, b"x"),
             "at": msgpack.Timestamp(1_700_000_000, 5), "many": list(range(1000)) if many else []}
    body = msgpack.packb(value)
    read = msgpack_codec.unpack(body)
    assert read == value and isinstance(read["x"], msgpack.ExtType)
    assert b"".join(msgpack_codec.pack(read)) == body
    assert b"".join(Writer().write(value)) == body, "by our own code"


def test_of_a_masked_array_the_data_is_sent():
    masked = numpy.ma.masked_array([1.5, 2.5, 3.5], mask=[False, True, False])
    back = msgpack_codec.unpack(b"".join(msgpack_codec.pack(masked)))
    assert list(back) == [1.5, 2.5, 3.5]


def test_arrays_of_objects_are_not_pickled():
    with pytest.raises(EncodeError):
        content.encode(numpy.array([object()]), True)


def test_budgets():
    with pytest.raises(BudgetSpent):
        Writer(10).write(list(range(100)))
    with pytest.raises(BudgetSpent):
        Reader(msgpack.packb(list(range(100))), 10).read()


def test_random_bytes_never_do_more_than_fail():
    generator = random.Random(1)
    for _ in range(20_000):
        data = bytes(
            generator.choice(
                b"\x80\x81\x90\x91\xa1\xc0\xc4\xc5\xc7\xca\xd9\xdc\xdd\xde\xdf\xff\x01"
            )
            for _ in range(generator.randrange(12))
        )
        try:
            ours = Reader(data).read()
        except (ValueError, KeyError, TypeError):
            with pytest.raises(Exception):
                msgpack.unpackb(data)
            continue
        assert repr(ours) == repr(msgpack.unpackb(data)), data


def test_json_with_nan_anywhere():
    text = content.encode_json(
        {
            "a": [float("nan"), {"b": numpy.array([1.0, float("inf")])}],
            float("nan"): numpy.float32("nan"),
            "t": (float("-inf"), 1),
        }
    )
    parsed = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert parsed == {"a": [None, {"b": [1.0, None]}], "nan": None, "t": [None, 1]}


def test_plain_json_is_what_python_writes():
    for value in ({"a": [1, "é", None, True, 2.5]}, [], "x", 5, {2: 2, None: 3, True: 4}):
        assert content.encode_json(value) == json.dumps(value).encode()


def test_without_numpy_nothing_imports_it():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); sys.modules['msgpack'] = None\n"
        "from penstock_worker import content\n"
        "assert content.encode({'a': 1}, True)[1] and content.encode_json([1.5]) == b'[1.5]'\n"
        "assert content.decode(b'\\x81\\xa1a\\x01', True) == {'a': 1}\n"
        "assert 'numpy' not in sys.modules\n"
    )
    folder = content.__file__.rsplit("/", 2)[0]
    assert subprocess.run([sys.executable, "-c", code, folder], check=False).returncode == 0
