"""What workers print reaches the supervisor as whole lines."""

from __future__ import annotations

import os
import subprocess
import sys

from bloodsearch.search.workers.child_lines import ChildLines


def test_whole_lines_of_several_writers() -> None:
    lines = ChildLines()
    assert lines.read() == []
    os.write(lines.writer, b"bloodsearch: one\n\ntw")
    assert lines.read() == ["one"]
    code = "import sys; sys.stderr.write('o\\nthree\\xff')"
    subprocess.run([sys.executable, "-c", code], stderr=lines.writer, check=True)
    assert lines.read() == ["two"]
    assert lines.close() == ["three\N{LATIN SMALL LETTER Y WITH DIAERESIS}"]
