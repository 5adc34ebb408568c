"""Peers that ask for answers and read none of them.

Promised: whatever a peer can make us send for nothing is bounded, at the proxy and at the sidecar, from
clients and from replicas: pongs, echoes, acknowledgements of PING and SETTINGS, answers to pipelined
requests. A peer that does so is not read any more, or its connection ends; memory stays where it was. A
client's unfinished and untaken WebSocket messages count in max_buffered.

Shown: raw bytes by the megabyte, and the resident memory of the programs; each flood is several times as
large as what they may grow by.
"""

import select
import socket
import struct
import threading

import pytest

from support import sockets
from support.configs import proxy_config
from support.families import family, resident_bytes
from support.programs import Proxy
from support.truss import Served, truss
from support.tunnels import H1Tunnel, H2Tunnel
from support.waiting import equals, eventually, patience, settled
from support.websocket_frames import CLOSE, CONTINUATION, PING, PONG, TEXT, frame, server_frame

FLOOD = 48 << 20
MAY_GROW = 16 << 20

MODEL = """
    import stage

    class Model:
        async def websocket(self, websocket):
            stage.note("open")
            if websocket.query_params.get("deaf"):
                await stage.hold_async("listen")
            async for text in websocket.iter_text():
                await websocket.send_text(text)
"""


def push(sock, piece, most=FLOOD):
    """Sends piece again and again until the peer takes no more, or has gone; how many bytes it took."""
    sock.setblocking(False)
    sent, rest = 0, piece
    try:
        while sent < most and select.select([], [sock], [], patience(1))[1]:
            count = sock.send(rest)
            sent += count
            rest = rest[count:] or piece
    except BlockingIOError:
        pass
    except OSError:
        pass
    sock.settimeout(patience(20))
    return sent


class Grown:
    """How much the programs have grown since, together with what runs below them."""

    def __init__(self, *programs):
        self.programs = [program for program in programs if program]
        self.before = self._now()

    def _now(self):
        return sum(resident_bytes(pid) for program in self.programs for pid in family(program.pid))

    def check(self):
        grown = self._now() - self.before
        assert grown < MAY_GROW, f"grown by {grown >> 20} MiB"


@pytest.fixture(params=["direct-h1", "proxy-h1"])
def served(tmp_path, request):
    return Served(truss(tmp_path, MODEL, runtime={"predict_concurrency": 4}), request.param)


def websocket(served, query=""):
    tunnel = H1Tunnel(served.address, path=f"/v1/websocket{query}", receive_buffer=4096)
    assert tunnel.answer().status == 101
    return tunnel


def test_of_pings_whose_pongs_are_not_read_the_last_is_answered(served):
    tunnel = websocket(served)
    grown = Grown(served.sidecar, served.proxy)
    # Whole frames only: what push() has cut would be no frame.
    piece = b"".join(frame(PING, b"%0125d" % number) for number in range(500))
    sent = push(tunnel.client.sock, piece)
    grown.check()
    last = frame(PING, b"the last")
    rest = piece[sent % len(piece):] if sent % len(piece) else b""
    sender = threading.Thread(target=tunnel.client.sock.sendall, args=(rest + last,), daemon=True)
    sender.start()
    pongs = 1
    while server_frame(tunnel) != (PONG, b"the last"):
        pongs += 1
    sender.join(patience(20))
    assert pongs < sent // len(frame(PING, bytes(125))), "some were left out"
    tunnel.send(frame(TEXT, b"on with it"))
    assert server_frame(tunnel) == (TEXT, b"on with it")
    tunnel.hang_up()
    served.wait_idle()


@pytest.mark.parametrize("way", ["direct-h2", "proxy-h2"])
def test_pings_over_http2_whose_pongs_are_not_read(tmp_path, way):
    served = Served(truss(tmp_path, MODEL), way)
    tunnel = H2Tunnel(served.address, path="/v1/websocket", auto_window=False)
    assert tunnel.answer().status == 200
    grown = Grown(served.sidecar, served.proxy)
    piece = frame(PING, bytes(125)) * 100
    client, number = tunnel.client, tunnel.stream.id

    def stuck():
        return client.h2.local_flow_control_window(number) <= 0

    sent = 0
    while sent < FLOOD:
        count = client.send_what_fits(number, piece[sent % len(piece):])
        sent += count
        with client.lock:
            if not client.changed.wait_for(lambda: not stuck(), patience(1)):
                break
    grown.check()
    assert sent < FLOOD, "it was not read any more"
    tunnel.vanish()
    served.wait_idle()


def test_echoes_that_are_not_read(served):
    tunnel = websocket(served)
    grown = Grown(served.sidecar, served.proxy)
    assert push(tunnel.client.sock, frame(TEXT, bytes(60000))) < FLOOD
    grown.check()
    tunnel.vanish()
    served.wait_idle()


