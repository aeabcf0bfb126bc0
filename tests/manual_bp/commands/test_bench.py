"""The benchmark: what it measures runs, and is the same step; what it says is what was measured. No test is timed."""

import importlib.util
import inspect
import logging
import multiprocessing
import operator
import re
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from crosscheck import compare, devices
from manual_bp import Network, __version__
from manual_bp.__main__ import main
from manual_bp._console import Plain
from manual_bp.commands import bench, peers, plots, transformer_peers
from manual_bp.commands.bench import OURS, Measured, Setting, ratio, slope
from manual_bp.commands.peers import ETA, PEERS, Peer, missing
from manual_bp.commands.transformer_peers import PEERS as TRANSFORMER_PEERS
from manual_bp.transformer import Transformer, one_round

CPU = torch.device("cpu")
ON_CPU = [name for name in PEERS if not missing(PEERS[name], CPU)]
SIZES, SAMPLES = [5, 6, 4, 3], 210  # more than scikit-learn has in a batch by itself


@pytest.fixture
def small(monkeypatch):
    """A benchmark of half a minute, most of it the starting of processes."""
    monkeypatch.setattr(bench, "TURN", 0.001)
    monkeypatch.setattr(bench, "SPEED", [Setting([2, 2, 2], 1, "2-2-2, online")])
    monkeypatch.setattr(bench, "MEMORY", [Setting([2000] * 4, 2, "3 layers of 2000")])
    for growth in ("WIDTH", "DEPTH"):
        monkeypatch.setattr(bench, growth, getattr(bench, growth)[:3])


@pytest.mark.parametrize("name", [name for name in ON_CPU if "compiled" not in name])
def test_every_peer_takes_steps(name):
    for sizes, samples in (([2, 2, 2], 1), ([5, 4, 3], 7)):
        PEERS[name].make(sizes, samples, CPU)(3)


def kept(function):
    """What a function, and those within it, hold on to, by name."""
    names = dict(inspect.getclosurevars(function).nonlocals)
    for value in filter(inspect.isfunction, list(names.values())):
        names |= kept(value)
    return names


def parameters(run):
    """The weights and biases of a peer, as its last step has left them."""
    of_peer = kept(run)
    if "params" in of_peer:
        weights, biases = zip(*of_peer["params"], strict=True)
    elif "module" in of_peer:
        layers = [part for part in of_peer["module"] if isinstance(part, torch.nn.Linear)]
        weights, biases = ([getattr(part, name).detach() for part in layers] for name in ("weight", "bias"))
    elif isinstance(of_peer["net"], Network):
        weights, biases = of_peer["net"].weights, of_peer["net"].biases
    else:
        weights, biases = [w.T for w in of_peer["net"].coefs_], of_peer["net"].intercepts_
    return [torch.tensor(values.tolist()) for values in (*weights, *biases)]


