"""The README's examples run, its commands exist, and its test command is the one that guards the project."""

import re
import runpy
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from manual_bp.__main__ import parse
from manual_bp.mistakes import MISTAKES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
WITH_EXAMPLES = [
    README,
    *(ROOT / "docs" / f"{page}.md" for page in ("start", "forms", "low_precision", "networks", "transformer")),
]


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_first_example_prints_what_the_readme_says(tmp_path, capsys):
    """But for errors and budgets, which are another processor's rounding."""
    example = tmp_path / "gelu.py"
    example.write_text(blocks(README, "python")[0], encoding="utf-8")
    runpy.run_path(str(example))
    rounding = r" +[\d.e+]+ +[\d.e+]+(?=  (wrong|agrees))"
    printed, said = (re.sub(rounding, "", text) for text in (capsys.readouterr().out, blocks(README, "text")[0]))
    assert printed == said


@pytest.mark.parametrize("document", WITH_EXAMPLES, ids=lambda document: document.stem)
def test_examples_run(document, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where they may write
    examples = blocks(document, "python")
    assert examples
    names: dict[str, object] = {"__name__": document.stem}
    for example in examples:
        if "from transformers import" not in example or find_spec("transformers"):  # an extra
            exec(example, names)
    for name in [name for name in names if name.startswith("test_")]:
        names[name]()  # type: ignore[operator]


WITH_COMMANDS = [README, *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [line for document in WITH_COMMANDS for block in blocks(document, "sh") for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_exist(line):
    *set_up, command = line.split(" && ")
    if set_up:
        assert set_up[0] == "python3 -m venv .venv"
    else:
        program, *arguments = shlex.split(command)
        if program == "python" and arguments[:2] == ["-m", "pytest"]:
            return
        if program == "python" and arguments[0] != "-m":
            assert (ROOT / arguments[0]).is_file()
            return
        if program == "python":
            program, arguments = "manual-bp", arguments[arguments.index("manual_bp") + 1 :]
        if program == "torchrun":
            program, arguments = "manual-bp", arguments[arguments.index("manual_bp") + 1 :]
        assert program == "manual-bp"
        parse(arguments)


def test_the_two_commands_come_first_and_are_one_line_each():
    first, second = blocks(README, "sh")[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert first.endswith(".venv/bin/manual-bp verify\n")
    assert second.endswith(".venv/bin/tox\n")
    assert second in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_mistake_is_named():
    start = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    for mistake in MISTAKES:
        assert f"`{mistake}`" in start
