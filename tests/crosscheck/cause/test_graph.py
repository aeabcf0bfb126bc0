"""How operations hang together: what is behind another, and what leads from one value to another alone."""

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.cause.graph import Graph
from crosscheck.cause.recorded import Recorded
from crosscheck.cause.slips import Edge


def graph(forward, *shapes) -> tuple[Graph, list[Edge], list[Tensor]]:
    xs = [torch.ones(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    with Recorded() as recorded:
        forward(*xs)
    edges = [edge for of in recorded.edges.values() for edge in of]
    return Graph(recorded.live, {edge.number for edge in edges}), sorted(edges, key=lambda e: e.number), xs


def ends(blocks) -> set[tuple[str, str]]:
    """By which operations a block takes its value, and the one at its end."""
    return {(" ".join(edge.name for edge in block.first), block.last.name) for block in blocks}


def test_blocks_lead_from_one_value_alone():
    of, _, xs = graph(lambda x, w: (x * x.sin() + 1).tanh() * w, (3, 2), (3, 2))
    assert ends(of.blocks()) == {
        ("sin mul", "mul"), ("sin mul", "add"), ("sin mul", "tanh"), ("add", "tanh"),
    }  # fmt: skip
    assert {id(block.value) for block in of.blocks() if block.last.name == "add"} == {id(xs[0])}


def test_a_block_has_the_shape_of_its_value():
    of, _, _ = graph(lambda x: x.exp().sum(1).sin(), (3, 2))
    assert not of.blocks()
    of, _, _ = graph(lambda x: (x.exp() / x.exp().sum(1, keepdim=True)).mT.mT, (3, 2))
    assert ("exp exp", "div") in ends(of.blocks())


def test_the_operations_of_what_is_written_out_hang_on_its_argument():
    of, _, (x,) = graph(lambda x: F.normalize(x), (3, 2))
    block = of.blocks()[0]
    assert block.value is x or block.value.grad_fn is not None
    assert ends(of.blocks()) == {("norm div", "div")}


def test_what_is_apart():
    of, edges, _ = graph(lambda x, w: (x * w).exp() + (2 * w).exp(), (3, 2), (3, 2))
    by_x, by_w, exp, *others = edges
    assert of.are_apart([by_x, by_w])  # of one operation
    twice, again = (edge for edge in edges if edge.name == "exp")
    assert of.are_apart([twice, again])
    assert not of.are_apart([by_x, twice])
    assert of.are_apart([by_x, again])
    assert others
    assert exp
