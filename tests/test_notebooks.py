"""The notebooks: each runs from top to bottom, and says what it keeps. `python tests/test_notebooks.py` renews them."""

import math
import os
import re
from copy import deepcopy
from html import unescape
from pathlib import Path

import pytest

import crosscheck

nbformat = pytest.importorskip("nbformat", reason="nbformat, which reads the notebooks, is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient, which runs the notebooks, is not installed")
pytest.importorskip("ipykernel", reason="ipykernel, the kernel of the notebooks, is not installed")

NOTEBOOKS = {path.stem: path for path in sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))}
NUMBER = re.compile(r"(?<!\w)[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
TABLE_ROW = re.compile(r".* cpu b?float\d+ .*")


def read(name):
    return nbformat.read(NOTEBOOKS[name], as_version=4)


def executed(notebook):
    """A copy with the outputs of a fresh kernel, which finds the packages that this test found."""
    fresh = deepcopy(notebook)
    env = os.environ | {"PYTHONPATH": str(Path(crosscheck.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    nbclient.NotebookClient(fresh, kernel_name="python3", timeout=300, record_timing=False).execute(env=env)
    fresh.metadata = notebook.metadata  # without the version of this Python
    return fresh


def lines_of(cell):
    """What a cell shows, as text and as HTML but for its picture, line by line."""
    shown = ""
    for out in cell.get("outputs", []):
        page = out.get("data", {}).get("text/html", "").partition("<svg")[0]
        page = re.sub(r"<[^>]+>", " ", re.sub(r"</tr>|</div>|<br>", "\n", page))
        shown += (out.get("text") or out.data["text/plain"]) + "\n" + unescape(page)
    return [" ".join(line.split()) for line in shown.splitlines()]


def numbers_of(lines):
    """But for those in the rows of a table: rounding errors vary with the processor."""
    return [float(number) for line in lines if not TABLE_ROW.fullmatch(line) for number in NUMBER.findall(line)]


def words_of(lines):
    return [NUMBER.sub("#", line) for line in lines]


def is_same(kept, new):
    """Whether two cells show the same words, and the same numbers up to their rounding."""
    kept, new = lines_of(kept), lines_of(new)
    return words_of(kept) == words_of(new) and all(
        math.isclose(x, y, rel_tol=0.01, abs_tol=1e-6) for x, y in zip(numbers_of(kept), numbers_of(new), strict=True)
    )


def differences(kept, new):
    """The cells that show something else, as they were kept and as they are now."""
    cells = zip(kept.cells, new.cells, strict=True)
    return ["\n".join(["kept:", *lines_of(a), "now:", *lines_of(b)]) for a, b in cells if not is_same(a, b)]


def test_there_are_notebooks():
    assert list(NOTEBOOKS) == ["batch_norm", "failing_kernel", "intermediates", "numpy_layer"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_shows_what_it_keeps(name):
    kept = read(name)
    new = executed(kept)
    assert "\n".join(differences(kept, new)) == "", "python tests/test_notebooks.py renews them"
    on_stderr = [out for cell in new.cells for out in cell.get("outputs", []) if out.get("name") == "stderr"]
    assert on_stderr == []  # no warning, and no line of progress


@pytest.mark.parametrize("kind", ["text/plain", "text/html"])
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("wrong formula", "agrees"),
        ("float16", "float64"),
        ("is off by the factor 0.97991", "is off by the factor 0.87991"),
        ("expected -2.8", "expected 2.8"),
    ],
)
def test_an_altered_output_is_seen(right, wrong, kind):
    kept = read("failing_kernel")
    altered = deepcopy(kept)
    (data,) = (out.data for cell in altered.cells for out in cell.get("outputs", []) if kind in out.get("data", {}))
    assert right in data[kind]
    assert differences(altered, kept) == []
    data[kind] = data[kind].replace(right, wrong)
    assert len(differences(altered, kept)) == 1


def test_an_error_in_a_cell_is_seen():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("assert 1 == 2")])
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="AssertionError"):
        executed(notebook)


if __name__ == "__main__":
    for name, path in NOTEBOOKS.items():
        nbformat.write(executed(read(name)), path)
