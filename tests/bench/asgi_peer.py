"""The peer of the Python worker: the same model under uvicorn and Starlette, with an asyncio
semaphore around predict and sync stages on one pool of threads, which is how Truss serves it.

usage: asgi_peer.py MODEL_DIRECTORY PORT
"""

import asyncio
import importlib.util
import inspect
import json
import pathlib
import sys

import msgpack
import numpy
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

END = object()


def load_model(directory):
    path = pathlib.Path(directory) / "model" / "model.py"
    spec = importlib.util.spec_from_file_location("bench_model", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model()


def pack_array(value):
    if isinstance(value, numpy.ndarray):
        return {b"nd": True, b"type": value.dtype.str, b"kind": b"", b"shape": value.shape,
                b"data": value.tobytes()}
    raise TypeError(type(value).__name__)


def unpack_array(value):
    if b"nd" in value:
        return numpy.frombuffer(value[b"data"], numpy.dtype(value[b"type"])).reshape(value[b"shape"])
    return {key.decode() if isinstance(key, bytes) else key: item for key, item in value.items()}


class Server:
    def __init__(self, model):
        self.model = model
        self.semaphore = asyncio.Semaphore(1)

    async def stage(self, name, value):
        method = getattr(self.model, name, None)
        return value if method is None else await run_in_threadpool(method, value)

    async def predict(self, request):
        body = await request.body()
        binary = request.headers.get("content-type", "").startswith("application/octet-stream")
        if binary:
            inputs = msgpack.unpackb(body, raw=True, object_hook=unpack_array)
        else:
            inputs = json.loads(body)
        inputs = await self.stage("preprocess", inputs)
        await self.semaphore.acquire()
        try:
            result = await self.stage("predict", inputs)
            if inspect.isgenerator(result):
                # The permit is held to the end of the generation.
                generator, result = result, asyncio.Queue()
                asyncio.ensure_future(self.generate(generator, result))
                return StreamingResponse(self.chunks(result))
        except BaseException:
            self.semaphore.release()
            raise
        self.semaphore.release()
        result = await self.stage("postprocess", result)
        if binary:
            return Response(msgpack.packb(result, default=pack_array),
                            media_type="application/octet-stream")
        return Response(json.dumps(result), media_type="application/json")

    async def generate(self, generator, queue):
        try:
            async for chunk in iterate_in_threadpool(generator):
                queue.put_nowait(chunk)
        finally:
            queue.put_nowait(END)
            self.semaphore.release()

    @staticmethod
    async def chunks(queue):
        while (chunk := await queue.get()) is not END:
            yield chunk


def main():
    server = Server(load_model(sys.argv[1]))
    routes = [Route("/predict", server.predict, methods=["POST"])]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(sys.argv[2]),
                log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
