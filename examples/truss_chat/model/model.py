"""A chat model in the shape of OpenAI's API, so that the clients people have can talk to it.

It says the last message back, word by word. A real model would differ in _generate() only.

    curl -N http://127.0.0.1:8090/v1/chat/completions \
      -d '{"model": "parrot", "stream": true, "messages": [{"role": "user", "content": "Hello there"}]}'
"""

import asyncio
import json
import time
import uuid


class Model:
    def load(self):
        self._word_seconds = 0.005  # as if thinking

    async def predict(self, inputs):
        """The same model without the chat's shape, for /predict."""
        return {"text": "".join([word async for word in self._generate(inputs["text"])])}

    async def chat_completions(self, inputs):
        head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()),
                "model": inputs.get("model", "parrot")}
        said = inputs["messages"][-1]["content"]
        limit = inputs.get("max_tokens") or 1000
        if inputs.get("stream"):
            # An async generator: its chunks go out one by one, and it is closed when the client
            # leaves.
            return self._stream(head, said, limit)
        words = [word async for word in self._generate(said, limit)]
        return {
            **head,
            "object": "chat.completion",
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": "".join(words)},
                "finish_reason": "stop" if len(words) < limit else "length",
            }],
            "usage": {"prompt_tokens": len(said.split()), "completion_tokens": len(words),
                      "total_tokens": len(said.split()) + len(words)},
        }

    async def _stream(self, head, said, limit):
        """Server-sent events: the role, each word, why it ended, [DONE]."""
        yield self._event(head, {"role": "assistant", "content": ""})
        count = 0
        async for word in self._generate(said, limit):
            count += 1
            yield self._event(head, {"content": word})
        yield self._event(head, {}, "stop" if count < limit else "length")
        yield "data: [DONE]\n\n"

    async def _generate(self, said, limit=1000):
        words = ["You", "said:"] + said.split()
        for number, word in enumerate(words[:limit]):
            await asyncio.sleep(self._word_seconds)
            yield word if number == 0 else " " + word

    @staticmethod
    def _event(head, delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [choice]}
        return f"data: {json.dumps(chunk)}\n\n"
