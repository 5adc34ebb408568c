"""The Python side of the worker's protocol (PROTOCOL.md beside this folder)."""
