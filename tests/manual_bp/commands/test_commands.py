"""What the commands consist of: tables of verdicts, checks of files, targets, what is judged, rules."""

import inspect
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crosscheck import Report
from crosscheck.report import shown
from crosscheck.row import KINK, Row
from manual_bp import __version__
from manual_bp._console import Plain
from manual_bp.commands import CommandError, _writing
from manual_bp.commands import rules as rules_module
from manual_bp.commands import subjects as subjects_module
from manual_bp.commands import verify as verify_module
from manual_bp.commands._shares import Shares, colour, exit_code, is_known
from manual_bp.commands._subject import NotJudged, Subject
from manual_bp.commands._writing import can_draw, can_write, can_write_into, draw, matplotlib_for, writing
from manual_bp.rules import RULES, Identity


class Recorded(Plain):
    """Keeps what is printed and in what style, and what is said of the progress."""

    def __init__(self, *, stderr: bool = False) -> None:
        self.is_stderr, self.printed, self.progressed = stderr, [], []

    def print(self, text: str = "", *, style: str | None = None, end: str = "\n") -> None:
        self.printed.append((text + end, style))

    def add_task(self, description: str, *, total: int) -> int:
        self.progressed.append((description, total))
        return 7

    def update(self, task: int, *, description: str = "", completed: int = 0) -> None:
        self.progressed.append((task, description))

    def advance(self, task: int) -> None:
        self.progressed.append(task)


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def row(name: str, dtype: torch.dtype, share: float, verdict: str = "", device: torch.device = CPU) -> Row:
    """With a budget of 16, and the verdict that its share of it wants unless there is another."""
    ok = share <= 1 and not verdict.startswith("not judged")
    said = verdict or ("agrees" if ok else "wrong formula")
    return Row(name, device, dtype, 16 * share, 16.0, ok, said, "" if ok else "the sign\nand why")


RIGHT_ROW, WRONG_ROW = row("x", torch.float64, 0.5), row("w", torch.float64, 3.0)
UNKNOWN_ROW = row("b", torch.float64, 0.0, "not judged: it has no elements")


def test_a_table_of_verdicts_is_begun_by_its_first_line():
    lines = Recorded()
    shares = Shares(lines, ["a", "three"], [torch.float64, torch.bfloat16])
    assert lines.printed == []
    shares.add("a", CPU, [RIGHT_ROW, row("y", torch.float64, 0.123), row("x", torch.bfloat16, 1)], "agrees")
    shares.add("three", CUDA, [RIGHT_ROW, WRONG_ROW], "MISMATCH")
    shares.add("", CPU, [UNKNOWN_ROW, row("x", torch.bfloat16, 0.0123456)], "NOT JUDGED")
    assert lines.printed == [
        ("Largest errors, in units of their budget: up to 1 is rounding, - is not judged.\n\n", None),
        ("      device float64 bfloat16  verdict\n", "bold"),
        ("a     cpu        0.5        1  agrees\n", None),
        ("three cuda         3        -  MISMATCH\n", "red"),
        ("      cpu          -    0.012  NOT JUDGED\n", "yellow"),
    ]


@pytest.mark.parametrize(
    ("of_each", "style", "code"),
    [
        ([[RIGHT_ROW]], None, 0),
        ([[RIGHT_ROW], [RIGHT_ROW, WRONG_ROW]], "red", 1),
        ([[UNKNOWN_ROW, WRONG_ROW], [RIGHT_ROW]], "red", 1),
        ([[RIGHT_ROW], [UNKNOWN_ROW]], "yellow", 2),
        ([[RIGHT_ROW], []], None, 2),
        ([[RIGHT_ROW], [row("x", torch.float64, 0.5, "not judged"), RIGHT_ROW]], "yellow", 2),
        ([], None, 2),
    ],
)
def test_the_exit_code_and_the_colour(of_each, style, code):
    assert exit_code([Report("", tuple(rows)) for rows in of_each]) == code
    assert colour(row for rows in of_each for row in rows) == style


def test_what_has_no_elements_is_right_but_alone_not_known():
    empty = replace(UNKNOWN_ROW, ok=True)
    assert [is_known(Report("", rows)) for rows in ((empty, RIGHT_ROW), (empty,), (WRONG_ROW,))] == [True, False, True]
    assert exit_code([Report("", (empty, RIGHT_ROW))]) == 0
    assert exit_code([Report("", (empty,))]) == 2


