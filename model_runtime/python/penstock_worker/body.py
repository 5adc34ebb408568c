"""The body of a request: bytes in line, or a descriptor that is opened when somebody looks."""

from __future__ import annotations

import mmap
import os
from typing import Optional, Union

_MAP_FLAGS = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)


class DescriptorBody:
    """Owns a memfd until it is mapped or closed; what was mapped lives as long as a view of it. A
    descriptor of -1 was lost on its way."""

    __slots__ = ("_descriptor", "_lost", "_view")

    def __init__(self, descriptor: int):
        self._descriptor: Optional[int] = descriptor if descriptor >= 0 else None
        self._lost = descriptor < 0
        self._view: Optional[memoryview] = None

    def view(self) -> memoryview:
        if self._view is None:
            descriptor, self._descriptor = self._descriptor, None
            if self._lost:
                raise OSError("the body is lost: this process has too many files open")
            if descriptor is None:
                raise ValueError("the body has been closed")
            try:
                size = os.fstat(descriptor).st_size
                if size == 0:
                    self._view = memoryview(b"")
                else:
                    mapped = mmap.mmap(descriptor, size, flags=_MAP_FLAGS, prot=mmap.PROT_READ)
                    self._view = memoryview(mapped)
            finally:
                os.close(descriptor)
        return self._view

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        self._view = None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


Body = Union[bytes, DescriptorBody]


def body_buffer(body: Body) -> Union[bytes, memoryview]:
    return body if type(body) is bytes else body.view()
