"""Data-parallel training by two processes: the step of one on the whole batch, and of DistributedDataParallel."""

import os
import re
import socket
import subprocess
import sys
import textwrap
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from crosscheck import compare
from manual_bp import Network, Transformer, distributed
from manual_bp.adamw import AdamW
from manual_bp.distributed import DistributedError, Processes, joined, launched, own
from manual_bp.rules import Affine
from manual_bp.transformer import BLOCKS, IGNORED

ROOT = Path(__file__).parents[2]
SIZES, STEPS, SAMPLES, ETA = [4, 6, 5, 3], 5, 7, 0.3
BATCH = torch.randn(2, SIZES[0]), torch.rand(2, SIZES[-1])

SETTING = f"""
import os, sys, torch
import torch.distributed as dist
from manual_bp import Network
from manual_bp.distributed import DistributedError, Processes, joined

rank = int(os.environ["RANK"])
cpu = torch.device("cpu")

def network(dtype=torch.float32):
    return Network.random({SIZES}, activation="tanh", dtype=dtype)

def batches(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    for _ in range({STEPS}):
        x = torch.randn({SAMPLES}, {SIZES[0]}, generator=generator, dtype=torch.float64)
        yield x.to(dtype), torch.rand({SAMPLES}, {SIZES[-1]}, generator=generator, dtype=torch.float64).to(dtype)
"""


def two(code, *, timeout=60):
    """What two connected processes that run it write, and their exit codes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = os.environ | {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SETTING + textwrap.dedent(code)], cwd=ROOT, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
        # Gloo itself says that it is connected, in some releases.
        return [
            (re.sub(r"^\[Gloo\].*\n", "", out, flags=re.MULTILINE), process.returncode)
            for out, process in zip(outputs, processes, strict=True)
        ]
    finally:
        for process in processes:
            process.kill()


def parameters(net):
    named = {f"weight[{layer}]": w for layer, w in enumerate(net.weights)}
    return named | {f"bias[{layer}]": b for layer, b in enumerate(net.biases)}


def test_two_processes_train_as_one_and_as_distributed_data_parallel(tmp_path):
    outputs = two(f"""
        from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
        from torch.nn.parallel import DistributedDataParallel

        net = network()
        module = net.to_module()[:-1]  # the sigmoid is in the cost
        with joined(cpu) as processes:
            costs = []
            for x, z in batches():
                part = processes.share(torch.arange(len(x)))
                costs.append(float(processes.step(net, x[part], z[part], {ETA}, samples=len(x))))
            ddp = DistributedDataParallel(module)
            optimizer = torch.optim.SGD(ddp.parameters(), lr={ETA})
            for x, z in batches():
                part = processes.share(torch.arange(len(x)))
                optimizer.zero_grad()
                # It averages over the processes, whatever each has of the batch.
                J = cross_entropy(ddp(x[part]), z[part], reduction="sum") * processes.size / len(x)
                J.backward()
                optimizer.step()
        theirs = [p.detach() for p in module.parameters()]
        torch.save(dict(ours=[*net.weights, *net.biases], theirs=theirs[::2] + theirs[1::2], costs=costs),
                   {str(tmp_path)!r} + f"/{{rank}}.pt")
    """)
    assert [code for _, code in outputs] == [0, 0], outputs
    namespace: dict = {}
    exec(SETTING.replace('int(os.environ["RANK"])', "0"), namespace)
    one, exact = namespace["network"](), namespace["network"](torch.float64)
    costs = []
    for x, z in namespace["batches"]():
        costs.append(float(one.cost(x, z)))
        one.step(x, z, ETA)
    for x, z in namespace["batches"](torch.float64):
        exact.step(x, z, ETA)
    names = list(parameters(one))
    for rank in range(2):
        saved = torch.load(tmp_path / f"{rank}.pt")
        ours, theirs = (dict(zip(names, saved[whose], strict=True)) for whose in ("ours", "theirs"))
        compare(ours, parameters(one), oracle=parameters(exact)).raise_on_mismatch()
        compare(ours, theirs, oracle=parameters(exact)).raise_on_mismatch()
        assert saved["costs"] == pytest.approx(costs)


def test_a_process_without_a_sample_helps_all_the_same():
    outputs = two("""
        net, one = network(), network()
        with joined(cpu) as processes:
            x, z = next(batches())
            part = processes.share(torch.arange(1))
            J = processes.step(net, x[part], z[part], 0.3, samples=1)
        assert len(part) == 1 - rank
        assert torch.allclose(J, one.cost(x[:1], z[:1]))
        one.step(x[:1], z[:1], 0.3)
        assert all(torch.allclose(a, b) for a, b in zip(net.weights + net.biases, one.weights + one.biases))
    """)
    assert outputs == [("", 0)] * 2


OF_TRANSFORMER = """
import torch
from manual_bp import Transformer
from manual_bp.adamw import AdamW

