"""`manual-bp train`, part by part: what it trains on and prints, and how far autograd is said to be."""

import contextlib
import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crosscheck.devices import kinds
from manual_bp import Network, data, distributed
from manual_bp import network as networks
from manual_bp._console import Plain
from manual_bp.checkpoint import Labels, digest
from manual_bp.commands import CommandError
from manual_bp.commands import train as train_module
from manual_bp.commands.train import _end_of_epoch, _fits, _random, _Run, train
from manual_bp.data import npz
from manual_bp.rules import Sigmoid, Tanh
from manual_bp.training import History, minibatches
from reference.network import Twin

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(17, 3, generator=GENERATOR, dtype=torch.float64)
TARGETS = {
    "softmax_cross_entropy": torch.arange(17) % 4,
    "squared_error": torch.randn(17, 4, generator=GENERATOR, dtype=torch.float64),
    "cross_entropy": torch.rand(17, 4, generator=GENERATOR, dtype=torch.float64),
}


class Recorded(Plain):
    """Keeps what is printed and in what style, and how far the work was said to be."""

    def __init__(self):
        self.printed, self.total, self.advanced = [], {}, []

    def print(self, text="", *, style=None, end="\n"):
        self.printed.append((text, style))

    def add_task(self, description, *, total):
        self.total[description] = total
        return description

    def advance(self, task):
        self.advanced.append(task)


@pytest.fixture
def lines(monkeypatch):
    recorded = Recorded()
    monkeypatch.setattr(train_module, "console", lambda: recorded)
    return recorded


@pytest.fixture
def asked(tmp_path):
    """What `train` is asked for, 17 samples of 3 numbers being in a file, 4 outputs and a seed other than 0."""

    def ask(targets="softmax_cross_entropy", **options):
        np.savez(tmp_path / "mine.npz", X=X.numpy(), Z=TARGETS[targets].numpy())
        return {
            "data": str(tmp_path / "mine.npz"), "hidden": [5], "activation": "tanh", "cost": targets, "eta": 0.3,
            "epochs": 2, "batch_size": 4, "seed": 3, "device": "cpu", "dtype": "float64", "verify_every": None,
            "figure": None, "target": None, "save": None,
        } | options  # fmt: skip

    return ask


def standardized(columns, of):
    """These columns, standardized by the samples `of`, as NumPy computes it."""
    numbers = columns.numpy()
    return torch.from_numpy((numbers - numbers[of].mean(0)) / numbers[of].std(0))


def by_autograd(cost, dtype=torch.float64, seed=3, raw=False):
    """The same training as one writes it with torch: its twin, and a cost, held-out cost and outputs of each epoch."""
    net = Network.random(
        [3, 5, 4], seed=seed, dtype=dtype, activation=["tanh", "sigmoid" if cost == "cross_entropy" else "identity"],
        cost=cost,
    )  # fmt: skip
    twin = Twin(net.weights, net.biases, ["tanh", "sigmoid" if cost == "cross_entropy" else "identity"], cost)
    shuffled = torch.randperm(17, generator=torch.Generator().manual_seed(seed))
    held_out, kept = shuffled[:3], shuffled[3:]
    x = X if raw else standardized(X, kept)
    z = standardized(TARGETS[cost], kept) if cost == "squared_error" and not raw else TARGETS[cost]
    x, z = x.to(dtype), z.to(dtype if cost != "softmax_cross_entropy" else torch.int64)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.3)

    def J(of):
        n_in, n_out = twin(x[of])
        return twin.J(n_in[-1], n_out[-1], z[of]), n_out[-1]

    epochs, total = [], 0.0
    for step, (_, batch) in enumerate(minibatches(14, epochs=2, batch_size=4, seed=seed), start=1):
        optimizer.zero_grad()
        mean = J(kept[batch])[0]
        mean.backward()
        optimizer.step()
        total += mean.item() * len(batch)
        if step % 4 == 0:
            epochs.append((total / 14, J(held_out)[0].item(), J(held_out)[1], z[held_out]))
            total = 0.0
    return twin, epochs


