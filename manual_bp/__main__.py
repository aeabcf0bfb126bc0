"""The command line. It parses before it imports torch: help and usage errors do not wait."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from manual_bp import __version__
from manual_bp.commands import CommandError

EXAMPLES = {
    "manual-bp": """
examples:
  manual-bp verify                    judge all that is written by hand here
  manual-bp verify mine.py            judge a gradient of your own
  manual-bp rules LayerNorm           how a backward pass is derived
  manual-bp train --data digits       train on real handwritten digits
  manual-bp train --model transformer
                                      train a small GPT-2 to write
  manual-bp predict net.pt --data new.csv
                                      what a trained network says of new samples
  manual-bp article                   the article, equation by equation
  manual-bp animate round.gif         a round of training, frame by frame
""",
    "verify": """
TARGET is a Python file, file.py:Object or package.module:Object, that has
  forward(*inputs) -> out
  backward(grad_out, out, *inputs) -> (gradient of each input, or None, ...)
  inputs, a tuple of tensors and whatever else forward takes
and may have twin, an independent forward in torch's own operations, or method = "taylor". It is imported, and so
executed. Of an autograd.Function: forward, the same in torch's operations, and backward = TheFunction.

examples:
  manual-bp verify                            the article, every rule, networks, real data
  manual-bp verify mine.py                    the gradient in mine.py
  manual-bp verify my.kernels:LayerNorm       that of a class in a package
  manual-bp verify --device cuda --dtype bfloat16 --dtype float32
  manual-bp verify --json verdict.json        the same for machines
  manual-bp verify --plant stale-weights      see the judge catch the article's literal order

MISTAKE is one of stale-weights, sign, missing-derivative, transposed, forgotten-mean, forgotten-bias; of a transformer
gelu-constant, causal-mask, missing-scale, tied-head, unsummed-heads, late-decay.
Exit code: 0 all agrees, 1 a mismatch, 2 it could not be judged.
""",
    "rules": """
examples:
  manual-bp rules                     every rule by family, with its formula
  manual-bp rules LayerNorm           its derivation, what is often wrong, shapes, source, code, verdict
  manual-bp rules GRUCell LSTMCell    several
Exit code: 0 all agrees, 1 a mismatch, 2 no such rule, or it could not be judged.
""",
    "train": """
examples:
  manual-bp train --data digits                         64-32-10, softmax cross entropy (needs scikit-learn)
  manual-bp train --data digits --verify-every 100      cross-check every 100th step on the way
  manual-bp train --data mine.npz --hidden 20 20        your own arrays X [samples, inputs] and Z
  manual-bp train --data mine.csv --target species      a table: the other columns are inputs
  manual-bp train --data mine.csv --save net.pt         keep the network, for manual-bp predict
  manual-bp train --model transformer --help            the same of a transformer

Z of whole numbers holds class indices; Z of floats [samples, outputs] holds values, or with
--cost cross_entropy numbers from 0 to 1. A target column of words or whole numbers holds classes, of other numbers
values; with another --cost than softmax_cross_entropy whole numbers are values, too. A first line of a .csv file that
has no number in it is a header. What a file holds is standardized, inputs and values to learn; the saved network
takes and gives numbers as they are in the file.
Exit code: 0 agrees with autograd, 1 a mismatch, 2 it could not be trained or judged.
""",
    "train --model transformer": """
examples:
  manual-bp train --model transformer                          GPT-2's form, on the source of Python's own library
  manual-bp train --model transformer --data mine.txt --steps 3000 --save net.safetensors
  manual-bp train --model transformer --form llama --layers 2 --width 64 --verify-every 100

The tokens are the characters of the text. The last tenth of it is held out; the cost is in nats a character.
Exit code: 0 it is trained, 1 a mismatch, 2 it could not be trained or judged.
""",
    "predict": """
