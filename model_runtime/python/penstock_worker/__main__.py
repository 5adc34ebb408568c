"""python3 .../penstock_worker FD: serves the model over the socket at that descriptor.

Only the name penstock_worker is taken from the model's imports: this directory, which Python puts
at the head of the import path, is taken off it again.
"""

import os
import sys


def _import_main():
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    sys.path.insert(0, os.path.dirname(here))
    from penstock_worker import worker

    del sys.path[0]
    return worker.main


if __name__ == "__main__":
    _import_main()(sys.argv)
