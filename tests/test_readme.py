"""The README's examples run, its commands exist, and its test command is the one that guards the project."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from manual_bp.__main__ import parser
from manual_bp.mistakes import MISTAKES
from manual_bp.rules import _rule

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_examples_run(capsys, monkeypatch):
    monkeypatch.setattr(_rule, "RULES", {})  # one of them adds a rule
    examples = blocks("python")
    assert len(examples) >= 4
    names: dict[str, object] = {}
    exec(examples[0], names)
    assert "backward: agrees" in capsys.readouterr().out
    for example in examples[1:]:
        exec(example, names)


@pytest.mark.parametrize("mistake", [None, "2 * x", "Often wrong:", "a twin"])
def test_a_rule_is_added_as_told(mistake, tmp_path):
    """In a copy of the two packages, whole and with something forgotten."""
    (square,) = (block for block in blocks("python") if "class Square" in block)
    (twin,) = (block for block in blocks("text") if "Square" in block)
    for package in ("manual_bp", "reference"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "manual_bp" / "rules" / "activations.py").open("a", encoding="utf-8") as family:
        family.write(square.partition("\n\n")[2].replace(mistake or "", "x" if mistake == "2 * x" else ""))
    twins = tmp_path / "reference" / "twins.py"
    if mistake != "a twin":
        twins.write_text(twins.read_text(encoding="utf-8").removesuffix("}\n") + twin + "}\n", encoding="utf-8")
    command = [sys.executable, "-m", "manual_bp", "rules", "Square"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if mistake is None:
        assert done.returncode == 0, done.stderr
        assert "The square of a number" in done.stdout
        assert "\nx   cpu" in done.stdout
    else:
        says = {
            "2 * x": "wrong formula: off by the constant factor 1/2",
            "Often wrong:": "rule Square: expected forward, backward and a docstring",
            "a twin": "rule Square has no twin: add its line to reference/twins.py",
        }
        assert done.returncode != 0
        assert says[mistake] in done.stdout + done.stderr


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