examples:
  manual-bp predict net.pt --data new.csv                    a line for each sample: its class, or the outputs
  manual-bp predict net.pt --data new.npz --out told.csv     the same in a file, for an array X
  manual-bp predict net.pt --data digits                     of a network that was trained on them

The columns of a .csv file with a header are found by the names that they had in training, and others are left out.
Exit code: 0 it is predicted, 2 it could not be.
""",
    "article": """
examples:
  manual-bp article                                   both networks
  manual-bp article two_by_two --inputs x=0.3 z_2=0.5 --weights w_21_11=-0.3 --eta 1
  manual-bp article --file numbers.toml               [two_by_two], x = 0.5, ...
  manual-bp article --html article.html               a page with the equations and figures, for a browser
Exit code: 0 agrees with autograd, 1 a mismatch, 2 it could not be worked.
""",
    "animate": """
examples:
  manual-bp animate round.gif                         the article's network and its four steps
  manual-bp animate round.html --sizes 3 2 3 1        any network of up to 4 layers of 3 neurons
  manual-bp animate round.png --sizes 2 3 1 --seed 7  all frames on one sheet
Exit code: 0 it is drawn, 2 it could not be.
""",
    "bench": """
examples:
  manual-bp bench                                  every peer that is installed, in about four minutes
  manual-bp bench --peer "JAX, jit" --rounds 31    ours, autograd and JAX, with more rounds
  manual-bp bench --figure speed.svg               and draw it (needs the extra figures)
  manual-bp bench --model transformer              a transformer's step with AdamW, in about five minutes
Exit code: 0 it is measured, 2 it could not be.
""",
    "devices": """
examples:
  manual-bp devices                                the devices that are here, and why others are not
  manual-bp devices merge cpu.json gpu.json        add up what ran on two machines, as a table
  manual-bp devices merge *.json -o all.json       and write it, as such a file
