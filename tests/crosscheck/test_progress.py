"""A line for those who wait, and nothing where nobody looks."""

import io
import sys
import time

import pytest

from crosscheck.progress import CLEAR, told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "patience", "lines"), [
    (Terminal(), 0.0, ["a title: at float32, 0 s", ""]), (Terminal(), 60.0, []), (io.StringIO(), 0.0, []),
])  # fmt: skip
def test_a_line_after_a_while_on_a_terminal(stream, patience, lines, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    with told("a title", lambda: "at float32", patience):
        time.sleep(0.05)
    assert stream.getvalue().split(CLEAR)[1:] == lines
