#!/usr/bin/python3
"""Every relative link of a document leads to a file of the tree, and its anchor to a heading there."""

import re
import sys
from pathlib import Path

SKIPPED_FOLDERS = {"build", ".git", "__pycache__"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.*?)\s*$", re.MULTILINE)


def text_of(path):
    """Without what is shown as it is."""
    text = path.read_text(encoding="utf-8")
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(path):
    """As GitHub makes them of headings."""
    headings = HEADING.findall(path.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def problem_with(document, link, root):
    target, _, anchor = link.partition("#")
    path = (document.parent / target).resolve() if target else document
    if not path.is_relative_to(root) or not path.exists():
        return "leads nowhere"
    if anchor and path.suffix == ".md" and anchor not in anchors(path):
        return "there is no such heading"
    return None


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
    checked = failed = 0
    for document in sorted(root.rglob("*.md")):
        if SKIPPED_FOLDERS.intersection(document.relative_to(root).parts):
            continue
        for link in LINK.findall(text_of(document)):
            if "://" in link or link.startswith("mailto:"):
                continue
            checked += 1
            problem = problem_with(document, link, root)
            if problem is not None:
                failed += 1
                print(f"{document.relative_to(root)}: {link}: {problem}")
    print(f"{checked} links, {failed} with a problem")
    return 1 if failed or not checked else 0


if __name__ == "__main__":
    sys.exit(main())