Such a file is written by pytest --device all --device-report cpu.json.
Exit code: 0 listed, or all passed; 1 a test failed, or none ran on a device that was asked for; 2 no such report.
""",
}


# What train does with each --model
TRAIN = {
    "network": "Train a network by hand-written backward propagation, beside autograd on the same batches.",
    "transformer": "Train a transformer by hand-written backward propagation on a text, character by character.",
}


def parse(argv: Sequence[str]) -> tuple[str, str, dict[str, Any]]:
    """The command, the function that runs it, and what it is given. The options of train depend on its --model."""
    early = argparse.ArgumentParser("manual-bp train", add_help=False)
    early.add_argument("--model", default="network")
    model = early.parse_known_args(argv)[0].model if argv[:1] == ["train"] else "network"
    arguments = vars(parser(model if model in TRAIN else "network").parse_args(argv))
    command = arguments.pop("command")
    if command != "train":
        return command, command, arguments
    return command, "train_transformer" if arguments.pop("model") == "transformer" else command, arguments


def parser(model: str = "network") -> argparse.ArgumentParser:
    """The whole command line; that of train for this model."""
    verbatim = argparse.RawDescriptionHelpFormatter
    about = "Backward propagation written by hand, judged against autograd."
    top = argparse.ArgumentParser(
        "manual-bp", description=about, epilog=EXAMPLES["manual-bp"], formatter_class=verbatim
    )
    top.add_argument("--version", action="version", version=f"manual-bp {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, about: str, examples: str = "") -> argparse.ArgumentParser:
        epilog = EXAMPLES[examples or name]
        return commands.add_parser(name, help=about, description=about, epilog=epilog, formatter_class=verbatim)

    verify = command("verify", "Judge hand-written gradients against autograd, without a tolerance.")
    verify.add_argument(
        "targets", nargs="*", metavar="TARGET", help="a gradient of your own; without one, all that is here"
    )
    verify.add_argument(
        "--device", action="append", metavar="D", help="cpu, cuda, cuda:0, mps, xpu; again for more (all present)"
    )
    verify.add_argument(
        "--dtype",
        action="append",
        choices=["float64", "float32", "float16", "bfloat16"],
        help="again for more (all four)",
    )
    verify.add_argument("--seed", type=_seed, default=0, metavar="N", help="of everything that is drawn (0)")
    verify.add_argument(
        "--json", metavar="FILE", dest="json_file", help="write every verdict to FILE, - for standard output"
    )
    verify.add_argument("--plant", metavar="MISTAKE", help="plant a mistake in the code that is judged")

    rules = command("rules", "The catalogue: list the rules, or show how one is derived, its code and a fresh verdict.")
    rules.add_argument("names", nargs="*", metavar="RULE", help="a rule to explain; without one, all are listed")

    train = command("train", TRAIN[model], f"train --model {model}" if model == "transformer" else "train")
    train.add_argument(
        "--model", choices=[*TRAIN], default="network", help="what is trained; with --help its options (network)"
    )
    (_network if model == "network" else _transformer)(train)
    train.add_argument("--batch-size", type=int, default=16, metavar="N", help="samples in a step (16)")
    train.add_argument("--seed", type=_seed, default=0, metavar="N", help="of weights, split and batches (0)")
    train.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:0, mps, xpu (cpu)")
    train.add_argument("--dtype", default="float32", choices=["float64", "float32"], help="of all numbers (float32)")
    train.add_argument("--verify-every", type=int, metavar="K", help="cross-check every K-th step on the way")

    predict = command("predict", "Say what a saved network predicts of new samples.")
    predict.add_argument("network", metavar="NETWORK", help="the file that manual-bp train --save has written")
    predict.add_argument("--data", required=True, help="digits, FILE.npz with an array X, or FILE.csv")
    predict.add_argument("--out", metavar="FILE", help="write the predictions there, as CSV")

    article = command("article", "Work through the article's two networks, equation by equation, beside autograd.")
    article.add_argument("network", nargs="?", choices=["neuron", "two_by_two"], help="one of them; both without it")
    _numbers(article)
    article.add_argument("--html", metavar="FILE", dest="html_file", help="write it as one page, with the figures")
    article.add_argument("--figures", metavar="DIR", help="write the article's figures, as .svg")

    animate = command("animate", "Draw a round of training of a small network, frame by frame.")
    animate.add_argument("out", metavar="OUT", help="the file: .gif or .html moves, .png or .svg has all frames")
    animate.add_argument("--sizes", type=int, nargs="+", metavar="N", help="a random network in place of the article's")
    animate.add_argument("--seed", type=_seed, default=0, metavar="N", help="of the network of --sizes (0)")
    animate.add_argument("--seconds", type=float, default=1.8, help="of each frame (1.8)")
    _numbers(animate)

    bench = command(
        "bench", "Measure the training step in place against autograd, torch.compile, JAX, scikit-learn and NumPy."
    )
    bench.add_argument("--model", choices=("network", "transformer"), default="network", help="whose step (network)")
    bench.add_argument(
        "--peer", action="append", dest="peers", metavar="NAME", help="a peer beside autograd; again for more (all)"
    )
    bench.add_argument("--rounds", type=int, default=11, metavar="N", help="turns of each (11)")
    bench.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda, cuda:0 (cpu)")
    bench.add_argument("--figure", metavar="FILE", help="draw speed and growth, as .svg, .png or .pdf")

    devices = command("devices", "List the devices that are here, or add up what the tests did on several machines.")
    devices.set_defaults(files=[], out=None)
    about_merge = "add up reports of pytest --device-report"
    actions = devices.add_subparsers(dest="action", metavar="merge", help=about_merge)
    merge = actions.add_parser("merge", description=f"{about_merge.capitalize()}.")
    merge.add_argument("files", nargs="+", metavar="FILE", help="a report; again for more")
    merge.add_argument("-o", "--out", metavar="FILE", help="write the sum there, as a report")
    return top


def _network(train: argparse.ArgumentParser) -> None:
    """What train takes for a network."""
    train.add_argument("--data", required=True, help="digits, FILE.npz with arrays X and Z, or FILE.csv")
    train.add_argument(
        "--target",
        metavar="COLUMN",
        help="of FILE.csv, by name, or without a header by number; the last if none is named",
    )
    train.add_argument(
        "--hidden", type=int, nargs="*", default=[32], metavar="N", help="neurons of each hidden layer (32)"
    )
    train.add_argument(
        "--activation", default="tanh", choices=["sigmoid", "tanh", "relu"], help="of the hidden layers (tanh)"
    )
    train.add_argument(
        "--cost", choices=["cross_entropy", "softmax_cross_entropy", "squared_error"],
        help="softmax_cross_entropy for classes, else squared_error",
    )  # fmt: skip
    train.add_argument("--eta", type=float, default=0.1, help="learning rate (0.1)")
    train.add_argument("--epochs", type=int, default=20, metavar="N", help="rounds through the data (20)")
    train.add_argument("--figure", metavar="FILE", help="draw cost and accuracy, as .svg, .png or .pdf")
    train.add_argument("--save", metavar="FILE", help="write the trained network, for manual-bp predict")


def _transformer(train: argparse.ArgumentParser) -> None:
    """What it takes for a transformer."""
    train.add_argument("--data", metavar="FILE", help="a text in UTF-8; without one, the source of Python's library")
    train.add_argument("--form", default="gpt2", choices=["gpt2", "llama"], help="how its blocks are made (gpt2)")
    train.add_argument("--layers", type=int, default=4, metavar="N", help="blocks (4)")
    train.add_argument("--width", type=int, default=128, metavar="N", help="numbers in a position's vector (128)")
    train.add_argument("--heads", type=int, default=4, metavar="N", help="of attention, which share the width (4)")
    train.add_argument("--context", type=int, default=64, metavar="N", help="characters that it looks at (64)")
    train.add_argument("--steps", type=int, default=1000, metavar="N", help="batches that it is trained on (1000)")
    train.add_argument("--rate", type=float, default=0.001, help="learning rate of AdamW (0.001)")
    train.add_argument("--save", metavar="FILE", help="write the trained transformer, in the format of safetensors")


def _seed(text: str) -> int:
    """A seed, as torch takes it."""
    try:
        seed = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
    if not -(2**63) <= seed < 2**63:
        raise argparse.ArgumentTypeError(f"expected a whole number of 64 bits, from -2^63 to 2^63 - 1, got {text}")
    return seed


def _numbers(command: argparse.ArgumentParser) -> None:
    """The numbers of the article's networks."""
    command.add_argument("--inputs", nargs="+", default=[], metavar="NAME=X", help="inputs and targets, as x=0.5 z_1=0")
    command.add_argument("--weights", nargs="+", default=[], metavar="NAME=X", help="weights, as w_11_x=0.1 w_21_b=-2")
    command.add_argument("--eta", type=float, help="learning rate (0.5)")
    command.add_argument("--file", help="the numbers in TOML or JSON: tables neuron and two_by_two")


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """Within it, Ctrl-C ends the process: what is imported, as numpy, would swallow its exception or break by it."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a job in the background ignores it
    if not usual or threading.current_thread() is not threading.main_thread():  # no other may set a handler
        yield
        return

    def end(*_: object) -> None:
        os.write(2, b"\nmanual-bp: interrupted\n")
        os._exit(2)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    command, function, arguments = parse(sys.argv[1:] if argv is None else argv)
    try:
        with _ended_at_once():
            module = import_module(f"manual_bp.commands.{function}")
        code: int = getattr(module, function)(**arguments)
        sys.stdout.flush()
    except CommandError as error:
        print(f"manual-bp {command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader has gone, as in `| head`. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:  # a full disk behind standard output, and the like
        print(f"manual-bp {command}: {error.strerror or error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except KeyboardInterrupt:
        print("\nmanual-bp: interrupted", file=sys.stderr)
        return 2
    return code


if __name__ == "__main__":
    sys.exit(main())
