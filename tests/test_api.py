"""What the packages offer by name: complete, documented, typed, and loaded only when it is asked for."""

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from types import FunctionType

import pytest

import crosscheck
import manual_bp
import reference
from manual_bp.rules import RULES, Rule

ROOT = Path(__file__).parents[1]
PACKAGES = (manual_bp, crosscheck)
OFFERED = [(package, name) for package in PACKAGES for name in package.__all__]


@pytest.mark.parametrize("package", PACKAGES)
def test_all_that_is_offered_is_there(package):
    names: dict[str, object] = {}
    exec(f"from {package.__name__} import *", names)
    assert names.keys() >= set(package.__all__)
    assert package.__all__ == sorted(package.__all__)
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'nothing'"):
        _ = package.nothing


@pytest.mark.parametrize("package", PACKAGES)
def test_the_types_know_the_same_names(package):
    """Those under TYPE_CHECKING, by which a type checker knows what is loaded late."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (late,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = [alias.name for node in late.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(imported) == package.__all__


@pytest.mark.parametrize("package", [*PACKAGES, reference])
def test_the_types_are_there(package):
    assert (Path(package.__file__).parent / "py.typed").is_file()


def functions_of(value: object) -> list[object]:
    """A class's public methods, and the class or function itself."""
    members = vars(value).items() if inspect.isclass(value) else ()
    kinds = (property, classmethod, staticmethod, FunctionType)
    return [value, *(getattr(value, n) for n, member in members if not n.startswith("_") and isinstance(member, kinds))]


@pytest.mark.parametrize(("package", "name"), OFFERED)
def test_what_is_offered_has_a_docstring(package, name):
    for part in functions_of(getattr(package, name)):
        assert inspect.getdoc(part), part


@pytest.mark.parametrize(("package", "name"), OFFERED)
def test_what_can_be_called_wrong_says_what_it_raises(package, name):
    """A function that takes arguments and refuses some."""
    offered = getattr(package, name)
    if inspect.isfunction(offered):
        assert "Raise" in inspect.getdoc(offered)


@pytest.mark.parametrize("rule", RULES.values())
def test_the_rules_are_offered(rule):
    assert rule.__name__ in manual_bp.rules.__all__
    assert issubclass(rule, Rule)
    assert rule.__doc__.splitlines()[0].endswith(".")


def test_nothing_waits_for_torch_that_does_not_need_it():
    code = "import sys, manual_bp, reference, crosscheck, manual_bp.__main__ as cli; cli.parser().format_help()"
    code += "; assert not {'torch', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_oldest_that_are_tested_are_the_oldest_that_are_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    promised = dict(text.split(">=") for text in project["dependencies"])
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for name in ("torch", "numpy"):
        assert f"{name}=={promised[name]}.0\n" in tox


def test_the_version_of_the_changelog():
    assert f"## {manual_bp.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
