"""The command line as it is parsed, how it ends, and its console."""

import argparse
import inspect
import os
import re
import shlex
import signal
import sys
import threading
from contextlib import suppress
from importlib import import_module
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from crosscheck import devices
from crosscheck.row import dtype_name
from crosscheck.verdict.precision import DTYPES
from manual_bp.__main__ import EXAMPLES, TRAIN, _ended_at_once, main, parse, parser
from manual_bp._console import Silent, console
from manual_bp.commands import CommandError, _writing
from manual_bp.commands._writing import can_draw
from manual_bp.commands.article import DEFAULTS, numbers_given
from manual_bp.commands.bench import MODELS
from manual_bp.network import ACTIVATIONS, COSTS
from manual_bp.transformer import BLOCKS

# What is parsed of each command without options, and of all its options
NEITHER = {"inputs": [], "weights": [], "eta": None, "file": None}
PARSED = {
    "verify": {"targets": [], "device": None, "dtype": None, "seed": 0, "json_file": None, "plant": None},
    "verify a b --device cpu --device cuda --dtype float16 --dtype float64 --seed -7 --json f --plant sign": {
        "targets": ["a", "b"], "device": ["cpu", "cuda"], "dtype": ["float16", "float64"], "seed": -7,
        "json_file": "f", "plant": "sign",
    },
    "rules": {"names": []},
    "rules Tanh ReLU": {"names": ["Tanh", "ReLU"]},
    "train --data digits": {
        "data": "digits", "hidden": [32], "activation": "tanh", "cost": None, "eta": 0.1, "epochs": 20,
        "batch_size": 16, "seed": 0, "device": "cpu", "dtype": "float32", "verify_every": None, "figure": None,
        "target": None, "save": None,
    },
    "train --data f --hidden 5 4 --activation relu --cost squared_error --eta 2 --epochs 3 --batch-size 4 --seed 5 "
    "--device cuda --dtype float64 --verify-every 6 --figure g --target t --save s": {
        "data": "f", "hidden": [5, 4], "activation": "relu", "cost": "squared_error", "eta": 2.0, "epochs": 3,
        "batch_size": 4, "seed": 5, "device": "cuda", "dtype": "float64", "verify_every": 6, "figure": "g",
        "target": "t", "save": "s",
    },
    "train --data f --hidden": {
        "data": "f", "hidden": [], "activation": "tanh", "cost": None, "eta": 0.1, "epochs": 20, "batch_size": 16,
        "seed": 0, "device": "cpu", "dtype": "float32", "verify_every": None, "figure": None,
        "target": None, "save": None,
    },
    "train --model network --data f --hidden": {
        "data": "f", "hidden": [], "activation": "tanh", "cost": None, "eta": 0.1, "epochs": 20, "batch_size": 16,
        "seed": 0, "device": "cpu", "dtype": "float32", "verify_every": None, "figure": None,
        "target": None, "save": None,
    },
    "train --model transformer": {
        "data": None, "form": "gpt2", "layers": 4, "width": 128, "heads": 4, "context": 64, "steps": 1000,
        "rate": 0.001, "batch_size": 16, "seed": 0, "device": "cpu", "dtype": "float32", "verify_every": None,
        "save": None,
    },
    "train --data f --form llama --layers 1 --width 2 --heads 3 --context 4 --steps 5 --rate 6 --batch-size 7 --seed 8 "
    "--device cuda --dtype float64 --verify-every 9 --save s --model=transformer": {
        "data": "f", "form": "llama", "layers": 1, "width": 2, "heads": 3, "context": 4, "steps": 5, "rate": 6.0,
        "batch_size": 7, "seed": 8, "device": "cuda", "dtype": "float64", "verify_every": 9, "save": "s",
    },
    "predict net --data f": {"network": "net", "data": "f", "out": None},
    "predict net --data f --out g": {"network": "net", "data": "f", "out": "g"},
    "article": {"network": None, "html_file": None, "figures": None, **NEITHER},
    "article neuron --inputs a=1 b=2 --weights c=3 d=4 --eta 3 --file f --html g --figures h": {
        "network": "neuron", "html_file": "g", "figures": "h", "inputs": ["a=1", "b=2"], "weights": ["c=3", "d=4"],
        "eta": 3.0, "file": "f",
    },
    "animate f": {"out": "f", "sizes": None, "seed": 0, "seconds": 1.8, **NEITHER},
    "animate f --sizes 3 2 1 --seed 5 --seconds 2 --eta 1": {
        "out": "f", "sizes": [3, 2, 1], "seed": 5, "seconds": 2.0, **NEITHER, "eta": 1.0,
    },
    "bench": {"model": "network", "peers": None, "rounds": 11, "device": "cpu", "figure": None},
    "bench --model transformer --peer a --peer b --rounds 3 --device cuda --figure f": {
        "model": "transformer",
        "peers": ["a", "b"], "rounds": 3, "device": "cuda", "figure": "f",
    },
    "devices": {"action": None, "files": [], "out": None},
    "devices merge a b -o c": {"action": "merge", "files": ["a", "b"], "out": "c"},
}  # fmt: skip


