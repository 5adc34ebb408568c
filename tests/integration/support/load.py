"""Requests to examples/stages, one by one and without a pause."""

import threading

from support.h2_client import H2Client
from support.models import stages_body


def predict(client, path="/predict", **fields):
    return client.request(path=path, body=stages_body(**fields))


class Load:
    """Clients that ask again as soon as they are answered, until stopped; the statuses of all answers.

    at_once: requests that each client has under way.
    """

    def __init__(self, proxy, clients, at_once=1, **fields):
        self.proxy, self.at_once, self.fields = proxy, at_once, fields
        self.statuses = []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _ask(self):
        with H2Client(self.proxy.address) as client:
            while not self.over.is_set():
                streams = [predict(client, **self.fields) for _ in range(self.at_once)]
                self.statuses += [stream.response(120).status for stream in streams]

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(180)
        return set(self.statuses)
