"""Memory that tells, after this process has died, what ran in it."""

from __future__ import annotations

import mmap
import os

from .channel import ProtocolError

_WORD_BYTES = 8


class LaneWords:
    """For each lane the id of the request that it began last, in a file in memory whose other
    holder is the sidecar. What a lane writes here it need not have told the sidecar before predict
    begins: should the process die, the id is there.

    begin(lane, id): one aligned store of a machine word, for the thread of that lane. It takes the
    place of an id whose STARTED has been written.
    """

    def __init__(self, descriptor: int, lanes: int):
        size = lanes * _WORD_BYTES
        try:
            if os.fstat(descriptor).st_size != size:
                raise ProtocolError(f"the lanes' memory has not {size} bytes")
            self.begin = memoryview(mmap.mmap(descriptor, size)).cast("Q").__setitem__
        finally:
            os.close(descriptor)
