#!/usr/bin/python3
"""Prose in documents is at most 100 columns wide; tables, code and single long words may be wider."""

import sys
from pathlib import Path

SKIPPED_FOLDERS = {"build", ".git", "__pycache__"}
COLUMNS = 100


def wide_lines(text):
    code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code and not line.startswith(("|", "#", "    ")) and len(line) > COLUMNS:
            # One that begins within and has no place for a break is as short as it can be.
            if " " in line.strip()[:COLUMNS].lstrip("-*0123456789. "):
                yield number, len(line)


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
    checked = failed = 0
    for document in sorted(root.rglob("*.md")):
        if SKIPPED_FOLDERS.intersection(document.relative_to(root).parts):
            continue
        checked += 1
        for number, width in wide_lines(document.read_text(encoding="utf-8")):
            failed += 1
            print(f"{document.relative_to(root)}:{number}: {width} columns")
    print(f"{checked} documents, {failed} lines wider than {COLUMNS} columns")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
