#!/usr/bin/python3
"""The code that docs/model-authors.md shows is code that is compiled.

usage: model_authors_test.py
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What each kind of block is an excerpt of; lines may be left out between, none may be different.
SOURCES = {
    "cpp": "examples/uppercase/uppercase_model.cc",
    "yaml": "examples/uppercase/config.yaml",
}


def missing_lines(block, source):
    """Lines of block that do not follow each other in this order in source."""
    rest = iter(source)
    return [line for line in block if line.strip() and line not in rest]


def main():
    page = (ROOT / "docs/model-authors.md").read_text(encoding="utf-8")
    problems = 0
    for kind, path in SOURCES.items():
        block = re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)
        source = (ROOT / path).read_text(encoding="utf-8").splitlines()
        wrong = missing_lines(block.group(1).splitlines(), source) if block else [f"no {kind} block"]
        for line in wrong:
            print(f"docs/model-authors.md: not in {path}: {line}")
        problems += len(wrong)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
