"""Sends every message back, with a count. "bye" ends the conversation.

    python3 -m websockets ws://127.0.0.1:8090/v1/websocket
"""


class Model:
    async def websocket(self, websocket):
        """The socket is Starlette's WebSocket, accepted already; leaving the method closes it."""
        count = 0
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            count += 1
            if message.get("text") == "bye":
                await websocket.send_text(f"bye after {count} messages")
                return
            if message.get("text") is not None:
                await websocket.send_text(f"{count}: {message['text']}")
            else:
                await websocket.send_bytes(message["bytes"])