def refused(check: Callable[..., object], *arguments: str) -> str:
    """What a check says; nothing where it takes the arguments."""
    try:
        check(*arguments)
    except CommandError as error:
        return str(error)
    return ""


def test_where_a_file_cannot_be_written_it_is_said(tmp_path, monkeypatch):
    (tmp_path / "there").touch()
    monkeypatch.chdir(tmp_path)
    assert refused(can_write, "--json there", "there") == refused(can_write, "--json new", "new") == ""
    assert refused(can_write, "--json .", ".") == "--json .: expected a file, got a directory"
    assert (
        refused(can_write, "--json no/new", "no/new")
        == f"--json no/new: expected a directory that exists, got no {tmp_path / 'no'}: make it first"
    )
    assert (
        refused(can_write, "--json f", "there/new")
        == f"--json f: expected a directory that exists, got no {tmp_path / 'there'}: make it first"
    )
    asked = []
    monkeypatch.setattr(os, "access", lambda *given: asked.append(given))
    for file in ("there", "new"):
        assert (
            refused(can_write, "--json f", file)
            == "--json f: expected a file that may be written, got no permission: choose another"
        )
    assert asked == [(tmp_path / "there", os.W_OK), (tmp_path, os.W_OK)]


def test_where_no_directory_can_be_it_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    for folder in (".", "new", "new/er", str(tmp_path)):
        assert refused(can_write_into, "--figures d", folder) == ""
    for folder in ("file", "file/new", "file/new/er"):
        says = f"--figures d: expected a directory, got the file {tmp_path / 'file'}"
        assert refused(can_write_into, "--figures d", folder) == says


def test_what_cannot_be_drawn_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    monkeypatch.setattr(_writing, "find_spec", lambda name: found.append(name) or found)
    for file in ("f.svg", "f.png", "f.pdf"):
        assert refused(can_draw, file) == ""
    for file in ("f.jpg", "f", "svg"):
        assert refused(can_draw, file) == f"--figure {file}: expected a name that ends in .svg, .png or .pdf"
    assert (
        refused(can_draw, "no/f.svg")
        == f"--figure no/f.svg: expected a directory that exists, got no {tmp_path / 'no'}: make it first"
    )
    assert set(found) == {"matplotlib"}
    monkeypatch.setattr(_writing, "find_spec", lambda name: None)
    says = "matplotlib is not installed: pip install 'manual-bp[figures]'"
    assert refused(matplotlib_for, "--html f") == f"--html f: {says}"
    assert refused(can_draw, "f.svg") == f"--figure f.svg: {says}"


def test_what_fails_while_it_is_written_is_said(monkeypatch):
    pytest.importorskip("matplotlib")
    given = []

    def save(figure, path):
        given.append((figure, path))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("manual_bp.figures.save", save)
    assert refused(draw, "a figure", "f.svg") == "--figure f.svg: No space left on device"
    assert given == [("a figure", Path("f.svg"))]

    def fails():
        with writing("--json f"):
            raise OSError("unknown")

    assert refused(fails) == "--json f: unknown"


# What `verify` judges in the tests of what it prints: two tensors that agree, ten that do not, ...
FLOATS = (torch.float64, torch.float32)
LONG = tuple(row(f"w{i}", t, 3.0) for t in (torch.float32, torch.float64) for i in range(10))
VERDICTS = {
    "right": (RIGHT_ROW, row("x", torch.float32, 0.25), row("y", torch.float64, 0.125)),
    "wrong": LONG,
    "unknown": (UNKNOWN_ROW, RIGHT_ROW),
    "kink": (row("x", torch.float64, 0.0, f"{KINK}, first at [0]"),),
}


