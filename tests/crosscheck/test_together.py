"""Two processes, judged together: the same report on both, with the rank that is wrong, and no hang."""

import importlib.util
import json
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from crosscheck import crosscheck

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "two_ranks.py"


def example():
    spec = importlib.util.spec_from_file_location("two_ranks", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(rank: int, folder: str) -> None:
    """Every case on one of the ranks, and what its reports say."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    two = example()
    group, halves = dist.group.WORLD, ((3, 4), (4, 5))

    def column(backward, **options):
        inputs = two.inputs(rank, *halves, shared=1)
        return crosscheck(two.column_forward, backward, inputs, twin=two.column_twin, group=group, **options)

    def row(backward, **options):
        return crosscheck(
            two.row_forward, backward, two.inputs(rank, *halves), twin=two.row_twin, group=group, **options
        )

    def wrong_on_one(grad_out, out, x, w):
        grad_x, grad_w = two.row_backward(grad_out, out, x, w)
        return grad_x, grad_w * (1.001 if dist.get_rank() == 1 else 1)

    def without_its_collective(grad_out, out, x, w):
        g = two.own(grad_out, 1)
        return g @ w.T, x.T @ g

    def raising_on_one(grad_out, out, x, w):
        if dist.get_rank() == 1:
            raise ValueError("not made for this rank")
        return two.row_backward(grad_out, out, x, w)

    def stale_keys(grad_out, out, q, k, v):
        return (*two.ring_backward(grad_out, out, q, k, v)[:1], *two.ring_backward(grad_out, out, q, v, k)[1:])

    reports = two.reports() | {
        "wrong on one": row(wrong_on_one),
        "without its collective": column(without_its_collective),
        "stale": crosscheck(
            two.ring_forward, stale_keys, two.inputs(rank, *[(4, 3)] * 3), twin=two.ring_twin, group=group
        ),
    }
    said = {name: json.loads(report.to_json()) for name, report in reports.items()}
    try:
        row(raising_on_one)
    except Exception as error:
        said["raising on one"] = f"{type(error).__name__}: {error}"
    Path(folder, f"{rank}.json").write_text(json.dumps(said))
    dist.barrier()
    os._exit(0)  # while the interpreter ends, gloo's threads may abort the process


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))  # where the processes look for this file
        mp.spawn(run, (str(folder),), nprocs=2)
    one, other = (json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one == other
    return one


@pytest.mark.parametrize("name", ["column", "row", "ring"])
def test_layers_of_several_processes_agree(said, name):
    assert said[name]["ok"]
    assert {row["name"].partition(" on ")[2] for row in said[name]["rows"]} == {"rank 0", "rank 1"}


def test_a_rank_that_is_wrong_is_named_on_every_one(said):
    assert said["wrong on one"]["formula"] == "wrong in w on rank 1"


def test_a_collective_that_is_forgotten(said):
    assert said["without its collective"]["formula"] == "wrong in x on rank 0, x on rank 1"
    assert said["stale"]["formula"].startswith("wrong in k on rank 0")


def test_a_rank_that_raises_is_named_on_every_one(said):
    assert said["raising on one"] == "RuntimeError: on rank 1: ValueError: not made for this rank"


def test_a_method_beside_a_group_is_refused():
    with pytest.raises(ValueError, match="^group: expected neither a method nor order=2 .* got method='taylor': leave"):
        crosscheck(torch.sin, lambda g, out, x: g * x.cos(), (torch.ones(3),), method="taylor", group=object())
