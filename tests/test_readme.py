"""The README's examples run, its commands exist, and its test command is the one that guards the project."""

import re
import shlex
from pathlib import Path

import pytest

from manual_bp.__main__ import parser
from manual_bp.mistakes import MISTAKES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_examples_run(capsys):
    examples = blocks("python")
    assert len(examples) >= 4
    names: dict[str, object] = {}
    exec(examples[0], names)
    assert "backward: agrees" in capsys.readouterr().out
    for example in examples[1:]:
        exec(example, names)


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines()])
def test_commands_exist(line):
    *set_up, command = line.split(" && ")
    if set_up:
        assert set_up[0] == "python3 -m venv .venv"
    else:
        program, *arguments = shlex.split(command)
        if program == "python":
            assert (ROOT / arguments[0]).is_file()
            return
        if program == "torchrun":
            program, arguments = "manual-bp", arguments[arguments.index("manual_bp") + 1 :]
        assert program == "manual-bp"
        parser().parse_args(arguments)


def test_the_two_commands_come_first_and_are_one_line_each():
    first, second = blocks("sh")[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert first.endswith(".venv/bin/manual-bp verify\n")
    assert second.endswith(".venv/bin/tox\n")
    assert second in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_mistake_is_named():
    for mistake in MISTAKES:
        assert f"`{mistake}`" in README