@pytest.fixture
def judging(monkeypatch):
    """Has `verify` judge these things, and keeps what it prints."""

    def judge(*names: str) -> Recorded:
        asked: list[object] = []
        lines = Recorded()

        def thing(name: str) -> Subject:
            def judged(device, dtypes, seed):
                asked.append((name, device, dtypes, seed))
                if name == "none":
                    raise NotJudged("no reason")
                if name == "nowhere":
                    raise NotJudged(f"no reason on {device}")
                return Report("its own title", VERDICTS[name], notes=(f"a note on {name}",), repeats="is the same")

            return Subject(name, judged)

        def opened(*, stderr: bool) -> Recorded:
            lines.is_stderr = stderr
            return lines

        monkeypatch.setattr(verify_module, "console", opened)
        monkeypatch.setattr(subjects_module, "subjects", lambda: map(thing, names))
        monkeypatch.setattr(verify_module, "subjects", lambda target, seed: [thing(target)])
        monkeypatch.setattr(verify_module.devices, "available", lambda: [CPU, CUDA])
        monkeypatch.setattr(verify_module, "dtypes_of", {CPU: FLOATS, CUDA: FLOATS[1:]}.__getitem__)
        lines.asked = asked
        return lines

    return judge


def verified(*targets: str, **options: object) -> int:
    given = {"device": ["cpu"], "dtype": None, "seed": 3, "json_file": None, "plant": None} | options
    return verify_module.verify(targets, **given)


ABOUT = f"manual-bp {__version__}, torch {torch.__version__}, on cpu, seed 3\n"


def test_what_verify_prints(judging):
    lines = judging("right", "wrong", "none", "unknown", "kink")
    assert verified() == 1
    *printed, last = lines.printed
    wrong = shown(LONG[10:18])
    assert printed == [
        (ABOUT, None),
        ("Largest errors, in units of their budget: up to 1 is rounding, - is not judged.\n\n", None),
        ("        device float64 float32  verdict\n", "bold"),
        ("right   cpu        0.5    0.25  agrees\n", None),
        ("wrong   cpu          3       3  MISMATCH in w0, w1, w2 and 7 more\n", "red"),
        ("unknown cpu        0.5       -  NOT JUDGED in b\n", "yellow"),
        (f"kink    cpu          0       -  {KINK}\n", None),
        (f"\nwrong: what is wrong, error and budget in roundoffs\n{wrong}\n... and 2 more\n", "red"),
        (f"\nunknown: what could not be judged, error and budget in roundoffs\n{shown((UNKNOWN_ROW,))}\n", "yellow"),
        ("\n", None),
        ("Not judged: none: no reason\n", None),
    ]
    assert re.fullmatch(
        r"3 judged, 14 tensors, on cpu at float64, float32 \(1 of them at fewer dtypes\), in \d+ s: "
        r"MISMATCH in 1, NOT JUDGED in 1\n",
        last[0],
    )
    assert last[1] == "bold red"
    names = ["right", "wrong", "none", "unknown", "kink"]
    assert lines.progressed == [("judging", 5), *(said for name in names for said in ((7, name), 7))]
    assert lines.asked == [(name, CPU, list(FLOATS), 3) for name in names]
    assert not lines.is_stderr


def test_what_verify_prints_of_a_target(judging):
    lines = judging()
    assert verified("right", "kink") == 0
    assert [text for text, _ in lines.printed[5:-2]] == [
        "\nright on cpu\n  formula: right, judged at float64\n  numerics: as accurate as autograd\n"
        "  determinism: the same call twice is the same\n  contract: not judged\n  coverage: judged in x, y\n"
        "  a note on right\n",
        "\nkink on cpu\n  formula: right, judged at float64\n  numerics: as accurate as autograd\n"
        "  determinism: the same call twice is the same\n  contract: not judged\n  coverage: judged in x\n"
        f"  a note on kink\n  x at float64: {KINK}, first at [0]\n",
    ]
    assert lines.printed[-2] == ("\n", None)
    assert re.fullmatch(
        r"2 judged, 3 tensors, on cpu at float64, float32 \(1 of them at fewer dtypes\), in \d+ s: all agree\n",
        lines.printed[-1][0],
    )
    assert lines.printed[-1][1] == "bold"