@pytest.mark.parametrize("name", [name for name in ON_CPU if name != "matrix products alone"])
def test_every_peer_takes_the_same_step(name, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    run = PEERS[name].make(SIZES, SAMPLES, CPU)
    run(1)  # scikit-learn has no weights before
    nets = [Network.random(SIZES, dtype=dtype) for dtype in (torch.float32, torch.float64)]
    for net in nets:
        for p, theirs in zip((*net.weights, *net.biases), parameters(run), strict=True):
            p.copy_(theirs)
    run(3)
    x, z = peers.batch(SIZES, SAMPLES, CPU)
    for net in nets:
        for _ in range(3):
            net.step(x.to(net.dtype), z.to(net.dtype), ETA)
    theirs, ours, exact = (
        {str(i): p for i, p in enumerate(all_of_them)}
        for all_of_them in (parameters(run), *((*net.weights, *net.biases) for net in nets))
    )
    compare(theirs, ours, oracle=exact).raise_on_mismatch()


@pytest.mark.parametrize("name", [name for name in TRANSFORMER_PEERS if not missing(TRANSFORMER_PEERS[name], CPU)])
def test_every_peer_takes_the_same_step_of_a_transformer(name, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    set_for_good = []
    libc = SimpleNamespace(mallopt=lambda *of: set_for_good.append(of))
    monkeypatch.setattr(transformer_peers.ctypes, "CDLL", lambda name: libc)
    sizes = transformer_peers.Sizes(11, 6, 8, 2, 2)
    run = TRANSFORMER_PEERS[name].make(sizes, 3, CPU)
    run(3)
    of_peer = kept(run)
    ours = Transformer.random(**sizes._asdict())
    if "net" in of_peer:
        theirs = of_peer["net"].parameters
    elif "params" in of_peer:
        theirs = of_peer["params"]
    else:
        theirs = dict(zip(ours.parameters, of_peer["optimizer"].param_groups[0]["params"], strict=True))
    tokens, targets = transformer_peers.batch(sizes, 3, CPU)
    for _ in range(3):
        one_round(ours, tokens, targets, transformer_peers.RATE)
    assert len(theirs) == len(ours.parameters)
    for parameter, p in theirs.items():
        expected = ours.parameters[f"transformer.{parameter.removeprefix('transformer.')}"]
        # After three steps of 1e-3 each. Where the gradient is rounding alone, as of a key's bias, its step is any.
        difference = (torch.tensor(p.tolist()) - expected).abs()
        assert difference.median() < 1e-6
        assert difference.max() < (7e-3 if parameter.endswith("c_attn.bias") else 1e-4)
    assert len(set_for_good) == 2 * name.endswith("memory kept")


def test_what_is_compiled_is_the_cost_and_the_update(monkeypatch):
    called = []

    def compiled(function):
        return lambda *args: (called.append(function.__name__), function(*args))[1]

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr(logging.getLogger("torch"), "level", logging.NOTSET)
    PEERS["autograd + SGD, compiled"].make(SIZES, SAMPLES, CPU)(2)
    assert called == ["cost", "step"] * 2
    assert logging.getLogger("torch").level == logging.ERROR
    PEERS["autograd + SGD"].make(SIZES, SAMPLES, CPU)(2)
    assert len(called) == 4


def test_the_products_alone_are_those_of_a_step(monkeypatch):
    products = []

    def mm(a, b, out):
        assert out.shape == (len(a), b.shape[1])
        products.append((*a.shape, b.shape[1]))

    run = peers.products_alone(SIZES, 7, CPU)
    monkeypatch.setattr(torch, "mm", mm)
    run(1)
    forward = [(7, 5, 6), (7, 6, 4), (7, 4, 3)]
    assert products == [*forward, (3, 7, 4), (7, 3, 4), (4, 7, 6), (7, 4, 6), (6, 7, 5)]


def test_a_batch_is_the_same_for_all():
    x, z = peers.batch([5, 4, 3], 70, CPU)
    assert (x.shape, z.shape) == ((70, 5), (70, 3))
    assert set(z.flatten().tolist()) == {0, 1}
    assert x.dtype == z.dtype == torch.float32
    assert all(map(torch.equal, (x, z), peers.batch([5, 4, 3], 70, CPU)))


def test_the_clock_stops_when_the_device_has_done_the_last_step(monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "synchronize", done.append)
    for device in (CPU, torch.device("cuda", 1)):
        peers.repeated(lambda: done.append("step"), device)(2)
    assert done == ["step", "step", "step", "step", torch.device("cuda", 1)]


class Pipe:
    """What is asked, and then whoever asks has gone."""

    def __init__(self, *asked):
        self.asked, self.answers = list(asked), []

    def recv(self):
        if not self.asked:
            raise EOFError
        return self.asked.pop(0)

    def send(self, answer):
        self.answers.append(answer)


@pytest.fixture
def worker(monkeypatch):
    """Has a worker answer, for a peer that takes 2 s a step and 30 bytes; gives the answers, and what was done."""
    done, clock = [], [0.0]

    def make(sizes, samples, device):
        if sizes == [8]:
            raise RuntimeError("too large\nfor this machine")
        done.append((sizes, samples, device))

        def run(steps):
            done.append(steps)
            clock[0] += 2 * steps

        return run

    monkeypatch.setattr(peers, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(peers, "_forget_peak", lambda device: done.append(f"forget {device}"))
    monkeypatch.setattr(peers, "_resident", lambda device: done.append(f"rest {device}") or 100)
    monkeypatch.setattr(peers, "_peak", lambda device: done.append(f"peak {device}") or 130)

    def answers(*asked):
        pipe = Pipe(*asked)
        peers.work(pipe, Peer(make), CPU)
        return pipe.answers, done

    return answers


def test_a_worker_answers_with_the_memory_of_a_step_and_the_seconds_of_many(worker):
    answers, done = worker(([3, 2], 7), 30)
    assert answers == [30, 60]
    at_rest = [([2, 2, 2], 1, CPU), 3, "forget cpu", "rest cpu"]  # with what the libraries allocate once
    assert done == [*at_rest, ([3, 2], 7, CPU), 5, "peak cpu", 4, 30]  # from the making on


def test_a_worker_answers_why_a_peer_does_not_run(worker):
    answers, done = worker(4, ([3, 2], 7), ([8], 7), 6, ([3, 2], 7))
    assert answers == [0, 30, "RuntimeError: too large", 0, 30]
    assert 6 not in done  # of no setting, not of the one before


@pytest.mark.skipif(not peers.Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak")
def test_the_memory_on_the_cpu():
    peers._forget_peak(CPU)
    rest = peers._resident(CPU)
    held = torch.ones(20_000_000)
    assert peers._peak(CPU) - rest == pytest.approx(80e6, rel=0.1)
    assert peers._resident(CPU) - rest == pytest.approx(80e6, rel=0.1)
    del held
    assert peers._peak(CPU) - rest == pytest.approx(80e6, rel=0.1)
    peers._forget_peak(CPU)
    assert peers._peak(CPU) - rest < 8e6


def test_the_memory_on_cuda(monkeypatch):
    cuda, asked = torch.device("cuda", 1), []
    for name in ("memory_allocated", "max_memory_allocated", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: asked.append((name, device)) or len(name))
    assert (peers._resident(cuda), peers._peak(cuda)) == (16, 20)
    peers._forget_peak(cuda)
    assert asked == [(name, cuda) for name in ("memory_allocated", "max_memory_allocated", "reset_peak_memory_stats")]


@pytest.fixture
def proc(monkeypatch, tmp_path):
    """A directory that is taken for /proc/self."""
    monkeypatch.setattr(peers, "Path", lambda name: tmp_path / name.removeprefix("/proc/self/"))
    return tmp_path


def test_where_the_system_tells_no_memory_it_is_no_number(proc):
    peers._forget_peak(CPU)
    assert [str(peers._resident(CPU)), str(peers._peak(CPU))] == ["nan", "nan"]


@pytest.mark.parametrize("library", ["glibc", "another"])
def test_the_memory_as_linux_tells_it(library, proc, monkeypatch):
    trimmed = []
    functions = SimpleNamespace(malloc_trim=trimmed.append) if library == "glibc" else SimpleNamespace()
    monkeypatch.setattr(peers.ctypes, "CDLL", lambda name: functions)
    monkeypatch.setattr(peers.os, "sysconf", {"SC_PAGE_SIZE": 4000}.get)
    (proc / "statm").write_text("900 70 30 2 0 80 0\n")
    (proc / "status").write_text("Name:\tpython\nVmPeak:\t    9000 kB\nVmHWM:\t     300 kB\nVmRSS:\t     280 kB\n")
    (proc / "clear_refs").write_text("")
    assert (peers._resident(CPU), peers._peak(CPU)) == (280_000, 307_200)
    peers._forget_peak(CPU)
    assert (proc / "clear_refs").read_text() == "5"
    assert trimmed == [0] * (library == "glibc")


def test_numpy_does_not_complain_where_a_sigmoid_is_0(monkeypatch):
    x, z = peers.batch(SIZES, SAMPLES, CPU)
    monkeypatch.setattr(peers, "batch", lambda *of: (1e4 * x, z))
    peers.by_numpy(SIZES, SAMPLES, CPU)(2)  # a warning is an error


def test_what_is_not_here_is_named(monkeypatch):
    assert missing(PEERS["manual-bp"], CPU) == ""
    assert missing(PEERS["manual-bp, CUDA graph"], CPU) == "it is for cuda"
    assert missing(PEERS["manual-bp"], torch.device("mps")) == "it is for cpu and cuda"
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    assert missing(PEERS["JAX, jit"], CPU) == "jax is not installed"


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    results = {"manual-bp": Measured([1.0, 2.0, 10.0], 0), "other": Measured([2.0, 6.0, 40.0], 0)}
    assert ratio(results, "other") == 3


def test_the_exponent_is_that_of_the_upper_half():
    sizes = [1, 2, 4, 8, 16, 32]
    assert slope(sizes, [5, 5, 5, *(0.1 * n**1.5 for n in sizes[3:])]) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (62.5, "62.5 s"), (0.9995, "1 s"), (0.9994, "999 ms"), (0.0123456, "12.3 ms"), (0.9996e-3, "1 ms"),
        (0.9994e-3, "999 µs"), (4.567e-6, "4.57 µs"),
    ],
)  # fmt: skip
def test_durations(seconds, words):
    assert bench._duration(seconds) == words


class Played:
    """A worker without a process: `answer` gives a peer's bytes, in turn 0, then its seconds of a step; or why not."""

    def __init__(self, name, answer, asked):
        self.name, self.answer, self.asked = name, answer, asked

    def send(self, message):
        self.asked.append((self.name, message))
        if isinstance(message, int):
            self.turn, self.steps = self.turn + 1, message
        else:
            (self.sizes, _), self.turn, self.steps = message, 0, 1

    def recv(self):
        answer = self.answer(self.name, self.sizes, self.turn)
        return answer if isinstance(answer, str) else self.steps * answer


class Lines(Plain):
    """A console that keeps its styles, and what the bar of progress shows."""

    def __init__(self):
        super().__init__(stderr=False)
        self.bar, self.styled = [], []

    def print(self, text="", *, style=None, end="\n"):
        super().print(text, style=style, end=end)
        self.styled += [(style, text.strip())] if style else []

    def add_task(self, description, *, total):
        self.bar += [description, total]
        return "task"

    def update(self, task, *, description="", completed=0):
        self.bar.append((task, description))

    def advance(self, task):
        self.bar.append(task)


@pytest.fixture
def play(monkeypatch):
    """Runs `manual-bp bench` with workers that answer as they are told; gives its code, what was asked, and the bar."""

    def play(answer, *arguments, rounds=3):
        turns, lines = [], Lines()

        @contextmanager
        def working(names, place):
            turns.append((list(names), place.type, asked := []))
            yield {name: Played(name, answer, asked) for name in names}

        monkeypatch.setattr(bench, "_working", working)
        monkeypatch.setattr(bench, "console", lambda: lines)
        return main(["bench", "--rounds", str(rounds), *arguments]), turns, lines

    settings = {
        "SPEED": [Setting([2, 2, 2], 1, "2-2-2, online"), Setting([784, 100, 10], 128)],
        "MEMORY": [Setting([30] * 7, 8, "6 layers of 30"), Setting([5] * 3, 8192)],
        "WIDTH": [Setting([width] * 4, 64) for width in (16, 32, 64, 128)],
        "DEPTH": [Setting([64] * (depth + 1), 64) for depth in (1, 2, 4, 8)],
    }
    for name, of_them in settings.items():
        monkeypatch.setattr(bench, name, of_them)
    installed = lambda name: None if name == "jax" else name  # noqa: E731
    monkeypatch.setattr(peers.importlib.util, "find_spec", installed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    return play


def answered(name, sizes, turn):
    """Of ours n^1.5 µs a layer, of others 3 n √(layers) µs; turns 1 and 4 are slow, and some fail."""
    n, layers = sizes[0], len(sizes) - 1
    if name == "NumPy by hand" and n == 784:
        return "MemoryError: too little"
    if name == "matrix products alone":
        return "ValueError: not today"
    if not turn:
        return 3e6 * layers * (1 if name == OURS else 3)
    seconds = 1e-6 * (n**1.5 * layers if name == OURS else 3 * n * layers**0.5)
    return 100 * seconds if turn in (1, 4) else seconds


WORDS = f"""\
manual-bp {__version__}, torch {torch.__version__}, on cpu, 6 threads
left out: JAX, jit: jax is not installed
Every peer runs in a process of its own, in turns. A time is the median of 3 rounds, and a ratio that \
of the ratios in each round.

The time of a step, and how many times ours that is

left out of 2-2-2, online: matrix products alone: ValueError: not today
left out of 784-100-10, batch 128: NumPy by hand: MemoryError: too little
left out of 784-100-10, batch 128: matrix products alone: ValueError: not today
                              2-2-2, online  784-100-10, batch 128
manual-bp                    5.66 µs                43.9 ms
autograd + SGD               8.49 µs   ×1.5        3.33 ms ×0.0758
autograd + SGD, compiled     8.49 µs   ×1.5        3.33 ms ×0.0758
scikit-learn                 8.49 µs   ×1.5        3.33 ms ×0.0758
NumPy by hand                8.49 µs   ×1.5                      -

Memory above the process at rest, from the making of the model on, in five steps; ours as a share of it

                             6 layers of 30  5-5-5, batch 8192
manual-bp                      18 MB               6 MB
autograd + SGD                 54 MB   0.33       18 MB   0.33
autograd + SGD, compiled       54 MB   0.33       18 MB   0.33
NumPy by hand                  54 MB   0.33       18 MB   0.33

Growth: the time of a step goes as width or depth to this power, over the upper half of the range

                  3 layers, in width    width 64, in depth
manual-bp                       1.50                  1.00
autograd + SGD                  1.00                  0.50
"""


def test_the_tables_to_the_letter(play, capsys):
    code, turns, lines = play(answered)
    assert (code, capsys.readouterr().out) == (0, WORDS)
    styles = {"The time": "bold", "Memory": "bold", "Growth": "bold", "left out of": "yellow"}
    assert lines.styled == [
        (style, line) for line in WORDS.splitlines() for start, style in styles.items() if line.startswith(start)
    ]
    peers_here = ["manual-bp", "autograd + SGD", "autograd + SGD, compiled", "scikit-learn", "NumPy by hand"]
    with_memory = [*peers_here[:3], peers_here[4]]
    assert [(names, place) for names, place, _ in turns] == [
        ([*peers_here, "matrix products alone"], "cpu"), (with_memory, "cpu"), (with_memory, "cpu"),
    ]  # fmt: skip
    settings = [*bench.SPEED, *bench.WIDTH, *bench.DEPTH, *bench.MEMORY]
    assert lines.bar == ["measuring", 12, *(said for setting in settings for said in (("task", str(setting)), "task"))]


def test_what_is_asked_of_the_workers(play):
    """In each setting first of each its memory; then how many steps are a turn, then turn by turn."""
    _, turns, _ = play(answered, "--peer", "scikit-learn", rounds=2)
    names = ["manual-bp", "autograd + SGD", "scikit-learn"]
    asked = turns[0][2]
    number = asked.index(("manual-bp", ([784, 100, 10], 128)))
    first, second = asked[:number], asked[number : 2 * number]
    for of_setting, setting, steps in (
        (first, ([2, 2, 2], 1), [10607, 7072, 7072]), (second, ([784, 100, 10], 128), [2, 19, 19]),
    ):  # fmt: skip
        turn = list(zip(names, steps, strict=True))
        tries = [(name, steps) for name in names for steps in (1, 3)]
        assert of_setting == [*((name, setting) for name in names), *tries, *turn, *turn]
    assert {name for name, _ in asked[2 * number :]} == {"manual-bp", "autograd + SGD"}
    assert turns[1][2] == [(name, ([30] * 7, 8)) for name in names[:2]]  # memory alone


def test_the_tables_of_a_transformer(play, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "TRANSFORMERS", [Setting(transformer_peers.LEAST[0], 2, "the least")])
    drawn = []
    monkeypatch.setattr(plots, "plot_bench_memory", lambda *args: drawn.append(args) or "figure")
    monkeypatch.setattr(bench, "draw", lambda *args: drawn.append(args))
    answer = lambda name, sizes, turn: (1 + (name != OURS)) * (1e6 if turn == 0 else 0.5)  # noqa: E731
    code, turns, _ = play(
        answer, "--model", "transformer", "--peer", "manual-bp, lean", "--figure", str(tmp_path / "f.svg")
    )
    assert code == 0
    names = ["manual-bp", "manual-bp, lean", "autograd + AdamW"]
    assert [asked for asked, *_ in turns] == [names, names]
    out = capsys.readouterr().out
    assert re.search(r"^autograd \+ AdamW +1 s +×2$", out, re.MULTILINE)
    assert re.search(r"^autograd \+ AdamW +2 MB +0.50$", out, re.MULTILINE)
    assert "Growth" not in out
    ratios = {"the least": dict(zip(names, (1, 2, 2), strict=True))}
    assert drawn[0][:2] == (ratios, ratios)


def test_the_picture_of_a_transformer(tmp_path):
    pytest.importorskip("matplotlib", reason="it draws")
    ratios = {"4 × 128, V 65": {"manual-bp": 1.0, "theirs": 1.25}}
    figure = plots.plot_bench_memory(ratios, {"4 × 128, V 65": {"manual-bp": 1.0, "theirs": 3.5}}, "title")
    left, right = figure.axes
    assert [bar.get_width() for bar in left.patches] == [1, 1.25]
    assert [bar.get_width() for bar in right.patches] == [1, 3.5]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["manual-bp", "theirs"]


def test_where_autograd_fails_its_growth_is_that_of_the_rest(play, capsys):
    def answer(name, sizes, turn):
        fails = name == "autograd + SGD" and sizes in ([128] * 4, [64] * 5, [64] * 9)
        return "MemoryError: too little" if fails else answered(name, sizes, turn)

    assert play(answer)[0] == 0
    assert re.search(r"^autograd \+ SGD +1.00 +nan$", capsys.readouterr().out, re.MULTILINE)


def test_without_autograd_a_figure_has_the_others(play, tmp_path):
    pytest.importorskip("matplotlib", reason="it draws")
    file = tmp_path / "speed.svg"
    code, *_ = play(lambda name, *_: "OSError: gone" if name == "autograd + SGD" else 1, "--figure", str(file))
    assert code == 0
    assert ">manual-bp<" in file.read_text()
    assert ">autograd + SGD<" not in file.read_text()


def test_a_step_that_takes_longer_is_a_turn_of_its_own():
    asked = []
    bench._measure({"theirs": Played("theirs", lambda *of: 5, asked)}, Setting([3, 2], 7), 2, Plain(stderr=False))
    assert [message for _, message in asked] == [([3, 2], 7), 1, 3, 1, 1]


def test_a_peer_that_was_asked_for_and_is_none_of_this_device_is_told(play, capsys):
    play(answered, "--peer", "autograd + SGD, CUDA graph")
    out = capsys.readouterr().out
    assert re.findall("left out: (.*)", out) == ["autograd + SGD, CUDA graph: it is for cuda"]


def test_on_a_gpu_its_peers_are_measured_and_its_name_is_told(play, capsys, monkeypatch):
    monkeypatch.setattr(devices, "device", torch.device)
    monkeypatch.setattr(devices, "title", lambda place: f"{place} (NVIDIA)")
    _, turns, _ = play(answered, "--device", "cuda:1")
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"manual-bp {__version__}, torch {torch.__version__}, on cuda:1 (NVIDIA)"
    assert second.startswith("Every peer")  # and none is left out that knows no GPU
    assert turns[0][:2] == ([name for name in PEERS if "cuda" in PEERS[name].devices], "cuda")


@pytest.mark.parametrize("turn", [0, 2, 4])
def test_without_ours_there_is_nothing_to_compare_with(turn, play, capsys):
    answer = lambda name, sizes, now: "OSError: gone" if (name, now) == (OURS, turn) else 1  # noqa: E731
    code, _, _ = play(answer)
    assert code == 2
    assert capsys.readouterr().err == "manual-bp bench: manual-bp, 2-2-2, online: OSError: gone\n"


def test_a_peer_that_fails_later_ends_it(play, capsys):
    answer = lambda name, sizes, now: "OSError: gone" if (name, now) == ("scikit-learn", 3) else 1  # noqa: E731
    assert play(answer)[0] == 2
    assert capsys.readouterr().err == "manual-bp bench: scikit-learn, 2-2-2, online: OSError: gone\n"


@pytest.mark.parametrize("gone", [EOFError, BrokenPipeError])
def test_a_process_that_has_ended_is_told(gone, capsys):
    def answer(name, sizes, turn):
        raise gone

    workers = {"theirs": Played("theirs", answer, [])}
    assert bench._measure(workers, Setting([3, 2], 7), 2, bench.console()) == {}
    assert capsys.readouterr().out == "left out of 3-2, batch 7: theirs: its process has ended\n"


def test_the_figure_has_what_was_measured(play, monkeypatch, capsys, tmp_path):
    drawn = []
    monkeypatch.setattr(plots, "plot_bench", lambda *args: drawn.append(args) or "figure")
    monkeypatch.setattr(bench, "draw", lambda *args: drawn.append(args))
    file = str(tmp_path / "speed.svg")
    play(answered, "--peer", "NumPy by hand", "--figure", file)
    assert capsys.readouterr().out.endswith(f"\n\nfigure: {file}\n")
    (ratios, curves, title), saved = drawn
    assert saved == ("figure", file)
    assert title == f"A training step by hand and by others, torch {torch.__version__} on cpu"
    assert {setting: {name: f"{ratio:.3g}" for name, ratio in of.items()} for setting, of in ratios.items()} == {
        "2-2-2, online": {"manual-bp": "1", "autograd + SGD": "1.5", "NumPy by hand": "1.5"},
        "784-100-10, batch 128": {"manual-bp": "1", "autograd + SGD": "0.0758"},
    }
    for along, sizes, exponents in (("width", [16, 32, 64, 128], (1.5, 1)), ("depth", [1, 2, 4, 8], (1, 0.5))):
        assert list(curves[along]) == ["manual-bp", "autograd + SGD"]
        for (name, (drawn_sizes, seconds, exponent)), expected in zip(curves[along].items(), exponents, strict=True):
            assert drawn_sizes == sizes
            shape = [([n] * 4 if along == "width" else [64] * (n + 1)) for n in sizes]
            assert seconds == pytest.approx([answered(name, sizes, 2) for sizes in shape])
            assert exponent == pytest.approx(expected)


def test_the_tables_and_the_figure(small, capsys, tmp_path):
    figure = ["--figure", str(tmp_path / "speed.svg")] if importlib.util.find_spec("matplotlib") else []
    assert main(["bench", "--rounds", "2", "--peer", "NumPy by hand", *figure]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^manual-bp +[\d.e+]+ [µm]?s$", out, re.MULTILINE)
    assert re.search(r"^autograd \+ SGD +[\d.e+]+ [µm]?s +×[\d.]+$", out, re.MULTILINE)
    assert re.search(r"^NumPy by hand +[\d.e+]+ [µm]?s +×[\d.]+$", out, re.MULTILINE)
    assert re.search(r"^manual-bp +-?[\d.]+ +-?[\d.]+$", out, re.MULTILINE)  # the exponents
    assert "JAX" not in out  # it was not asked for
    if peers.Path("/proc/self/clear_refs").exists():
        # Parameters alone, where autograd has as much again of gradients.
        share = re.search(r"^autograd \+ SGD +\d+ MB +([\d.]+)$", out, re.MULTILINE)
        assert share
        assert 0.3 < float(share[1]) < 0.8
    if figure:
        drawn = (tmp_path / "speed.svg").read_text(encoding="utf-8")
        ratios = re.findall(r"×([\d.]+)", out)
        assert ratios
        assert all(f"> {number}<" in drawn for number in ratios)


def test_a_peer_that_fails_is_named_and_left_out(small, capsys):
    with bench._working({"no such peer": Peer(operator.index)}, CPU) as workers:
        (process,) = multiprocessing.active_children()
        assert process.daemon
        assert isinstance(process, multiprocessing.get_context("spawn").Process)
        assert bench._measure(workers, Setting([2, 2], 1), 2, bench.console()) == {}
    assert not process.is_alive()
    assert "left out of 2-2, batch 1: no such peer: TypeError: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rounds", "0"], "--rounds: expected 1 or more, got 0"),
        (["--peer", "Theano"], "--peer Theano: expected one of 'manual-bp', "),
        (["--device", "tpu"], "device: expected one of cpu, cuda, mps, xpu"),
        (["--figure", "speed.txt"], "--figure speed.txt: "),
        (["--figure", "nowhere/speed.svg"], "--figure nowhere/speed.svg: "),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(arguments, says, capsys):
    assert main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert out == ""