@pytest.mark.parametrize("upstream", ["h1", "h2"])
@pytest.mark.parametrize("where", ["proxy", "sidecar"])
def test_what_others_send_back_on_a_websocket_that_is_not_read(replica, front, where, upstream):
    fake = replica(upstream, settings={8: 1})  # SETTINGS_ENABLE_CONNECT_PROTOCOL
    fake.speaks = {"h1": "http1", "h2": "h2"}[upstream]
    fake.on_head = lambda request: request.echo()
    program = front(fake) if where == "sidecar" else Proxy(proxy_config([fake]))
    tunnel = H1Tunnel(program.address, receive_buffer=4096)
    assert tunnel.answer().status == 101
    grown = Grown(program)
    push(tunnel.client.sock, bytes(60000), FLOOD // 2)
    settled(lambda: (len(fake.requests[-1].body), program.resident_bytes()), timeout=40)
    grown.check()
    tunnel.vanish()
    eventually(lambda: fake.requests[-1].peer_gone, "the end at the replica")


@pytest.mark.parametrize("opcode", [TEXT, PONG], ids=["messages", "pongs"])
def test_empty_frames_to_a_model_that_takes_none(served, opcode):
    tunnel = websocket(served, "?deaf=1")
    served.stage.wait("open")
    grown = Grown(served.sidecar, served.proxy)
    push(tunnel.client.sock, frame(opcode) * 10000, FLOOD // 4)
    grown.check()
    tunnel.vanish()
    served.stage.release("listen")
    served.wait_idle()


def test_unfinished_and_untaken_messages_count_in_what_may_be_buffered(tmp_path):
    model = truss(tmp_path, MODEL, runtime={"predict_concurrency": 4},
                  penstock={"max_buffered": "1MiB"})
    served = Served(model, "direct-h1")
    buffered = lambda: served.sidecar.metric("penstock_buffered_bytes")  # noqa: E731
    unfinished, untaken = websocket(served), websocket(served, "?deaf=1")
    unfinished.send(frame(TEXT, b"x" * 300_000, fin=False))
    equals(buffered, 300_000)
    untaken.send(frame(TEXT, b"x" * 300_000))
    eventually(lambda: buffered() > 600_000, "a message that the model has not taken")
    refused = websocket(served)
    refused.send(frame(TEXT, b"x" * 500_000))
    opcode, payload = server_frame(refused)
    assert (opcode, payload[:2]) == (CLOSE, struct.pack("!H", 1013))
    assert buffered() < 700_000, "what was refused is dropped"
    refused.hang_up()
    # The others go on.
    served.stage.release("listen")
    assert server_frame(untaken) == (TEXT, b"x" * 300_000)
    untaken.vanish()
    unfinished.send(frame(CONTINUATION, b"y"))
    eventually(lambda: buffered() == 0, "all is taken")
    unfinished.vanish()
    served.wait_idle()


def h2_frame(kind, flags, stream, payload=b""):
    return struct.pack("!I", len(payload))[1:] + struct.pack("!BBI", kind, flags, stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2_PING = h2_frame(6, 0, 0, b"12345678")
H2_SETTINGS = h2_frame(4, 0, 0)
PIPELINED = b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n"
FLOODS = {"pings": (PREFACE + H2_SETTINGS, H2_PING), "settings": (PREFACE + H2_SETTINGS, H2_SETTINGS),
          "pipelined": (b"", PIPELINED),
          "expectations": (b"", b"POST /nothing HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n"
                                b"content-length: 1\r\n\r\nx")}


@pytest.mark.parametrize("where", ["direct-h1", "proxy-h1"], ids=["sidecar", "proxy"])
@pytest.mark.parametrize("flood", FLOODS)
def test_a_client_that_reads_no_answers(tmp_path, where, flood):
    served = Served(truss(tmp_path, MODEL), where)
    begin, piece = FLOODS[flood]
    grown = Grown(served.proxy or served.sidecar)
    sock = sockets.connect(served.address, patience(20), receive_buffer=4096)
    sock.sendall(begin)
    assert push(sock, piece * 1000) < FLOOD, "it was not read any more, or cut off"
    grown.check()
    sock.close()
    served.wait_idle()


class Deafening:
    """A replica that speaks HTTP/2, sends the same again and again, and reads nothing after its first request."""

    def __init__(self, piece):
        self.piece = piece
        self.sent = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while self.sent is None:
            sock, _ = self.listener.accept()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.sendall(H2_SETTINGS + h2_frame(4, 1, 0))
            read = b""
            while b"/flood" not in read and (data := sock.recv(65536)):
                read += data  # the path's literal is not Huffman-coded if that is no shorter
                if b"/flood" in read or len(read) > 20_000:
                    break
            self.sent = push(sock, self.piece * 1000)
            self.sock = sock


@pytest.mark.parametrize("piece", [H2_PING, H2_SETTINGS], ids=["pings", "settings"])
def test_a_replica_that_reads_no_answers(piece):
    fake = Deafening(piece)
    proxy = Proxy(proxy_config([fake], cluster={"protocol": "h2"}))
    grown = Grown(proxy)
    client = sockets.connect(proxy.address, patience(20))
    client.sendall(b"POST /flood HTTP/1.1\r\nhost: x\r\ncontent-length: 30000\r\n\r\n" + bytes(30000))
    eventually(lambda: fake.sent is not None, "the end of the flood", 60)
    assert fake.sent < FLOOD, "it was not read any more, or cut off"
    grown.check()
    answer = client.recv(1000)
    assert answer.startswith(b"HTTP/1.1 502"), answer
    client.close()
    proxy.wait_empty()
