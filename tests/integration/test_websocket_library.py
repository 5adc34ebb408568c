"""WebSockets through the proxy with the `websockets` library on both ends.

Promised: frames of all sizes, pings, extensions agreed on end to end, and close codes pass, with and
without TLS on either side.

Shown: the library's client and server, the proxy between them.
"""

import asyncio

import pytest
import websockets

from support.certificates import Certificates
from support.configs import proxy_config
from support.programs import Proxy
from support.waiting import patience


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


async def serve(connection):
    """Sends messages back, and closes when asked to."""
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as asked")
            return
        await connection.send(message)


async def talk(url, number, **options):
    async with websockets.connect(url, max_size=None, open_timeout=patience(60), **options) as client:
        assert client.extensions, "permessage-deflate is agreed on end to end"
        for message in (f"hello {number}", b"\0" * 70000, "x" * (1 << 20)):
            await client.send(message)
            assert await client.recv() == message
        await (await client.ping())
        await client.send("close")
        with pytest.raises(websockets.ConnectionClosedError):
            await client.recv()
        assert (client.close_code, client.close_reason) == (4001, "as asked")


@pytest.mark.parametrize("workers, tls", [(1, False), (2, False), (1, True)])
def test_both_ends_see_each_other(certificates, workers, tls):
    listener = {"tls": {"certificate": certificates["server.crt"],
                        "private_key": certificates["server.key"]}}
    cluster = {"tls": {"ca": certificates["ca.crt"], "server_name": "localhost"}}

    async def run():
        async with websockets.serve(serve, "127.0.0.1", 0, max_size=None,
                                    ssl=certificates.server(["http/1.1"]) if tls else None) as server:
            port = server.sockets[0].getsockname()[1]
            config = proxy_config([f"127.0.0.1:{port}"], target=8,
                                  **({"listener": listener, "cluster": cluster} if tls else {}))
            proxy = await asyncio.to_thread(Proxy, config, workers)
            host, proxy_port = proxy.address
            url = f"{'wss' if tls else 'ws'}://{host}:{proxy_port}/chat"
            options = {"ssl": certificates.client([])} if tls else {}
            await asyncio.wait_for(
                asyncio.gather(*(talk(url, number, **options) for number in range(8))), patience(60))
            async with websockets.connect(url, open_timeout=patience(60), **options) as client:
                pass
            assert client.close_code == 1000
            await asyncio.to_thread(proxy.wait_empty)

    asyncio.run(run())
