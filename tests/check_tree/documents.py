"""What the checks of the documents share: which there are, and how a check ends."""

import sys
from pathlib import Path

SKIPPED_FOLDERS = {"build", ".git", "__pycache__"}


def run(problems_of, unit):
    """problems_of(document, root) yields for each thing looked at its problem, or None."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
    checked = failed = 0
    for document in sorted(root.rglob("*.md")):
        if SKIPPED_FOLDERS.intersection(document.relative_to(root).parts):
            continue
        for problem in problems_of(document, root):
            checked += 1
            if problem is not None:
                failed += 1
                print(f"{document.relative_to(root)}: {problem}")
    print(f"{checked} {unit}, {failed} with a problem")
    sys.exit(1 if failed or not checked else 0)
