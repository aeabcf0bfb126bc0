"""What a machine does to a program: interruption, full disks, directories that are not there."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from manual_bp.__main__ import main
from manual_bp._files import whole
from manual_bp.commands import CommandError, bench

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "manual_bp"]


def run(*arguments, **options):
    settings = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 120} | options
    return subprocess.run([*COMMAND, *arguments], check=False, **settings)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "out.txt"
    file.write_text("before")

    def interrupted():
        with whole(file) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert file.read_text() == "before"
    with whole(file) as draft:
        draft.write_text("after")
        assert file.read_text() == "before"
    assert file.read_text() == "after"
    assert os.listdir(tmp_path) == ["out.txt"]
    assert file.stat().st_mode == (tmp_path.joinpath("plain").touch(), (tmp_path / "plain").stat().st_mode)[1]


@pytest.mark.skipif(sys.platform == "win32", reason="no such links and modes")
def test_a_link_stays_a_link_and_a_file_keeps_its_mode(tmp_path):
    file, link = tmp_path / "out.txt", tmp_path / "link"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to("out.txt")
    with whole(link) as draft:
        draft.write_text("after")
        assert draft.stat().st_mode & 0o777 == 0o640
    assert os.readlink(link) == "out.txt"
    assert file.read_text() == "after"
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "out.txt"]


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="has no /dev/stdout")
def test_standard_output_is_written_to_not_replaced(tmp_path):
    log = tmp_path / "log"
    log.write_text("kept\n")
    code = "import sys; from pathlib import Path; from manual_bp._files import whole\n"
    code += "with whole(Path('/dev/stdout')) as out: out.open('a').write('added')"
    with log.open("a") as out:
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=out)
    assert log.read_text() == "kept\nadded"


def started(command):
    return subprocess.Popen(
        command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs in the background inherit none
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
@pytest.mark.parametrize("module", ["numpy", "torch"])
def test_ctrl_c_while_modules_are_imported(module):
    process = started([sys.executable, "-X", "importtime", *COMMAND[1:], "rules"])
    assert any(f" {module}." in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert out == ""
    assert err.endswith("\nmanual-bp: interrupted\n")
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal")
def test_ctrl_c_says_so_and_leaves_no_file(tmp_path):
    process = started([*COMMAND, "verify", "--json", str(tmp_path / "verdict.json")])
    assert process.stdout.readline().startswith("manual-bp ")  # it is at work
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.strip().endswith("manual-bp: interrupted")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
def test_a_full_disk_is_said():
    with open("/dev/full", "w") as full:
        done = run("rules", "Sigmoid", stdout=full, capture_output=False, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "manual-bp rules: No space left on device\n"
    done = run("verify", "examples/autograd_function.py", "--json", "/dev/full")
    assert done.returncode == 2
    assert "No space left on device" in done.stderr


def test_a_benchmark_without_ours_is_none():
    ours = SimpleNamespace(send=lambda message: None, recv=lambda: "no memory")
    with pytest.raises(CommandError, match="manual-bp, 2-2, batch 1: no memory"):
        bench._measure({"manual-bp": ours}, bench.Setting([2, 2], 1), 2, bench.console())


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "examples/autograd_function.py", "--json", "{}/out"],
        ["article", "neuron", "--html", "{}/out.html"],
        ["article", "neuron", "--figures", "{}/out"],
        ["animate", "{}/out.svg"],
        ["train", "--data", "mine.npz", "--figure", "{}/out.svg"],
        ["train", "--data", "mine.npz", "--save", "{}/net.pt"],
        ["predict", "net.pt", "--data", "mine.npz", "--out", "{}/out.csv"],
    ],
    ids=" ".join,
)
def test_a_directory_that_is_none_is_said(arguments, tmp_path, capsys):
    if arguments[0] != "verify":
        pytest.importorskip("matplotlib", reason="for the picture")
    (tmp_path / "file").write_text("")
    assert main([argument.replace("{}", str(tmp_path / "file")) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("manual-bp ")
    assert out == ""  # before any work
    assert os.listdir(tmp_path) == ["file"]
