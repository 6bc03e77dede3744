"""Every snippet of docs/guides/sdks.md, as somebody would run it who copied it."""

import os
import re
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from support import ANTEROOM, subscriber

HERE = Path(__file__).resolve().parent
GUIDE = (HERE.parent.parent / "docs" / "guides" / "sdks.md").read_text()
SNIPPETS = re.findall(r"^```(python|js)\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


class Guide(unittest.TestCase):
    def test_every_snippet_runs(self):
        self.assertGreaterEqual(len(SNIPPETS), 13)
        node = shutil.which("node") if (HERE / "node_modules").is_dir() else None
        token = subscriber()
        for language, snippet in SNIPPETS:
            self.assertIn("http://127.0.0.1:7860", snippet)
            code = snippet.replace("http://127.0.0.1:7860", ANTEROOM)
            if language == "js" and not node:
                continue
            command = [sys.executable, "-c", code] if language == "python" else [node, "--input-type=module", "-e", code]
            environment = {**os.environ, "TOKEN": token}
            ran = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, timeout=180)
            with self.subTest(snippet=snippet):
                self.assertEqual(0, ran.returncode, ran.stderr)
                # What the scripted upstream answers: texts, or vectors.
                told = "-2" if "mbeddings" in snippet else "one two three"
                self.assertIn(told, ran.stdout, ran.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
