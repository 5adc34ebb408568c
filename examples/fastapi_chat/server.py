"""A model server as many people have one: FastAPI, the chat API of OpenAI's shape, a slow model inside.

It knows nothing of Penstock. Its "model" repeats what the user said, a word every WORD_SECONDS, and takes as many
requests at a time as it is sent; `running` tells how many that are.
"""

import asyncio
import json
import os

from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

WORD_SECONDS = float(os.environ.get("WORD_SECONDS", "0.2"))

app = FastAPI()
running = 0


async def words(text):
    global running
    running += 1
    try:
        for word in text.split():
            await asyncio.sleep(WORD_SECONDS)
            yield word + " "
    finally:
        running -= 1


def chunk(content, reason=None):
    choice = {"index": 0, "delta": {"content": content} if content else {}, "finish_reason": reason}
    return "data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}) + "\n\n"


async def stream(text):
    async for word in words(text):
        yield chunk(word)
    yield chunk(None, "stop")
    yield "data: [DONE]\n\n"


@app.get("/health")
async def health():
    return {"status": "ok"}


@app.get("/v1/models")
async def models():
    return {"object": "list", "data": [{"id": "parrot", "object": "model"}], "running": running}


@app.post("/v1/chat/completions")
async def chat(request: Request):
    asked = await request.json()
    text = asked["messages"][-1]["content"]
    if asked.get("stream"):
        return StreamingResponse(stream(text), media_type="text/event-stream")
    said = "".join([word async for word in words(text)])
    message = {"role": "assistant", "content": said.strip()}
    return {"object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
