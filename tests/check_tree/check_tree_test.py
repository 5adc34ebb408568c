#!/usr/bin/python3
"""The checks of the tree turn red for what they are there to find."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


def exit_status(files, check="check_scripts.py"):
    with tempfile.TemporaryDirectory() as folder:
        for name, (text, mode) in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(mode)
        command = [sys.executable, HERE / check, folder]
        return subprocess.run(command, capture_output=True, check=False).returncode


class CheckScripts(unittest.TestCase):
    def test_accepts_scripts_that_parse(self):
        self.assertEqual(
            exit_status({"a.sh": ("#!/bin/bash\ntrue\n", 0o755), "b.py": ("x = 1\n", 0o644)}), 0
        )

    def test_refuses_what_does_not_parse_or_run(self):
        for name, text, mode in [
            ("a.sh", "if true; then\n", 0o755),
            ("run", "#!/bin/bash\nif true; then\n", 0o755),
            ("b.py", "def f(:\n", 0o644),
            ("tool", "#!/usr/bin/python3\ndef f(:\n", 0o755),
            ("c.sh", "#!/bin/bash\ntrue\n", 0o644),
        ]:
            with self.subTest(name=name, text=text):
                self.assertEqual(exit_status({name: (text, mode)}), 1)

    def test_refuses_an_empty_tree(self):
        self.assertEqual(exit_status({}), 1)


class CheckLinks(unittest.TestCase):
    def links(self, text):
        files = {"a.md": (text, 0o644), "docs/b.md": ("# The rule, in short\n[a](../a.md)\n", 0o644)}
        return exit_status(files, "check_links.py")

    def test_accepts_what_leads_somewhere(self):
        for text in ("[b](docs/b.md)", "[b](docs/b.md#the-rule-in-short)", "[docs](docs/)",
                     "[x](https://example.com/none)", "`[x](shown.md)`", "```\n[x](shown.md)\n```\n"):
            with self.subTest(text=text):
                self.assertEqual(self.links(text), 0)

    def test_refuses_what_leads_nowhere(self):
        for text in ("[b](b.md)", "[b](docs/b.md#none)", "# A\n[a](#b)", "[out](../../etc/passwd)"):
            with self.subTest(text=text):
                self.assertEqual(self.links(text), 1)


class CheckProse(unittest.TestCase):
    WIDE = "word " * 21

    def test_accepts_what_may_be_wide(self):
        for text in ("word " * 19, "| " + self.WIDE, "```\n" + self.WIDE + "\n```\n", "x" * 150):
            with self.subTest(text=text):
                self.assertEqual(exit_status({"a.md": (text, 0o644)}, "check_prose.py"), 0)

    def test_refuses_wide_prose(self):
        for text in (self.WIDE, "- " + self.WIDE, "short\n\n" + self.WIDE):
            with self.subTest(text=text):
                self.assertEqual(exit_status({"a.md": (text, 0o644)}, "check_prose.py"), 1)


if __name__ == "__main__":
    unittest.main()