@pytest.mark.parametrize("cost", TARGETS)
def test_what_is_printed_is_what_autograd_trains(cost, lines, asked, monkeypatch):
    clock = itertools.count(7, 1.5)  # in which it is 1.5 s later whenever one looks
    monkeypatch.setattr(train_module.time, "perf_counter", lambda: next(clock))
    assert train(**asked(cost, verify_every=3)) == 0
    ours = [text for text, _ in lines.printed]
    _, epochs = by_autograd(cost)
    told = "inputs and targets" if cost == "squared_error" else "inputs"
    assert ours.pop(1).startswith(f"{told} standardized: less their mean, divided by their standard deviation")
    assert ours[:3] == [
        f"network 3-5-4, tanh, {cost}, in float64 on cpu",
        "14 samples to train on, 3 held out\n",
        "epoch        cost  held-out cost  held-out accuracy",
    ]
    for epoch, (mean, held_out, n_out, z) in enumerate(epochs, start=1):
        right = n_out.argmax(1) == z if cost == "softmax_cross_entropy" else ((n_out > 0.5) == (z > 0.5)).all(1)
        share = "-" if cost == "squared_error" else f"{100 * int(right.sum()) / 3:.1f}%"
        assert ours[2 + epoch] == f"    {epoch}  {mean:10.6f}  {held_out:13.6f}  {share:>17}"
    assert ours[5] == "\n8 steps by hand, 1500000 µs each"
    assert ours[6] == "cross-checked against autograd in float64 at 2 of them: all agree"
    assert ours[7] == (
        "\nDistance from autograd + SGD on the same batches, in roundoffs; the budget is 16 × autograd's own error:"
    )
    assert [line.split()[:3] for line in ours[8].splitlines()] == [
        ["name", "device", "dtype"],
        *([name, "cpu", "float64"] for name in ("weight[0]", "weight[1]", "bias[0]", "bias[1]", "J")),
    ]
    assert re.fullmatch(r"weights at most \S+ apart \(the largest is \S+\), costs \S+ apart: all agree", ours[9])
    assert len(ours) == 10
    assert {text for text, style in lines.printed if style == "bold"} == {ours[2], ours[9]}
    assert (lines.total, lines.advanced) == ({"training": 8}, ["training"] * 8)


def test_the_cost_is_that_of_the_targets_unless_one_is_asked_for(lines, asked):
    for cost in ("softmax_cross_entropy", "squared_error"):
        lines.printed.clear()
        assert train(**asked(cost, cost=None, epochs=1, hidden=[], dtype="float32")) == 0
        assert lines.printed[0][0] == f"network 3-4, tanh, {cost}, in float32 on cpu"


def test_the_digits_are_trained_on_by_their_name(lines, asked, monkeypatch):
    monkeypatch.setattr(data, "digits", lambda: (X, TARGETS["softmax_cross_entropy"]))
    assert train(**asked(data="digits")) == 0
    printed = [text for text, _ in lines.printed]
    assert not any("standardized" in text for text in printed)  # they lie from 0 to 1
    _, epochs = by_autograd("softmax_cross_entropy", raw=True)
    assert [text.split()[1:3] for text in printed[3:5]] == [[f"{cost:.6f}", f"{held:.6f}"] for cost, held, *_ in epochs]


def test_without_a_cross_check_none_is_said_to_be(lines, asked):
    assert train(**asked(hidden=[5, 2], activation="relu")) == 0
    assert lines.printed[0][0] == "network 3-5-2-4, relu, softmax_cross_entropy, in float64 on cpu"
    assert not any("cross-checked" in text for text, _ in lines.printed)


def test_a_mistake_is_said_in_red_and_ends_a_cross_checked_training_at_once(lines, asked, monkeypatch):
    monkeypatch.setattr(_Run, "by_autograd", lambda run, batch: None)  # theirs stays as it was drawn
    assert train(**asked()) == 1
    assert lines.printed[-1][0].endswith(": MISMATCH, more than rounding explains")
    assert lines.printed[-1][1] == "bold red"
    monkeypatch.setattr(Tanh, "backward", staticmethod(lambda grad_out, out, x: (grad_out * (1 + out * out),)))
    lines.printed.clear()
    assert train(**asked(verify_every=3)) == 1
    assert lines.printed[-1][0].startswith("step 3: gradient: MISMATCH in ")
    assert len(lines.advanced) == 8 + 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epochs": 0}, "--epochs: expected 1 or more, got 0"),
        ({"batch_size": 0}, "--batch-size: expected 1 or more, got 0"),
        ({"verify_every": 0}, "--verify-every: expected 1 or more, got 0"),
        ({"eta": float("inf")}, "--eta: expected a finite number, got inf"),
        ({"figure": "no.txt"}, "--figure no.txt: expected a name that ends in .svg, .png or .pdf"),
        ({"data": "digit"}, "--data digit: expected digits, or a .npz or .csv file, got no file of that name"),
        ({"hidden": [0]}, "--hidden: expected 1 or more, got 0"),
        (
            {"cost": "squared_error"},
            "--cost squared_error: expected Z to hold values: floats [samples, outputs], got class indices: "
            "whole numbers [samples]",
        ),
        ({"device": "quantum"}, f"device: expected one of {', '.join(kinds())}, as in cuda or cuda:0, got 'quantum'"),
    ],
)
def test_what_cannot_be_trained_is_said(options, says, lines, asked):
    if "figure" in options:
        pytest.importorskip("matplotlib", reason="for the picture")
    with pytest.raises(CommandError) as refused:
        train(**asked(**options))
    assert str(refused.value) == says
    assert lines.printed == []