@pytest.mark.parametrize(
    ("options", "on", "judged", "asked"),
    [
        (
            {"device": None},
            "cpu, cuda",
            "cpu at float64, float32; on cuda at float32",
            [(CPU, list(FLOATS)), (CUDA, [torch.float32])],
        ),
        ({"device": ["cuda"]}, "cuda", "cuda at float32", [(CUDA, [torch.float32])]),
        (
            {"device": None, "dtype": ["float32"]},
            "cpu, cuda",
            "cpu, cuda at float32",
            [(p, [torch.float32]) for p in (CPU, CUDA)],
        ),
        ({"dtype": ["float32", "float64"]}, "cpu", "cpu at float64, float32", [(CPU, list(FLOATS))]),
    ],
)
def test_each_device_is_judged_at_the_dtypes_that_are_asked_for(options, on, judged, asked, judging, monkeypatch):
    lines = judging("right")
    monkeypatch.setattr(verify_module.devices, "device", torch.device)
    assert verified(**options) == 0
    assert lines.asked == [("right", place, precisions, 3) for place, precisions in asked]
    assert lines.printed[0][0].endswith(f", on {on}, seed 3\n")
    assert lines.printed[-1][0].startswith(f"{len(asked)} judged, 2 tensors, on {judged}, in ")
    assert lines.progressed[0] == ("judging", len(asked))


def test_verify_says_what_it_cannot_do(judging, tmp_path, monkeypatch):
    lines = judging("right")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify_module.devices, "device", torch.device)
    says = "--dtype: expected one of float32 on cuda, got float64"
    assert refused(lambda: verified(device=["cpu", "cuda"], dtype=["float64"])) == says
    says = (
        "--plant: expected no TARGET beside it, for it plants a mistake in manual-bp's code, got right: "
        "leave one of them out"
    )
    assert refused(lambda: verified("right", plant="sign")) == says
    says = f"--json no/f: expected a directory that exists, got no {tmp_path / 'no'}: make it first"
    assert refused(lambda: verified(json_file="no/f")) == says
    assert refused(lambda: verified(plant="typo")).startswith("mistake: expected one of stale-weights, ")
    assert lines.printed == lines.asked == []


def test_what_is_not_judged_is_said_once_with_every_reason(judging, tmp_path):
    lines = judging("none", "nowhere")
    file = tmp_path / "verdict.json"
    assert verified(device=None, json_file=str(file)) == 2
    assert [text for text, _ in lines.printed[2:-1]] == [
        "Not judged: none: no reason\n", "Not judged: nowhere: no reason on cpu; no reason on cuda\n",
    ]  # fmt: skip
    reasons = json.loads(file.read_text(encoding="utf-8"))["not_judged"]
    assert reasons == {"none": "no reason", "nowhere": "no reason on cpu; no reason on cuda"}


@pytest.mark.parametrize(
    ("names", "code", "last"),
    [
        (["none"], 2, "0 judged, 0 tensors, on cpu, not at float64, float32, in S s: nothing could be judged\n"),
        (["unknown"], 2, "0 judged, 1 tensor, on cpu at float64, not at float32, in S s: NOT JUDGED in 1\n"),
        (["wrong", "wrong"], 1, "2 judged, 10 tensors, on cpu at float64, float32, in S s: MISMATCH in 2\n"),
    ],
)
def test_how_verify_ends(names, code, last, judging):
    lines, start = judging(*names), time.perf_counter()
    assert verified() == code
    text, style = lines.printed[-1]
    assert re.sub(r"in \d+ s", "in S s", text) == last
    assert int(re.search(r"in (\d+) s", text)[1]) <= time.perf_counter() - start + 0.5
    assert style == ("bold red" if code == 1 else "bold")