def transformer(form, dtype, clip):
    # with an eps of the size of the gradients: else the step is their sign, which is a jump where one is zero
    return Transformer.random(vocabulary=11, context=6, width=8, layers=2, heads=2, form=form, tied=form == "gpt2",
                              dtype=dtype, optimizer=AdamW(eps=1e-2, decay=0.1, clip=clip))

def batches(sequences):
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        text = torch.randint(11, (sequences, 7), generator=generator)
        targets = text[:, 1:].clone()
        targets[0, :4] = -100  # the shares count differently
        yield text[:, :-1], targets
"""
# All count, one process has nothing, one has nothing that counts.
CASES = [
    ("gpt2", "float32", None, 5), ("llama", "float32", None, 5), ("gpt2", "float64", 0.1, 5),
    ("llama", "float64", 0.1, 1), ("gpt2", "bfloat16", 0.1, 4),
]  # fmt: skip


def test_two_processes_train_a_transformer_as_one(tmp_path):
    outputs = two(f"""
{textwrap.indent(OF_TRANSFORMER, " " * 8)}
        saved = []
        with joined(cpu) as processes:
            for form, dtype, clip, sequences in {CASES}:
                net = transformer(form, getattr(torch, dtype), clip)
                costs = [
                    float(processes.step_of_transformer(net, *map(processes.share, batch), 0.02))
                    for batch in batches(sequences)
                ]
                saved.append((dict(net.parameters), costs))
        torch.save(saved, {str(tmp_path)!r} + f"/{{rank}}.pt")
    """)
    assert [code for _, code in outputs] == [0, 0], outputs
    namespace: dict = {}
    exec(OF_TRANSFORMER, namespace)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for (form, dtype, clip, sequences), (ours, costs), (theirs, _) in zip(CASES, first, second, strict=True):
        one, exact = (namespace["transformer"](form, of, clip) for of in (getattr(torch, dtype), torch.float64))
        expected = [
            float([net.step(*batch, 0.02) for net in (exact, one)][1]) for batch in namespace["batches"](sequences)
        ]
        assert costs == pytest.approx(expected, rel=1e-2 if dtype == "bfloat16" else 1e-5)
        assert all(torch.equal(p, theirs[name]) for name, p in ours.items())
        if dtype == "float64":
            for name, p in one.parameters.items():
                assert (ours[name] - p).abs().max() <= 1e-11 * p.abs().max(), name
        else:
            compare(ours, one.parameters, oracle=exact.parameters).raise_on_mismatch()


@pytest.mark.parametrize("form", list(BLOCKS))
def test_the_gradients_of_a_block_are_sent_before_the_block_below_is_computed(form, monkeypatch, device):
    net = Transformer.random(vocabulary=5, context=4, width=4, layers=3, heads=2, form=form, device=device)
    order: list[str] = []
    backward = BLOCKS[form].backward
    monkeypatch.setattr(
        BLOCKS[form], "backward", staticmethod(lambda *args: (order.append("computed"), backward(*args))[1])
    )
    tokens = torch.ones(2, 4, dtype=torch.int64, device=device)
    sent: dict[str, torch.Tensor] = {}

    def send(gradients):
        order.append("sent")
        assert not sent.keys() & gradients.keys()
        sent.update(gradients)

    grads = net.backward(net.forward(tokens), tokens, ready=send)
    assert order == ["sent", *["computed", "sent"] * 3, "sent"]
    assert all(sent[name] is grad for name, grad in grads.parameters.items())
    assert len(sent) == len(grads.parameters)


def test_a_batch_of_which_nothing_counts_changes_nothing_but_by_the_decay(play, device):
    net = Transformer.random(
        vocabulary=5, context=4, width=4, layers=1, heads=2, device=device, optimizer=AdamW(decay=0)
    )
    before = dict(net.parameters)
    tokens = torch.ones(2, 4, dtype=torch.int64, device=device)
    assert play(0, 1).step_of_transformer(net, tokens, torch.full_like(tokens, IGNORED), 0.1) == 0
    assert all(torch.equal(p, before[name]) for name, p in net.parameters.items())


@pytest.mark.parametrize(("size", "is_launched"), [(None, False), ("1", False), ("2", True)])
def test_one_process_alone_is_not_launched(size, is_launched, monkeypatch):
    if size:
        monkeypatch.setenv("WORLD_SIZE", size)
    else:
        monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched() is is_launched


@pytest.mark.parametrize(
    ("size", "rank", "asked_for", "place"),
    [
        ("2", "3", "cuda", "cuda:3"),
        ("2", None, "cuda", "cuda:0"),
        ("2", "3", "cuda:1", "cuda:1"),
        ("2", "3", "cpu", "cpu"),
        ("1", "3", "cuda", "cuda"),
    ],
)
def test_each_process_has_its_own_gpu(size, rank, asked_for, place, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert own(asked_for) == place


@pytest.fixture
def play(monkeypatch):
    """Plays the processes of a group in turn: what one sends is added to what those before it have sent."""
    sent: dict[int, list[torch.Tensor]] = {}

    def play(rank, size):
        sent[rank] = []

        def all_reduce(tensor, async_op):
            assert async_op
            others = [of_other[len(sent[rank])] for other, of_other in sent.items() if other != rank]
            sent[rank].append(tensor.clone())
            return SimpleNamespace(wait=lambda: tensor.add_(sum(others)))

        played = SimpleNamespace(get_rank=lambda: rank, get_world_size=lambda: size, all_reduce=all_reduce)
        monkeypatch.setattr(distributed, "dist", played)
        return Processes()

    return play


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("samples", [7, 2])  # of two samples the last of three processes has none
def test_the_step_of_each_process_is_that_of_one_on_the_whole_batch(order, samples, play, device):
    of_one = Network.random(SIZES, activation="tanh", dtype=torch.float64, device=device)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(samples, 4, generator=generator, dtype=torch.float64).to(device)
    z = torch.rand(samples, 3, generator=generator, dtype=torch.float64).to(device)
    cost = of_one.cost(x, z)
    for rank in order:
        net = Network.random(SIZES, activation="tanh", dtype=torch.float64, device=device)
        processes = play(rank, 3)
        J = processes.step(net, processes.share(x), processes.share(z), ETA, samples=samples)
    of_one.step(x, z, ETA)
    torch.testing.assert_close((J, *net.weights, *net.biases), (cost, *of_one.weights, *of_one.biases))


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
@pytest.mark.parametrize("call", ["all_reduce", "wait", "all_gather_object"])
def test_whatever_fails_between_processes_says_that_another_does_not_answer(call, error, play, monkeypatch):
    def gone(*args, **options):
        raise error("Connection closed by peer\nand where")

    processes, net = play(1, 2), Network.random(SIZES)
    dist = distributed.dist
    dist.all_gather_object = gone
    dist.all_reduce = gone if call == "all_reduce" else lambda *args, **options: SimpleNamespace(wait=gone)
    with pytest.raises(DistributedError, match="^process 1: another one does not answer: Connection closed by peer$"):
        _ = processes.agree(seed=0) if call == "all_gather_object" else processes.step(net, *BATCH, ETA, samples=4)


@pytest.mark.parametrize(
    ("where", "options", "called"),
    [
        ("cpu", {}, [("gloo", timedelta(seconds=60))]),
        ("cuda", {"timeout": 2.5}, [("nccl", timedelta(seconds=2.5))]),
        ("cuda:1", {}, [torch.device("cuda:1"), ("nccl", timedelta(seconds=60))]),
    ],
)
def test_processes_are_connected_and_left(where, options, called, play, monkeypatch):
    calls = []
    play(1, 2)
    dist = distributed.dist
    dist.init_process_group = lambda backend, timeout: calls.append((backend, timeout))
    dist.destroy_process_group = lambda: calls.append("left")
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    with joined(torch.device(where), **options) as processes:
        calls.append((processes.rank, processes.size))
    assert calls == [*called, (1, 2), "left"]
    with suppress(KeyError), joined(torch.device(where), **options):
        raise KeyError
    assert calls[len(called) + 2 :] == [*called, "left"]


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
def test_processes_that_cannot_be_connected_say_why(error, monkeypatch):
    def refuse(*args, **options):
        raise error("no route\nto the other")

    monkeypatch.setattr(distributed, "dist", SimpleNamespace(init_process_group=refuse))
    with (
        pytest.raises(DistributedError, match="^the processes could not be connected: no route$"),
        joined(torch.device("cpu")),
    ):
        pytest.fail("they are not connected")


def test_a_gradient_is_sent_before_the_layer_below_is_computed(monkeypatch, device):
    net = Network.random(SIZES, device=device)
    order: list[str] = []
    backward = Affine.backward
    monkeypatch.setattr(Affine, "backward", lambda *args: (order.append("computed"), backward(*args))[1])
    x, z = torch.randn(5, 4, device=device), torch.rand(5, 3, device=device)
    grads = net.backward(net.forward(x), z, ready=lambda dJ_dw, dJ_db: order.append(f"sent {list(dJ_dw.shape)}"))
    assert order == [part for w in reversed(grads.weight) for part in ("computed", f"sent {list(w.shape)}")]


def test_processes_that_disagree_are_told_so():
    outputs = two("""
        try:
            with joined(cpu) as processes:
                processes.agree(sizes=[4, 6 + rank, 3], seed=0)
        except DistributedError as error:
            sys.exit(str(error))
    """)
    says = (
        "sizes: expected the same in every process, got [4, 6, 3] in process 0 and [4, 7, 3] in process 1: "
        "start all of them with the same data and options\n"
    )
    assert outputs == [(says, 1)] * 2


def test_of_three_processes_the_one_that_differs_is_named(play):
    processes = play(0, 3)

    def all_gather_object(of_all, mine):
        of_all[:] = [mine, mine | {"seed": 5}, mine]

    distributed.dist.all_gather_object = all_gather_object
    with pytest.raises(DistributedError) as raised:
        processes.agree(eta=0.3, seed=4)
    assert str(raised.value) == (
        "seed: expected the same in every process, got 4 in process 0 and 5 in process 1: "
        "start all of them with the same data and options"
    )
    processes.agree(eta=0.3, seed=5)


def test_who_loses_the_other_ends_and_says_so():
    (out, code), (_, died) = two("""
        net = network()
        try:
            with joined(cpu, timeout=20) as processes:
                for number, (x, z) in enumerate(batches()):
                    if rank == 1 and number == 2:
                        os._exit(9)
                    part = processes.share(torch.arange(len(x)))
                    processes.step(net, x[part], z[part], 0.3, samples=len(x))
        except DistributedError as error:
            print(error)
            sys.exit(2)
    """)
    assert (died, code) == (9, 2)
    assert out.startswith("process 0: another one does not answer: ")


def test_who_waits_in_vain_for_the_other_to_come_ends_and_says_so():
    (out, code), _ = two("""
        if rank == 1:
            sys.exit(0)
        try:
            with joined(cpu, timeout=2):
                pass
        except DistributedError as error:
            print(error)
            sys.exit(2)
    """)
    assert code == 2
    assert out.startswith("the processes could not be connected: ")


@pytest.mark.parametrize("data", ["same", "different"])
def test_torchrun_trains_by_two_processes(data, tmp_path):
    """The command, as the README has it; and with a file that is not the same for both."""
    make = "import numpy as np, os; r = np.random.default_rng(int(os.environ['RANK']) if {} else 0); "
    make += "np.savez('mine' + os.environ['RANK'] + '.npz', X=r.normal(size=(40, 5)), Z=np.arange(40) % 3)"
    script = tmp_path / "train.py"
    script.write_text(
        make.format(data == "different")
        + "\nimport sys\nfrom manual_bp.__main__ import main\n"
        + "sys.exit(main(['train', '--data', 'mine' + os.environ['RANK'] + '.npz', '--epochs', '3', '--eta', '0.3']))\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, text=True, timeout=120,
        capture_output=True,
    )  # fmt: skip
    if data == "different":
        assert run.returncode != 0
        assert "manual-bp train: data: expected the same in every process, got " in run.stderr
    else:
        assert run.returncode == 0, run.stderr
        assert "by 2 processes" in run.stdout
        assert run.stdout.count("held out") == 1  # one of them speaks
        assert run.stdout.rstrip().endswith(": all agree")


def test_torchrun_trains_a_transformer_by_two_processes(tmp_path):
    (tmp_path / "mine.txt").write_text("the cat sat on the mat\n" * 20)
    options = ["--model", "transformer", "--data", "mine.txt", "--layers", "1", "--width", "8", "--heads", "2"]
    options += ["--context", "6", "--batch-size", "3", "--steps", "20", "--rate", "0.01", "--verify-every", "10"]
    shared = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    trained = {}
    for several, start in (
        (True, ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]),
        (False, []),
    ):
        run = subprocess.run(
            [sys.executable, "-m", *start, "manual_bp", "train", *options, "--save", "net"],
            cwd=tmp_path, env=shared, text=True, timeout=120, capture_output=True,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        assert ("by 2 processes" in run.stdout) is several
        assert run.stdout.count("held out") == 1  # one of them speaks
        assert "cross-checked against autograd in float64 at 2 of them: all agree" in run.stdout
        trained[several] = Transformer.load(tmp_path / "net").parameters
    for name, p in trained[False].items():
        torch.testing.assert_close(trained[True][name], p, rtol=0, atol=1e-3)  # of 20 steps of 1e-2 each
