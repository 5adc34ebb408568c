"""The instrument itself: the fake replica and the raw clients agree with each other.

Promised: the replica counts what is in flight exactly, holds a request until the test lets it go, and
can misbehave in each way that the other tests use. Shown: the raw clients talk to it directly, without
a proxy between them.
"""

import threading

import pytest

from support.h1_client import H1Client
from support.h1_wire import Closed
from support.h2_client import H2Client
from support.replica import Workers
from support.waiting import eventually, patience


def test_replica_holds_requests_until_they_are_answered_and_counts_them(replica):
    fake = replica()
    with H2Client(fake.address) as client:
        streams = [client.request(headers=[("x-test-id", str(i))], body=b"ab") for i in range(3)]
        fake.wait_count(3)
        assert fake.in_flight == 3
        fake.by_id("1").respond(201, [("x-a", "b")], b"body", trailers=[("t", "u")])
        answer = streams[1].response()
        assert (answer.status, answer.header("x-a"), answer.body) == (201, "b", b"body")
        assert answer.trailer("t") == "u"
        assert fake.in_flight == 2 and not streams[0].ended
        fake.request(0).respond()
        fake.request(2).refuse()
        assert streams[2].response().header("x-penstock-not-executed") == "true"
        assert fake.in_flight == 0 and fake.max_in_flight == 3


def test_http1_requests_and_answers(replica):
    fake = replica("h1")
    with H1Client(fake.address) as client:
        client.begin("POST", "/x", [("transfer-encoding", "chunked"), ("x-test-id", "a")])
        client.chunk(b"hello")
        fake.by_id("a").wait_body(5)
        client.send(b"0\r\nend: yes\r\n\r\n")
        request = fake.request(0)
        assert request.trailers == [("end", "yes")] and request.body == b"hello"
        request.informational(103, [("link", "x")])
        request.start(200)
        request.send(b"one")
        request.finish([("t", "u")])
        answer = client.response()
        assert (answer.body, answer.trailers) == (b"one", [("t", "u")])
        assert answer.informational[0][0] == 103
        client.request("GET", "/y")
        fake.request(1).respond(204)
        assert client.response().status == 204
        client.request("GET", "/z")
        fake.request(2).die()
        with pytest.raises(Closed):
            client.response()
    assert fake.in_flight == 0


def test_replica_sees_resets_and_lost_connections(replica):
    fake = replica()
    client = H2Client(fake.address)
    stream = client.request(body=b"x")
    fake.request(0)
    stream.reset()
    assert fake.request(0).cancelled.wait(5)
    assert fake.in_flight == 1, "its work goes on after the reset"
    fake.request(0).end_work()
    client.request()
    fake.wait_count(2)
    client.close(abrupt=True)
    assert fake.request(1).cancelled.wait(5)
    plain = H1Client(fake.address)
    plain.request()
    fake.wait_count(3)
    plain.close()
    assert fake.request(2).cancelled.wait(5)


def test_replica_resets_refuses_and_goes_away(replica):
    fake = replica()
    with H2Client(fake.address) as client:
        stream = client.request()
        fake.request(0).reset(7)
        assert stream.end().reset == 7
        stream = client.request()
        fake.request(1).connection.send_goaway(1)
        eventually(lambda: client.goaway)
        assert client.goaway == (0, 1), "code and last stream"
        fake.request(1).respond()
        assert stream.response().status == 200
    fake.die()
    with pytest.raises(OSError):
        H2Client(fake.address)
    fake.listen()
    with H2Client(fake.address) as client:
        client.request()
        fake.wait_count(3)


def test_what_a_dead_replica_still_reads_is_no_request(replica):
    fake = replica()
    goes_on = threading.Event()
    fake.on_head = lambda request: goes_on.wait(patience(30))
    with H2Client(fake.address) as client:
        with client.lock:  # both heads in one write, and so in one read
            for number in (1, 3):
                client.h2.send_headers(number, [
                    (":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"),
                    ("x-test-id", f"old {number}")], end_stream=True)
            client.flush()
        reader = fake.wait_count(1)[0].connection.reader
    fake.die()
    assert fake.in_flight == 0
    fake.listen()
    goes_on.set()
    reader.join(patience(30))
    fake.requests[0].respond()  # as by a worker that was still at it
    with H2Client(fake.address) as client:
        client.request(headers=[("x-test-id", "new")])
        fake.wait_count(2)
        assert fake.ids == ["old 1", "new"] and fake.in_flight == fake.max_in_flight == 1


def test_flow_control_stalls_a_slow_reader_and_a_stalled_replica(replica):
    fake = replica(auto_window=False)
    with H2Client(fake.address, auto_window=False) as client:
        stream = client.request(end=False)
        sent = client.send_what_fits(stream.id, b"x" * 200000)
        assert sent == 65535
        request = fake.wait_count(1)[0]
        request.wait_body(sent)
        writer = threading.Thread(target=request.respond, args=(200, (), b"y" * 100000))
        writer.start()
        stream.data(65535)
        assert len(stream.answer.body) == 65535 and not stream.ended
        stream.consume_all()
        stream.end()
        writer.join()
        assert len(stream.answer.body) == 100000


def test_workers_answer_in_their_time(replica):
    fake = replica(handler=Workers(lambda request: 0.05 if request.id == "slow" else 0))
    with H2Client(fake.address) as client:
        slow = client.request(headers=[("x-test-id", "slow")])
        fast = client.request(headers=[("x-test-id", "fast")])
        assert fast.response().status == 200 and slow.response().body == b"done"
    fake.wait_idle()
