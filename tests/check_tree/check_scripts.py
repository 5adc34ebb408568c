#!/usr/bin/python3
"""Every shell and Python script in the tree parses, and what is meant to be run can be run."""

import ast
import os
import subprocess
import sys
from pathlib import Path

SKIPPED_FOLDERS = {"build", ".git", "__pycache__"}


def scripts(root):
    """(path, "shell" or "python") for each script, told by suffix or by its first line."""
    for path in sorted(root.rglob("*")):
        if SKIPPED_FOLDERS.intersection(path.relative_to(root).parts) or not path.is_file():
            continue
        if path.suffix in {".sh", ".py"}:
            yield path, "shell" if path.suffix == ".sh" else "python"
        elif not path.suffix:
            with path.open("rb") as file:
                first = file.readline(100)
            if first.startswith(b"#!") and b"sh" in first:
                yield path, "shell"
            elif first.startswith(b"#!") and b"python" in first:
                yield path, "python"


def problem_with(path, kind):
    if kind == "python":
        try:
            ast.parse(path.read_text(encoding="utf-8"), str(path))
        except SyntaxError as error:
            return str(error)
    else:
        result = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            return result.stderr.strip()
    if path.read_bytes().startswith(b"#!") and not os.access(path, os.X_OK):
        return "begins with #! but is not executable"
    return None


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    checked = 0
    failed = 0
    for path, kind in scripts(root):
        checked += 1
        problem = problem_with(path, kind)
        if problem is not None:
            failed += 1
            print(f"{path.relative_to(root)}: {problem}")
    print(f"{checked} scripts, {failed} with a problem")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
