#!/usr/bin/python3
"""Every C++ file is as clang-format leaves it.

usage: check_format.py CLANG_FORMAT [ROOT]
"""

import subprocess
import sys
from pathlib import Path

SUFFIXES = {".h", ".cc", ".cu", ".cuh"}
SKIPPED_FOLDERS = {"build", ".git"}


def main():
    clang_format = sys.argv[1]
    root = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).resolve().parents[2]
    files = [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix in SUFFIXES
        and not SKIPPED_FOLDERS.intersection(path.relative_to(root).parts)
    ]
    if not files:
        print("no C++ file found")
        return 1
    result = subprocess.run(
        [clang_format, "--dry-run", "-Werror", *files], capture_output=True, text=True, check=False
    )
    wrong = sorted({line.split(":", 1)[0] for line in result.stderr.splitlines() if ": error:" in line})
    for path in wrong:
        print(f"{path}: run clang-format-19 -i on it")
    print(f"{len(files)} files, {len(wrong)} not formatted")
    return 1 if result.returncode != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