def test_of_five_samples_one_is_held_out_and_four_are_refused(lines, asked):
    for samples in (5, 4):
        options = asked()
        np.savez(options["data"], X=X[:samples].numpy(), Z=TARGETS["softmax_cross_entropy"][:samples].numpy())
        if samples == 5:
            assert train(**options) == 0
            assert lines.printed[2][0] == "4 samples to train on, 1 held out\n"
        else:
            with pytest.raises(CommandError, match="expected at least 5 samples, to hold out a fifth, got 4$"):
                train(**options)


def test_targets_that_do_not_fit_are_refused_wherever_they_are(lines, asked):
    """Also among those that are held out alone."""
    for sample in range(17):
        options = asked("cross_entropy")
        Z = TARGETS["cross_entropy"].clone()
        Z[sample, 2] = 1.5
        np.savez(options["data"], X=X.numpy(), Z=Z.numpy())
        says = rf"^--cost cross_entropy: Z: expected a target from 0 to 1, got 1.5 at \[{sample}, 2\]$"
        with pytest.raises(CommandError, match=says):
            train(**options)
    assert lines.printed == []


@pytest.mark.parametrize(
    ("cost", "holds", "got"),
    [
        ("softmax_cross_entropy", "class indices: whole numbers [samples]", "values: floats [samples, outputs]"),
        ("squared_error", "values: floats [samples, outputs]", "class indices: whole numbers [samples]"),
        ("cross_entropy", "numbers from 0 to 1: floats [samples, outputs]", "class indices: whole numbers [samples]"),
    ],
)
def test_targets_of_another_kind_than_the_cost_takes(cost, holds, got):
    other = torch.ones(3, 2) if cost == "softmax_cross_entropy" else torch.ones(3, dtype=torch.int64)
    with pytest.raises(ValueError, match=re.escape(f"--cost {cost}: expected Z to hold {holds}, got {got}")):
        _fits(cost, other)
    _fits(cost, TARGETS[cost])


def test_a_network_is_drawn_as_it_is_asked_for():
    net = _random([3, 5, 4], 7, torch.float64, torch.device("cpu"), ["tanh", "sigmoid"], "squared_error")
    theirs = Network.random([3, 5, 4], seed=7, dtype=torch.float64)
    assert all(map(torch.equal, (*net.weights, *net.biases), (*theirs.weights, *theirs.biases)))
    assert (net.activations, net.cost_rule.__name__) == ((Tanh, Sigmoid), "SquaredError")
    meta = torch.device("meta")
    net = _random([3, 2], 0, torch.float32, meta, ["tanh"], "squared_error")
    assert (net.device, net.dtype) == (meta, torch.float32)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("can't allocate memory: you tried\nat"), "too large for cpu: can't allocate memory: you tried"),
        (RuntimeError("Storage size overflowed"), "too large for cpu: Storage size overflowed"),
        (torch.OutOfMemoryError("out of memory"), "too large for cpu: out of memory"),
        (TypeError("Overflow when unpacking long"), "too large for cpu: Overflow when unpacking long"),
        (RuntimeError("illegal memory access"), "cannot be made on cpu: illegal memory access"),
    ],
)
def test_why_there_is_no_network_is_said(error, says, monkeypatch):
    def fails(*args, **kwargs):
        raise error

    monkeypatch.setattr(Network, "random", fails)
    with pytest.raises(ValueError, match=f"^network 3-5-4: {re.escape(says)}$"):
        _random([3, 5, 4], 0, torch.float32, torch.device("cpu"), ["tanh", "identity"], "squared_error")


