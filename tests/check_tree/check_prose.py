#!/usr/bin/python3
"""Prose in documents is at most 100 columns wide; tables, code and single long words may be wider."""

import documents

COLUMNS = 100


def is_wide_prose(line):
    if line.startswith(("|", "#", "    ")) or len(line) <= COLUMNS:
        return False
    # A line that has no place for a break is as short as it can be.
    return " " in line.strip()[:COLUMNS].lstrip("-*0123456789. ")


def problems_of(document, _):
    code = False
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        wide = not code and is_wide_prose(line)
        yield f"line {number}: {len(line)} columns" if wide else None


if __name__ == "__main__":
    documents.run(problems_of, "lines")
