"""`manual-bp devices`: what is here, and what ran where."""

import json

import pytest
import torch

from crosscheck import devices
from manual_bp import __version__
from manual_bp.__main__ import main


def test_the_devices_here_and_why_others_are_not(monkeypatch, capsys):
    two = {"cuda": [torch.device("cuda", 0), torch.device("cuda", 1)]}
    monkeypatch.setattr(devices, "kinds", lambda: ("cpu", "cuda", "npu"))
    monkeypatch.setattr(devices, "missing", lambda kind: "no package" if kind == "npu" else "")
    monkeypatch.setattr(devices, "of_kind", lambda kind: two.get(kind, []))
    monkeypatch.setattr(devices, "title", lambda place: f"{place}!")
    assert main(["devices"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"manual-bp {__version__}, torch {torch.__version__}",
        "cpu!",
        "cuda:0!",
        "cuda:1!",
        "npu is not here: no package",
    ]


def run_on(device, passed=0, failed=0, skipped=None, version="2.13.0"):
    kind = device.partition(":")[0]
    where = {"device": device, "kind": kind, "title": device, "torch": version}
    return {**where, "passed": passed, "failed": failed, "skipped": skipped or {}}


@pytest.fixture
def merge(tmp_path, monkeypatch, capsys):
    """Merges reports, and returns the exit code, what is printed, and what is written."""
    monkeypatch.chdir(tmp_path)

    def merge(*reports):
        files = [f"{i}.json" for i in range(len(reports))]
        for file, (asked, *runs) in zip(files, reports, strict=True):
            (tmp_path / file).write_text(json.dumps({"asked": asked, "runs": runs}))
        code = main(["devices", "merge", *files, "-o", "out.json"])
        return code, capsys.readouterr().out.splitlines(), json.loads((tmp_path / "out.json").read_text())

    return merge


def test_machines_add_up(merge):
    code, lines, written = merge(
        (["cpu"], run_on("cpu", 3, skipped={"slow": 1}), run_on("cuda")),
        (["cpu", "cuda"], run_on("cpu", 2, skipped={"slow": 1, "old": 5}), run_on("cuda", 7)),
        ([], run_on("cpu", 1, version="2.8.0")),
    )
    assert code == 0
    assert lines == [
        "device  torch   passed  failed  skipped",
        "cpu     2.13.0  5       0       7",
        "    5 skipped: old",
        "    2 skipped: slow",
        "cuda    2.13.0  7       0       0",
        "cpu     2.8.0   1       0       0",
    ]
    assert written == {
        "asked": ["cpu", "cuda"],
        "runs": [
            run_on("cpu", 5, skipped={"slow": 2, "old": 5}),
            run_on("cuda", 7),
            run_on("cpu", 1, version="2.8.0"),
        ],
    }
    assert merge((written["asked"], *written["runs"])) == (code, lines, written)


@pytest.mark.parametrize(
    ("runs", "code"),
    [
        ([run_on("cpu", 1), run_on("cuda", skipped={"slow": 9})], 1),
        ([run_on("cpu", 1)], 1),
        ([run_on("cpu", 1), run_on("cuda:0", 1)], 0),
        ([run_on("cpu", 1), run_on("cuda", 1, failed=1)], 1),
    ],
)
def test_what_was_asked_for_and_did_not_run_anywhere_is_a_failure(runs, code, merge):
    found, lines, _ = merge((["cuda"],), ([], *runs))
    assert found == code
    is_idle = not any(run["kind"] == "cuda" and run["passed"] for run in runs)
    assert ("ERROR: no test ran on cuda, which was asked for" in lines) == is_idle


def test_an_index_that_was_asked_for_is_that_one(merge):
    code, lines, _ = merge((["cuda:1"], run_on("cuda:0", 1)))
    assert code == 1
    assert lines[-1] == "ERROR: no test ran on cuda:1, which was asked for"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "\xff", '{"asked": []}', '{"asked": [1], "runs": []}', '{"asked": [], "runs": [{}]}',
        json.dumps({"asked": [], "runs": [run_on("cpu") | {"passed": "3"}]}),
        json.dumps({"asked": [], "runs": [run_on("cpu", skipped={"slow": "1"})]}),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    assert main(["devices", "merge", "a.json", "-o", "out.json"]) == 2
    told = "expected a report that pytest --device-report or manual-bp devices merge -o writes, got another file"
    assert capsys.readouterr().err == f"manual-bp devices: a.json: {told}\n"
    assert not (tmp_path / "out.json").exists()


def test_files_that_are_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["devices", "merge", "a.json"]) == 2
    assert main(["devices", "merge", "a.json", "-o", "none/out.json"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "manual-bp devices: a.json: expected a report, got no file of that name",
        "manual-bp devices: --out none/out.json: expected a directory that exists, got no "
        f"{tmp_path / 'none'}: make it first",
    ]