@pytest.mark.parametrize(
    ("names", "said"),
    [("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), ("aabbc", "a, b, c"), ("abcdea", "a, b, c and 2 more")],
)
def test_three_names_are_said_of_what_is_wrong(names, said):
    report = Report("", tuple(row(name, torch.float64, 3.0) for name in names))
    assert verify_module._verdict(report) == f"MISMATCH in {said}"


def test_eight_rows_are_shown_of_what_is_wrong():
    for rows, more in ((LONG[10:18], ""), (LONG[10:19], "\n... and 1 more")):
        said = f"thing: what is wrong, error and budget in roundoffs\n{shown(rows[:8])}{more}"
        assert verify_module._where(Report("thing", rows)) == said


def test_the_verdicts_in_json(judging, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-").mkdir()  # it is no name of a file
    lines = judging("right", "wrong", "none")
    file = tmp_path / "verdict.json"
    assert verified(json_file=str(file), plant="sign") == 1
    assert not lines.is_stderr
    assert lines.printed[0][0] == ABOUT.replace("\n", ", planted: sign\n")
    written = file.read_text(encoding="utf-8")
    reports = [
        Report(name, VERDICTS[name], notes=(f"a note on {name}",), repeats="is the same") for name in ("right", "wrong")
    ]
    verdict = {
        "manual_bp": __version__, "torch": torch.__version__, "seed": 3, "planted": "sign", "ok": False,
        "reports": [report.as_dict() for report in reports], "not_judged": {"none": "no reason"},
    }  # fmt: skip
    assert written == json.dumps(verdict, indent=2) + "\n"
    assert verified(json_file="-", plant="sign") == 1
    assert lines.is_stderr
    assert capsys.readouterr().out == written
    for names, ok in ((["right"], True), (["none"], False)):
        judging(*names)
        verified(json_file=str(file))
        read = json.loads(file.read_text(encoding="utf-8"))
        assert (read["ok"], read["planted"]) == (ok, None)


def test_what_fails_while_the_verdicts_are_written_is_said(judging, monkeypatch):
    def full(*given, **named):
        raise OSError(28, "No space left on device")

    judging("right")
    monkeypatch.setattr(Path, "write_text", full)
    assert refused(lambda: verified(json_file="f.json")) == "--json f.json: No space left on device"


@pytest.fixture
def explained(monkeypatch):
    """What `rules` prints of names, and in what style."""

    def explain(*names: str) -> list[tuple[str, str | None]]:
        lines = Recorded()
        monkeypatch.setattr(rules_module, "console", lambda: lines)
        assert rules_module.rules(names) == 0
        return lines.printed

    return explain


def test_the_list_of_rules(explained):
    printed = explained()
    assert printed[:4] == [
        ("activations: ", "bold"),
        ("what a neuron does between its in side and its out side, and what acts on a whole row of them.\n", None),
        ("  Sigmoid                    out = 1 / (1 + e^(−x))\n", None),
        ("  Tanh                       out = (e^x − e^(−x)) / (e^x + e^(−x))\n", None),
    ]
    families = [text.removesuffix(": ") for text, style in printed if style]
    assert families == list(dict.fromkeys(rule.__module__.rpartition(".")[2] for rule in RULES.values()))
    assert [text for text, _ in printed].count("\n") == len(families)
    says = f"{len(RULES)} rules. `manual-bp rules LayerNorm` shows the derivation and the code of one, and judges it.\n"
    assert printed[-2:] == [("\n", None), (says, None)]


def test_a_list_has_the_first_line_and_the_formula_of_each_docstring(explained, monkeypatch):
    class One:
        """A rule: out = a: X.

        More: out = b.
        """

    class Longer:
        """Another: out = c."""

    monkeypatch.setattr(rules_module, "RULES", {"One": One, "Longer": Longer})
    monkeypatch.setattr(sys.modules[__name__], "__doc__", "The first line.\nThe second.")
    assert [text for text, _ in explained()[:-1]] == [
        f"{__name__.rpartition('.')[2]}: ", "the first line.\n", "  One     out = a: X\n", "  Longer  out = c\n", "\n",
    ]  # fmt: skip


def test_a_rule_is_judged_on_each_device_at_its_dtypes(monkeypatch):
    lines, asked = Recorded(), []
    dtypes = {CPU: FLOATS, CUDA: FLOATS[1:]}

    def rule(*given, **named):
        asked.append((given, named))
        place = given[1]
        rows = [
            row(name, t, 3.0 if (name, place) == ("x", CUDA) else 0.5) for name in ("out", "x") for t in dtypes[place]
        ]
        return Report("Identity", (*rows, replace(rows[-1], verdict="agrees, oddly")))

    monkeypatch.setattr(rules_module, "console", lambda: lines)
    monkeypatch.setattr(rules_module, "rule", rule)
    monkeypatch.setattr(rules_module, "dtypes_of", dtypes.__getitem__)
    monkeypatch.setattr(rules_module.devices, "available", lambda: [CPU, CUDA])
    assert rules_module.rules(["Identity"]) == 1
    assert asked == [(("Identity", place, dtypes[place]), {"seed": 0}) for place in (CPU, CUDA)]
    assert lines.printed[-6:] == [
        ("    device float64 float32  verdict\n", "bold"),
        ("out cpu        0.5     0.5  agrees\n", None),
        ("out cuda         -     0.5  agrees\n", None),
        ("x   cpu        0.5     0.5  agrees, oddly\n", None),
        ("x   cuda         -       3  wrong formula: the sign (and why)\n", "red"),
        ("\n", None),
    ]


def test_a_rule_explained(explained, monkeypatch):
    monkeypatch.setattr(rules_module.devices, "available", lambda: [CPU])
    name, about, notation, code, forward, backward, judged, *table = explained("identity")
    assert (name, judged) == (("Identity\n", "bold"), ("Judged now, by autograd\n", "bold"))
    assert about == (f"{inspect.getdoc(Identity)}\n\n", None)
    assert notation[0].startswith("Notation: grad_x is ")
    assert notation[0].endswith(".\n\n")
    assert notation[1] == "dim"
    assert code == ("The code, in manual_bp.rules.activations:\n", "bold")
    assert forward == ("    @staticmethod\n    def forward(x: Tensor) -> Tensor:\n        return x.clone()\n\n", None)
    assert backward[0].startswith("    @staticmethod\n    def backward(grad_out: Tensor, ")
    assert table == [
        ("Largest errors, in units of their budget: up to 1 is rounding, - is not judged.\n\n", None),
        ("    device float64 float32 bfloat16 float16  verdict\n", "bold"),
        ("out cpu          0       0        0       0  agrees\n", None),
        ("x   cpu          0       0        0       0  agrees\n", None),
        ("\n", None),
    ]


def test_the_code_of_a_rule_is_that_which_it_calls(explained):
    """Each private function once, of its class and of its module."""
    for name in ("GRUCell", "LayerNorm", "Conv2d"):
        text = "".join(text for text, _ in explained(name))
        code = text[text.index("The code, in ") : text.index("Judged now")]
        defined = re.findall(r"def (\w+)\(", code)
        called = set(re.findall(r"\b(_[a-z]\w*)\(", code))
        assert len(set(defined)) == len(defined)
        assert defined[:2] == ["forward", "backward"]
        assert called <= set(defined)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("LayrNorm", ": did you mean LayerNorm, RMSNorm?"), ("xyz", ""), ("layernorn", ": did you mean LayerNorm?")],
)
def test_the_names_that_are_near_are_named(name, hint, explained):
    said = refused(explained, "Tanh", name)
    assert said == f"rule {name}: expected one of the {len(RULES)} that `manual-bp rules` lists{hint}"


def test_a_rule_that_torch_has_no_twin_of_on_a_device(explained, monkeypatch):
    def rule(name, place, dtypes, seed):
        if place == CUDA:
            raise NotJudged("torch has no twin of it on cuda")
        return Report(name, (RIGHT_ROW,))

    monkeypatch.setattr(rules_module, "rule", rule)
    monkeypatch.setattr(rules_module, "dtypes_of", lambda place: FLOATS)
    monkeypatch.setattr(rules_module.devices, "available", lambda: [CPU, CUDA])
    assert ("Not judged: torch has no twin of it on cuda\n", None) in explained("Identity")


def test_the_dtypes_that_were_judged_are_told_of_each_device():
    def reports(*of_each: str) -> list[Report]:
        rows = ([row("x", getattr(torch, name), 0.5) for name in names.split()] for names in of_each)
        return [Report("", tuple(of_one)) for of_one in rows]

    two, all_three = (torch.float64, torch.float32), (torch.float64, torch.float32, torch.bfloat16)
    for of_cpu, said in (
        (reports("float64 float32"), "on cpu at float64, float32, not at bfloat16"),
        (
            reports("float64 float32 bfloat16", "float32"),
            "on cpu at float64, float32, bfloat16 (1 of them at fewer dtypes)",
        ),
        (reports("float64", "bfloat16"), "on cpu at float64, bfloat16 (2 of them at fewer dtypes), not at float32"),
        ([], "on cpu, not at float64, float32, bfloat16"),
    ):
        assert verify_module._on({CPU: of_cpu}, {CPU: all_three}) == said
    both = {CPU: reports("float64 float32"), CUDA: reports("float64 float32")}
    assert verify_module._on(both, dict.fromkeys((CPU, CUDA), two)) == "on cpu, cuda at float64, float32"
    assert verify_module._on(both, {CPU: two, CUDA: two[1:]}) == "on cpu at float64, float32; on cuda at float32"
