#!/usr/bin/python3
"""check_scripts turns red for a script that does not parse or cannot be run."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


def exit_status(files):
    with tempfile.TemporaryDirectory() as folder:
        for name, (text, mode) in files.items():
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            path.chmod(mode)
        command = [sys.executable, HERE / "check_scripts.py", folder]
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


if __name__ == "__main__":
    unittest.main()
