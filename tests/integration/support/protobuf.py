"""Python's side of a .proto: the module that protoc makes of it."""

import importlib
import subprocess
import sys
import tempfile

from .waiting import patience


def generated(proto):
    """The messages of the file at the path `proto`."""
    with tempfile.TemporaryDirectory(prefix="penstock-test-") as folder:
        subprocess.run(["protoc", "-I", proto.parent, f"--python_out={folder}", proto.name],
                       check=True, timeout=patience(60))
        sys.path.insert(0, folder)
        try:
            return importlib.import_module(f"{proto.stem}_pb2")
        finally:
            sys.path.remove(folder)
