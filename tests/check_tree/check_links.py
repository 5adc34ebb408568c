#!/usr/bin/python3
"""Every relative link of a document leads to a file of the tree, and its anchor to a heading there."""

import re

import documents

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


def problems_of(document, root):
    for link in LINK.findall(text_of(document)):
        if "://" not in link and not link.startswith("mailto:"):
            problem = problem_with(document, link, root)
            yield problem and f"{link}: {problem}"


if __name__ == "__main__":
    documents.run(problems_of, "links")