@pytest.mark.parametrize("line", PARSED)
def test_what_is_parsed_is_what_the_command_takes(line):
    command, name, ours = parse(line.split())
    assert command == line.split()[0]
    assert repr(ours) == repr({option: PARSED[line][option] for option in ours})  # 2 is not 2.0
    function = getattr(import_module(f"manual_bp.commands.{name}"), name)
    assert ours.keys() == PARSED[line].keys() == inspect.signature(function).parameters.keys()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train --data f --layers 3", "unrecognized arguments: --layers 3"),
        ("train --model transformer --hidden 3", "unrecognized arguments: --hidden 3"),
        ("train --model rnn", "argument --model: invalid choice: 'rnn'"),
        ("train --model", "argument --model: expected one argument"),
    ],
)
def test_an_option_of_another_model_is_refused(line, says, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(line.split())
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


USAGE = """\
manual-bp [-h] [--version] COMMAND ...
manual-bp verify [-h] [--device D] [--dtype {float64,float32,float16,bfloat16}] [--seed N] [--json FILE] \
[--plant MISTAKE] [TARGET ...]
manual-bp rules [-h] [RULE ...]
manual-bp train [-h] [--model {network,transformer}] --data DATA [--target COLUMN] [--hidden [N ...]] \
[--activation {sigmoid,tanh,relu}] [--cost {cross_entropy,softmax_cross_entropy,squared_error}] [--eta ETA] \
[--epochs N] [--figure FILE] [--save FILE] [--batch-size N] [--seed N] [--device D] [--dtype {float64,float32}] \
[--verify-every K]
manual-bp train [-h] [--model {network,transformer}] [--data FILE] [--form {gpt2,llama}] [--layers N] [--width N] \
[--heads N] [--context N] [--steps N] [--rate RATE] [--save FILE] [--batch-size N] [--seed N] [--device D] \
[--dtype {float64,float32}] [--verify-every K]
manual-bp predict [-h] --data DATA [--out FILE] NETWORK
manual-bp article [-h] [--inputs NAME=X [NAME=X ...]] [--weights NAME=X [NAME=X ...]] [--eta ETA] [--file FILE] \
[--html FILE] [--figures DIR] [{neuron,two_by_two}]
manual-bp animate [-h] [--sizes N [N ...]] [--seed N] [--seconds SECONDS] [--inputs NAME=X [NAME=X ...]] \
[--weights NAME=X [NAME=X ...]] [--eta ETA] [--file FILE] OUT
manual-bp bench [-h] [--model {network,transformer}] [--peer NAME] [--rounds N] [--device D] [--figure FILE]
manual-bp devices [-h] merge ...
"""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The whole command line, and each command, train with each of its models."""
    top = parser()
    found = {"manual-bp": top}
    for name, each in commands_of(top).items():
        found[name] = each
        if name == "train":
            found["train --model transformer"] = commands_of(parser("transformer"))[name]
    return found


def commands_of(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (commands,) = (action for action in top._actions if action.dest == "command")
    return commands.choices


def test_the_usage_of_each_command(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    assert "".join(each.format_usage().removeprefix("usage: ") for each in parsers().values()) == USAGE


def test_help_is_of_every_option_and_as_it_was_written(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    of_all = parsers()
    assert of_all.keys() == EXAMPLES.keys()
    for name, each in of_all.items():
        assert [action.dest for action in each._actions if not action.help and action.dest != "command"] == []
        assert each.description.endswith(".")
        assert f"\n\n{each.description}\n\n" in each.format_help()
        assert each.format_help().endswith(f"\n{EXAMPLES[name]}")
        assert (
            " " in name
            or name == "manual-bp"
            or f"    {name:8}  {each.description}\n" in of_all["manual-bp"].format_help()
        )


def test_a_default_in_brackets_is_the_parsers():
    named = {
        (command, action.dest): (action.help.rpartition("(")[2][:-1], action.default)
        for command, each in parsers().items()
        for action in each._actions
        if (action.help or "").endswith(")")
    }
    assert len(named) == 32
    for (command, option), (text, default) in named.items():
        if text.startswith("all"):
            assert default is None
        elif option == "eta" and command != "train":
            assert default is None
            assert {text} == {str(numbers["eta"]) for numbers in DEFAULTS.values()}
        else:
            assert [text] == [str(default)] or text == " ".join(map(str, default)), option


def test_the_choices_are_those_that_there_are():
    chosen = {
        (command, action.dest): action.choices
        for command, each in parsers().items()
        for action in each._actions
        if action.choices and action.dest != "command"
    }
    assert {name: set(choices) for name, choices in chosen.items()} == {
        ("verify", "dtype"): set(map(dtype_name, DTYPES)),
        ("train", "activation"): ACTIVATIONS.keys() - {"identity"},
        ("train", "cost"): COSTS.keys(),
        ("train", "dtype"): {"float32", "float64"},
        ("train", "model"): TRAIN.keys(),
        ("train --model transformer", "dtype"): {"float32", "float64"},
        ("train --model transformer", "model"): TRAIN.keys(),
        ("train --model transformer", "form"): BLOCKS.keys(),
        ("article", "network"): DEFAULTS.keys(),
        ("devices", "action"): {"merge"},
        ("bench", "model"): MODELS.keys(),
    }


def test_the_names_in_a_help_are_those_that_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_writing, "find_spec", lambda name: name)
    named = {
        (command, action.dest): re.findall(r"\.\w+|(?:cpu|cuda|mps|xpu)(?::0)?", action.help)
        for command, each in parsers().items()
        for action in each._actions
        if action.dest in ("device", "figure")
    }
    for (command, option), names in named.items():
        if option == "figure":
            for suffix in names:
                can_draw(f"drawn{suffix}")
            with pytest.raises(CommandError, match=re.escape(f" {', '.join(names[:2])} or {names[2]}") + "$"):
                can_draw("drawn")
        else:
            assert {"cpu", "cuda", "cuda:0"} <= set(names)
            assert command == "bench" or set(names) >= set(devices.KINDS)
            assert all(isinstance(devices.missing(name), str) for name in names)  # else it raises


@pytest.mark.parametrize("command", ["article", "animate"])
def test_the_numbers_in_a_help_are_taken(command):
    helps = {action.dest: action.help for action in parsers()[command]._actions}
    inputs, weights = (helps[option].partition(", as ")[2].split() for option in ("inputs", "weights"))
    assert len(inputs) == len(weights) == 2
    ours = numbers_given(["two_by_two"], inputs, weights, None, None)["two_by_two"]
    for name, value in (pair.split("=") for pair in (*inputs, *weights)):
        assert ours[name] == float(value)
    assert helps["file"].endswith(f": tables {' and '.join(DEFAULTS)}")


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_parsed(name):
    examples = re.findall(r"^  (manual-bp .*?)(?:  .*)?$", EXAMPLES[name], re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        program, *arguments = shlex.split(example)
        assert program == "manual-bp"
        if "--help" not in arguments:
            parse(arguments)


@pytest.mark.parametrize(
    ("seed", "says"),
    [
        (str(-(2**63)), ""),
        (str(2**63 - 1), ""),
        (str(2**63), f"expected a whole number of 64 bits, from -2^63 to 2^63 - 1, got {2**63}"),
        (str(-(2**63) - 1), f"expected a whole number of 64 bits, from -2^63 to 2^63 - 1, got {-(2**63) - 1}"),
        ("1.5", "expected a whole number, got '1.5'"),
    ],
)
def test_a_seed_is_one_that_torch_takes(seed, says, capsys):
    if not says:
        assert parser().parse_args(["verify", f"--seed={seed}"]).seed == int(seed)
        torch.Generator().manual_seed(int(seed))
        return
    with pytest.raises(SystemExit):
        parser().parse_args(["verify", f"--seed={seed}"])
    assert capsys.readouterr().err.endswith(f"manual-bp verify: error: argument --seed: {says}\n")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (CommandError("no"), "manual-bp rules: no\n"),
        (OSError(28, "No space left on device"), "manual-bp rules: No space left on device\n"),
        (OSError("unknown"), "manual-bp rules: unknown\n"),
        (BrokenPipeError(32, "Broken pipe"), ""),
        (KeyboardInterrupt(), "\nmanual-bp: interrupted\n"),
    ],
)
def test_what_ends_a_command_is_said_in_a_line(error, says, capsys, monkeypatch):
    """And what standard output cannot take, it is spared when Python closes it."""

    def fails(names):
        print(names)
        raise error

    lost = []

    def dup2(source, to):
        assert os.path.samestat(os.fstat(source), os.stat(os.devnull))
        assert os.write(source, b"lost") == 4
        lost.append(to)

    with monkeypatch.context() as patch:
        patch.setattr("manual_bp.commands.rules.rules", fails)
        patch.setattr(sys.stdout, "fileno", lambda: 17)
        patch.setattr(os, "dup2", dup2)
        assert main(["rules", "Tanh"]) == 2
    assert capsys.readouterr() == ("['Tanh']\n", says)
    assert lost == [17] * isinstance(error, OSError)


def test_ctrl_c_ends_the_process_while_modules_are_imported(monkeypatch):
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    monkeypatch.setattr(os, "write", lambda *given: done.append(given))
    monkeypatch.setattr(os, "_exit", lambda *given: done.append(given))
    try:
        with suppress(ZeroDivisionError), _ended_at_once():
            signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
            raise ZeroDivisionError  # as of an import that fails
        assert done == [(2, b"\nmanual-bp: interrupted\n"), (2,)]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize("where", ["ignored", "another thread"])
def test_a_handler_that_is_not_ours_to_set_stays(where):
    handler = signal.SIG_IGN if where == "ignored" else signal.default_int_handler
    usual = signal.signal(signal.SIGINT, handler)
    within = []

    def enter():
        with _ended_at_once():
            within.append(signal.getsignal(signal.SIGINT))

    try:
        if where == "ignored":
            enter()
        else:
            thread = threading.Thread(target=enter)
            thread.start()
            thread.join()
        assert within == [handler]
    finally:
        signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize("stream", ["out", "err"])
@pytest.mark.parametrize("is_rich", [True, False])
def test_a_line_is_printed_as_it_is(is_rich, stream, capsys, monkeypatch):
    """No markup, no emoji, no number in colours, no line broken; on a terminal, in the style that was asked for."""
    if is_rich:
        pytest.importorskip("rich")
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "manual_bp._rich", None)
    lines = console(stderr=stream == "err") if stream == "err" else console()
    line = "[bold]3[/bold] of 'x' :smile: " + "and so on " * 30
    lines.print(line, end=";\n")
    lines.print(line, style="red")
    lines.print()
    styled = f"\x1b[31m{line}\x1b[0m" if is_rich else line
    printed = capsys.readouterr()
    assert getattr(printed, stream) == f"{line};\n{styled}\n\n"
    assert printed.out + printed.err == getattr(printed, stream)


def test_the_bar_is_on_a_terminal_alone_and_goes(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert console().progress().disable
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert console().progress().disable  # a pipe with colours
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines = console()
    bar = lines.progress()
    assert (bar.disable, bar.live.transient, bar.console) == (False, True, lines)
    names = [type(column).__name__ for column in bar.columns]
    assert names == ["TextColumn", "BarColumn", "MofNCompleteColumn", "TimeRemainingColumn"]
    task = bar.add_task("judging", total=3)
    assert str(bar.columns[0].render(bar.tasks[task])) == "judging"
    with pytest.raises(BrokenPipeError):
        lines.on_broken_pipe()


def test_in_a_notebook_progress_is_one_line_that_is_updated(monkeypatch):
    rich = pytest.importorskip("manual_bp._rich", reason="rich is not installed")
    shown, clock = [], count()

    class Handle:
        def update(self, text, *, raw):
            assert raw
            shown[-1] = text

    def display(text, *, raw, display_id):
        assert raw
        assert display_id
        shown.append(text)
        return Handle()

    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(rich, "time", SimpleNamespace(monotonic=lambda: 1 + 0.04 * next(clock)))
    lines = console()
    lines.is_jupyter = True
    with lines.progress() as bar:
        task = bar.add_task("judging", total=9)
        assert shown == []
        bar.update(task, description="a", completed=2)
        assert shown == [{"text/plain": "a (2/9)"}]
        bar.advance(task)  # too early to be seen
        assert shown == [{"text/plain": "a (2/9)"}]
        bar.update(task, description="b")
        bar.advance(task)
        assert shown == [{"text/plain": "b (4/9)"}]
        bar.update(task, completed=9)
    assert shown == [{"text/plain": "b (9/9)"}]


def test_without_rich_the_work_is_the_same_and_a_silent_console_says_nothing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "manual_bp._rich", None)
    for lines in (console(), Silent()):
        with lines.progress() as progress:
            assert progress is lines
            task = progress.add_task("judging", total=3)
            progress.update(task, description="x", completed=1)
            progress.advance(task)
        lines.print("said", style="bold")
    assert capsys.readouterr() == ("said\n", "")
