"""What both raw clients give back: a response with everything that came, in order."""

import json
from dataclasses import dataclass, field


@dataclass
class Response:
    status: int = 0
    headers: list = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: list = field(default_factory=list)
    informational: list = field(default_factory=list)  # (status, headers) of each 1xx
    reset: object = None  # HTTP/2 error code of a stream that was reset
    closed: bool = False  # HTTP/1: the connection ended with it

    def header(self, name, default=None):
        for key, value in self.headers:
            if key.lower() == name:
                return value
        return default

    def trailer(self, name, default=None):
        for key, value in self.trailers:
            if key.lower() == name:
                return value
        return default

    @property
    def reason(self):
        return self.header("x-penstock-reason")

    def json(self):
        return json.loads(self.body)


def find(headers, name, default=None):
    for key, value in headers:
        if key.lower() == name:
            return value
    return default