def run_of(cost="squared_error", dtype=torch.float32):
    last = "sigmoid" if cost == "cross_entropy" else "identity"
    net = Network.random([3, 5, 4], seed=3, dtype=dtype, activation=["tanh", last], cost=cost)
    return _Run(net, 0.3, X, TARGETS[cost])


def test_values_come_in_the_networks_dtype_and_classes_stay_whole_numbers():
    run = run_of(dtype=torch.float32)
    assert run.X.dtype == run.Z.dtype == run.dtype == torch.float32
    assert run_of("softmax_cross_entropy").Z.dtype == torch.int64
    elsewhere = SimpleNamespace(net=SimpleNamespace(weights=[torch.ones(2, 3, device="meta")]))
    ours = _Run.on_net(elsewhere, X)
    assert (ours.device.type, ours.dtype) == ("meta", torch.float32)
    assert (run.widest, run.cost.dtype, run.eta, run.place) == (torch.float64, torch.float64, 0.3, torch.device("cpu"))
    assert {dtype: {t.dtype for t in data} for dtype, data in run.data.items()} == {
        torch.float32: {torch.float32},
        torch.float64: {torch.float64},
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cost", TARGETS)
def test_the_distance_is_in_roundoffs_and_its_budget_16_errors_of_autograd(cost, dtype):
    run = run_of(cost, dtype)
    for _, batch in minibatches(17, epochs=2, batch_size=4, seed=0):
        run.by_hand(batch, None)
        run.by_autograd(batch)
    report = run.distance()
    assert report.ok
    assert (report.title, {row.dtype for row in report.rows}) == ("training", {dtype})

    def trained(dtype):
        weights, biases = zip(*(run.twins[dtype].parameters_of(layer) for layer in (0, 1)), strict=True)
        n_in, n_out = run.twins[dtype](run.data[dtype][0])
        J = run.twins[dtype].J(n_in[-1], n_out[-1], run.data[dtype][1])
        values = (value.detach() for value in (*weights, *biases, J))
        return dict(zip(("weight[0]", "weight[1]", "bias[0]", "bias[1]", "J"), values, strict=True))

    by_hand = dict(zip(trained(dtype), (*run.net.weights, *run.net.biases, run.net.cost(run.X, run.Z)), strict=True))
    oracle, single = trained(torch.float64), trained(torch.float32)
    u = {torch.float32: 2**-24, torch.float64: 2**-53}
    for row in report.rows:
        o = oracle[row.name]
        largest = o.abs().max()
        own = max((single[row.name].double() - o).abs().max() / (u[torch.float32] * largest), 1)
        assert row.budget == pytest.approx(16 * float(own))
        assert row.error == pytest.approx(
            float((by_hand[row.name].double() - o).abs().max() / (u[dtype] * largest)), abs=1e-6
        )
    theirs = trained(dtype)
    apart = {name: float((value - theirs[name]).abs().max()) for name, value in by_hand.items()}
    largest = max(float(value.abs().max()) for name, value in by_hand.items() if name != "J")
    J = apart.pop("J")
    assert run.farthest() == (
        f"weights at most {max(apart.values()):.2g} apart (the largest is {largest:.3g}), costs {J:.2g} apart"
    )


def test_by_autograd_it_is_gradient_descent_in_both_dtypes():
    cost = "squared_error"
    run = run_of(cost)
    for _, batch in minibatches(17, epochs=1, batch_size=4, seed=0):
        theirs = {}
        for dtype, twin in run.twins.items():
            x, z = (values[batch].to(dtype) for values in (X, TARGETS[cost]))
            n_in, n_out = twin(x)
            parameters = list(twin.parameters())
            gradients = torch.autograd.grad(twin.J(n_in[-1], n_out[-1], z), parameters)
            theirs[dtype] = [p.detach() - 0.3 * g for p, g in zip(parameters, gradients, strict=True)]
        run.by_autograd(batch)
        for dtype, twin in run.twins.items():
            torch.testing.assert_close(list(map(torch.Tensor.detach, twin.parameters())), theirs[dtype])


def test_the_cost_of_an_epoch_is_the_mean_of_its_samples_and_starts_anew():
    run = run_of()
    costs = []
    for _, batch in minibatches(17, epochs=1, batch_size=4, seed=0):
        costs.append(float(run.net.cost(run.X[batch], run.Z[batch])) * len(batch))
        run.by_hand(batch, None)
    assert run.cost_of_epoch() == pytest.approx(sum(costs) / 17)
    assert run.cost_of_epoch() == 0


def test_a_batch_is_cross_checked_at_the_weights_of_now():
    run = run_of(dtype=torch.float32)
    report = run.crosschecked(torch.tensor([4, 1]), seed=0)
    assert report.ok
    assert {row.dtype for row in report.rows} == {torch.float64}
    assert {"J", "new weight[1]", "stepped bias[0]"} <= {row.name for row in report.rows}


def test_with_other_processes_a_step_is_of_ones_share_and_the_cost_of_the_whole_batch():
    run = run_of()
    calls = []

    def step(net, x, z, eta, *, samples):
        calls.append((net is run.net, x.tolist(), z.tolist(), eta, samples))
        return torch.tensor(2.5)

    processes = SimpleNamespace(share=lambda batch: batch[:1], step=step)
    run.by_hand(torch.tensor([4, 1, 6]), processes)
    run.by_hand(torch.tensor([5, 0]), processes)
    assert calls == [
        (True, run.X[[sample]].tolist(), run.Z[[sample]].tolist(), 0.3, samples) for sample, samples in ((4, 3), (5, 2))
    ]
    assert run.cost == 2.5 * 3 + 2.5 * 2


@pytest.mark.parametrize("rank", [0, 1])
def test_of_several_processes_all_must_agree_and_the_first_speaks(rank, lines, asked, monkeypatch):
    agreed, steps = {}, []

    def step(net, x, z, eta, *, samples):
        steps.append(samples)
        return networks.one_round(net, x, z, eta)[1].J

    processes = SimpleNamespace(rank=rank, size=2, agree=agreed.update, share=lambda batch: batch, step=step)

    @contextlib.contextmanager
    def joined(place):
        assert place == torch.device("cpu")
        yield processes

    monkeypatch.setattr(distributed, "launched", lambda: True)
    monkeypatch.setattr(distributed, "joined", joined)
    judged = []
    monkeypatch.setattr(
        _Run, "by_autograd", lambda run, batch, right=_Run.by_autograd: judged.append(right(run, batch))
    )
    options = asked(verify_every=3)
    assert train(**options) == 0
    assert steps == [4, 4, 4, 2] * 2
    net = Network.random([3, 5, 4], seed=3, dtype=torch.float64)
    assert agreed == {
        "network": "3-5-4, tanh, softmax_cross_entropy, in float64",  # each on a device of its own
        "weights": digest(*net.weights, *net.biases), "data": digest(*npz(options["data"])), "eta": 0.3, "epochs": 2,
        "batch_size": 4, "seed": 3, "verify_every": 3,
    }  # fmt: skip
    printed = [text for text, _ in lines.printed]
    if rank:
        assert printed == judged == []
        return
    assert len(judged) == 8
    assert printed[0] == "network 3-5-4, tanh, softmax_cross_entropy, in float64 on cpu, by 2 processes"
    assert re.fullmatch(r"\n8 steps by hand, \d+ µs each, the waiting for each other included", printed[6])
    assert printed[-1].endswith(": all agree")


def test_where_processes_do_not_fit_it_is_said(lines, asked, monkeypatch):
    @contextlib.contextmanager
    def joined(place):
        raise distributed.DistributedError("the processes could not be connected: no")
        yield

    monkeypatch.setattr(distributed, "launched", lambda: True)
    monkeypatch.setattr(distributed, "joined", joined)
    with pytest.raises(CommandError, match="^the processes could not be connected: no$"):
        train(**asked())
    assert lines.printed == []


def test_a_cost_that_is_not_finite_ends_the_training():
    run = run_of()
    run.cost += float("nan")
    with pytest.raises(CommandError, match="^epoch 2: the training diverges, the cost is nan: choose an eta smaller "):
        _end_of_epoch(run, SimpleNamespace(untrained=1.0), History(cost=[1.0]), Recorded())


@pytest.mark.parametrize(
    ("cost", "z", "share"),
    [
        ("softmax_cross_entropy", torch.tensor([1, 1, 0]), 2 / 3),
        ("cross_entropy", torch.tensor([[0.2, 0.9], [0.5, 0.8], [0.9, 0.6]]), 2 / 3),
        ("squared_error", torch.zeros(3, 2), None),
    ],
)
def test_the_share_of_samples_that_are_right(cost, z, share):
    """Of three samples, whose outputs are those of class 1, class 1 and class 1."""
    activation = "sigmoid" if cost == "cross_entropy" else "identity"
    net = Network([torch.tensor([[0.0], [0.0]])], [torch.tensor([-1.0, 1.0])], activation, cost)
    J, ours = net.evaluate(torch.zeros(3, 1), z)
    assert float(net.cost(torch.zeros(3, 1), z)) == J
    assert ours == (share if share is None else pytest.approx(share))


def test_the_figure_is_of_what_was_printed(lines, asked, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    from manual_bp.commands import plots

    drawn = []
    monkeypatch.setattr(plots, "plot_training", lambda *given: drawn.append(given))
    monkeypatch.setattr(train_module, "draw", lambda figure, file: drawn.append(file))
    for cost in ("softmax_cross_entropy", "squared_error"):
        lines.printed.clear()
        drawn.clear()
        file = str(tmp_path / "out.svg")
        assert train(**asked(cost, figure=file)) == 0
        (costs, held_out, accuracies, setting), to = drawn
        rows = [text.split() for text, _ in lines.printed[4:6]]
        assert [f"{cost:.6f}" for cost in costs] == [row[1] for row in rows]
        assert [f"{cost:.6f}" for cost in held_out] == [row[2] for row in rows]
        assert [f"{share:.1%}" for share in accuracies] == [row[3] for row in rows if row[3] != "-"]
        assert (setting, to) == (lines.printed[0][0], file)
        assert lines.printed[-2][0] == f"figure: {file}"


def test_a_training_that_cannot_be_judged_is_no_mismatch(lines, asked, monkeypatch):
    """Where eta is so large that rounding alone takes the two trainings apart."""
    report = SimpleNamespace(ok=False, is_mismatch=False, rows=(), not_judged=())
    monkeypatch.setattr(_Run, "distance", lambda run: report)
    monkeypatch.setattr(train_module, "shown", lambda rows: "")
    assert train(**asked()) == 2
    text, style = lines.printed[-1]
    assert text.endswith(": not judged, rounding alone takes them so far apart: try a smaller --eta")
    assert style == "bold yellow"


def test_the_classes_of_a_table_are_told(lines, asked, tmp_path):
    (tmp_path / "mine.csv").write_text("x,y\n" + "".join(f"{i / 30},{i}\n" for i in range(30)))
    for classes, told in (("", "30 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."), ("no", "2 classes: no, yes")):
        if classes:
            (tmp_path / "mine.csv").write_text("x,y\n" + "".join(f"{i},{('no', 'yes')[i % 2]}\n" for i in range(30)))
        lines.printed.clear()
        assert train(**asked(data=str(tmp_path / "mine.csv"), eta=0.01, target="y")) == 0
        assert lines.printed[1][0] == told


@pytest.mark.parametrize("cost", TARGETS)
def test_the_kept_network_takes_and_gives_numbers_as_they_are_in_the_file(cost, lines, asked, tmp_path):
    assert train(**asked(cost, save=str(tmp_path / "net.pt"))) == 0
    assert f"network: {tmp_path / 'net.pt'}" in [text for text, _ in lines.printed]
    twin, _ = by_autograd(cost)
    kept = torch.randperm(17, generator=torch.Generator().manual_seed(3))[3:]
    with torch.no_grad():
        theirs = twin(standardized(X, kept))[1][-1]
    if cost == "squared_error":
        theirs = theirs * TARGETS[cost][kept].std(0, correction=0) + TARGETS[cost][kept].mean(0)
    torch.testing.assert_close(Network.load(tmp_path / "net.pt")(X), theirs)


def test_digits_are_kept_as_they_were_trained(lines, asked, monkeypatch, tmp_path):
    monkeypatch.setattr(data, "digits", lambda: (X, TARGETS["softmax_cross_entropy"]))
    assert train(**asked(data="digits", save=str(tmp_path / "net.pt"))) == 0
    twin, _ = by_autograd("softmax_cross_entropy", raw=True)
    with torch.no_grad():
        torch.testing.assert_close(Network.load(tmp_path / "net.pt")(X), twin(X)[1][-1])


def test_columns_far_from_one_are_learned_and_predicted(lines, asked, tmp_path, capsys):
    """A price of hundreds of thousands, from square meters, a year of building, and a column that never changes."""
    rng = np.random.default_rng(0)
    meters, year = rng.uniform(30, 200, 200), rng.integers(1900, 2020, 200)
    price = 3000 * meters + 900 * (year - 1960) + 1e5 + rng.normal(0, 200, 200)
    rows = np.stack([meters, year, np.full(200, 7.0), price], 1)
    table = tmp_path / "mine.csv"
    table.write_text("meters,year,country,price\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    asked_for = {"data": str(table), "cost": None, "eta": 0.05, "epochs": 60, "dtype": "float32", "hidden": []}
    assert train(**asked(save=str(tmp_path / "net.pt"), **asked_for)) == 0
    told = Network.load(tmp_path / "net.pt").predict(rows[:, :3])[:, 0]
    assert float((told.double() - torch.from_numpy(price)).abs().max()) < 1500


def test_digits_that_the_dtype_rounds_away_are_told(lines, asked, tmp_path):
    """Seconds since 1970, over a day: in float32 they are multiples of 128."""
    table = tmp_path / "mine.csv"
    table.write_text("time,x,y\n" + "".join(f"{1.6e9 + 3600 * i},{i % 3},{i % 2}\n" for i in range(24)))
    says = "\ntime: in float32 little is left of how its numbers differ: try --dtype float64"
    for dtype, told in (("float32", True), ("float64", False)):
        lines.printed.clear()
        assert train(**asked(data=str(table), dtype=dtype)) == 0
        assert lines.printed[2][0].endswith(says) == told


def test_columns_too_large_to_be_standardized_are_refused(lines, asked):
    options = asked()
    np.savez(options["data"], X=1e200 * X.numpy(), Z=TARGETS["softmax_cross_entropy"].numpy())
    with pytest.raises(CommandError, match=r"^standard deviation of each column: expected a finite number in torch.fl"):
        train(**options)


def test_whole_numbers_that_look_like_values_are_asked_about(lines, asked, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("x,price\n" + "".join(f"{i / 30},{1000 + 7 * i}\n" for i in range(30)))
    says = (
        f"--data {table}: expected classes of at least 5 samples on average, got 30 different whole numbers in 30 "
        "samples: --cost squared_error takes them as values, --cost softmax_cross_entropy as classes"
    )
    with pytest.raises(CommandError, match=f"^{re.escape(says)}$"):
        train(**asked(data=str(table), cost=None))
    for cost in ("squared_error", "softmax_cross_entropy"):
        assert train(**asked(data=str(table), cost=cost, eta=0.01)) == 0
    table.write_text("x,size\n" + "".join(f"{i / 30},{i % 6}\n" for i in range(30)))
    assert train(**asked(data=str(table), cost=None)) == 0


def test_a_column_that_never_changes_tells_nothing(lines, asked, tmp_path):
    table, file = tmp_path / "mine.csv", str(tmp_path / "net.pt")
    table.write_text("x,country,y\n" + "".join(f"{i % 7},0.1,{i % 2}.5\n" for i in range(30)))
    assert train(**asked(data=str(table), cost=None, save=file)) == 0
    net = Network.load(file)
    assert torch.equal(net.weights[0][:, 1], torch.zeros(5, dtype=torch.float64))
    table.write_text("x,y\n" + "".join(f"{i % 7},3.5\n" for i in range(30)))
    assert train(**asked(data=str(table), cost=None, save=file)) in (0, 2)  # of nothing, rounding alone is left
    assert Network.load(file).predict([[2.0], [70.0]]).tolist() == [[3.5], [3.5]]


def test_names_stay_with_a_network(lines, asked, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("x,y,kind\n" + "".join(f"{i},{i % 3},{('no', 'yes')[i % 2]}\n" for i in range(30)))
    assert train(**asked(data=str(table), cost=None, save=str(tmp_path / "net.pt"))) == 0
    net = Network.load(tmp_path / "net.pt")
    net.save(tmp_path / "again.pt")
    again = Network.load(tmp_path / "again.pt")
    assert again.labels == net.labels == Labels(["x", "y"], ["no", "yes"])
