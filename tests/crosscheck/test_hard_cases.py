"""What breaks a naive judge: cases in which a right gradient looks wrong, or a wrong one right."""

import random
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from crosscheck import assert_crosscheck, crosscheck
from crosscheck.verdict.precision import dtypes_of
from manual_bp.rules import BatchNorm, ReLU, Sigmoid


def normal(device: torch.device, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(device)


# A true gradient of zero


def test_zero_by_cancellation(device):
    """A bias in front of batch norm: autograd has 1e-8 there, by hand it may be another 1e-8, or 0."""

    def forward(x, bias):
        return F.batch_norm(x + bias, None, None, training=True)

    def backward(grad_out, out, x, bias):
        one, zero = torch.ones_like(bias), torch.zeros_like(bias)
        (grad_x, _, _) = BatchNorm.backward(grad_out, out, x + bias, one, zero)
        return grad_x, grad_x.sum(0)

    def exact(grad_out, out, x, bias):
        return backward(grad_out, out, x, bias)[0], torch.zeros_like(bias)

    def wrong(grad_out, out, x, bias):
        grad_x, grad_bias = backward(grad_out, out, x, bias)
        return grad_x, grad_bias + 1e-6

    for seed in range(10):
        inputs = normal(device, 20, 3, seed=seed), normal(device, 3, seed=seed + 100)
        crosscheck(forward, backward, inputs, seed=seed).raise_on_mismatch()
        assert crosscheck(forward, exact, inputs, seed=seed).formula.endswith(", zero everywhere in bias")
        assert not crosscheck(forward, wrong, inputs, seed=seed).ok


def test_zero_of_autograd_where_rounding_is_left_by_hand(device):
    def backward(grad_out, out, x):
        return ((grad_out * 0.1 + grad_out * 0.2) - grad_out * 0.3,)

    crosscheck(lambda x: x - x, backward, (normal(device, 50),)).raise_on_mismatch()


def test_the_rounding_of_one_saturated_neuron(device):
    """All of the gradient hangs on how one number near 1 is rounded, and a roundoff of the inputs does not move it."""

    def backward(grad_out, out, x, w):
        delta = grad_out * (1 - out * out)
        return delta @ w.T, x.T @ delta

    for seed in (90, 197, 254, 444, 548, 1248, 1379, 1451, 1859, 1982, 2039, 2044, 2449):  # in 2,500
        generator = torch.Generator().manual_seed(seed)
        x, w = torch.randn(1, 16, generator=generator).to(device), torch.randn(16, 1, generator=generator).to(device)
        assert_crosscheck(lambda x, w: torch.tanh(x @ w), backward, (x, w), dtypes=dtypes_of(device)[:2])


# Kinks


@pytest.mark.parametrize("seed", [80, 85, 89])
def test_a_kink_is_crossed_by_rounding(seed, device):
    """A sum in bfloat16, term by term: by its rounding a few of the 2,048 hidden numbers are of the other sign."""

    def forward(x, w, v):
        return torch.relu(x @ w) @ v

    def backward(grad_out, out, x, w, v):
        hidden = x[:, :1] * w[:1]
        for i in range(1, len(w)):
            hidden = hidden + x[:, i : i + 1] * w[i : i + 1]
        delta = grad_out @ v.T * (hidden > 0)
        return delta @ w.T, x.T @ delta, hidden.relu().T @ grad_out

    generator = torch.Generator().manual_seed(seed)
    sizes = ((64, 32, 1), (32, 32, 6), (32, 8, 6))
    x, w, v = ((torch.randn(n, m, generator=generator) / size).to(device) for n, m, size in sizes)
    assert_crosscheck(forward, backward, (x, w, v), dtypes=[torch.float32, torch.bfloat16])


def test_where_the_formula_is_right_rounding_may_cross_every_kink(device):
    """In float32 there is no kink about; in bfloat16 every number comes to lie at one."""

    def forward(x):
        return torch.relu(x - 1)

    def backward(grad_out, out, x):
        return (grad_out * (x >= 1),)

    x = 1 - torch.arange(1, 9, device=device) * 2.0**-13
    report = crosscheck(forward, backward, (x,), dtypes=[torch.float32, torch.bfloat16])
    report.raise_on_mismatch()
    assert report.rows[0].verdict == "agrees, but it is zero everywhere, where no wrong factor shows"
    assert report.rows[1].verdict.startswith("agrees, but for a convention at a kink, first at [0]: ")


@pytest.mark.parametrize("seed", [2, 7, 12])
def test_many_kinks_add_up(seed, device):
    """The rows of w are the same: where the numbers of a row of x cancel, all that comes of it is near 0."""

    def backward(grad_out, out, x, w):
        delta = grad_out * (x[:, :7] @ w[:7] + x[:, 7:] @ w[7:] > 0)
        return delta @ w.T, x.T @ delta

    generator = torch.Generator().manual_seed(seed)
    x, w = torch.randn(17, 15, generator=generator), torch.randn(15, 15, generator=generator)[:1].expand(15, 15)
    x = x - x.mean(1, keepdim=True) * (1 - torch.rand(17, 1, generator=generator) * 0.03)
    inputs = (x.to(device), w.to(device))
    assert_crosscheck(lambda x, w: torch.relu(x @ w), backward, inputs, dtypes=[torch.float32, torch.bfloat16])


def test_another_subgradient_at_a_kink_is_a_convention(device):
    x = normal(device, 5, 3)
    x[1, 2] = x[3, 0] = 0
    report = crosscheck(torch.relu, lambda grad_out, out, x: (torch.where(x >= 0, grad_out, 0),), (x,))
    report.raise_on_mismatch()
    assert "agrees, but for a convention at a kink, first at [1, 2]: autograd takes 0, " in report.rows[0].verdict
    assert all("at a kink" in row.verdict and row.diagnosis == "" for row in report.rows)
    report = crosscheck(torch.relu, lambda grad_out, out, x: (torch.where(x >= 0, 2 * grad_out, 0),), (x,))
    assert not report.ok


def test_ties_of_a_maximum_may_be_shared(device):
    x = torch.tensor([[1.0, 3.0, 3.0], [2.0, 0.5, 2.0], [0.0, 1.0, -1.0]], device=device)

    def shared(grad_out, out, x):
        ties = x == out[:, None]
        return (grad_out[:, None] * ties / ties.sum(1, keepdim=True),)

    report = crosscheck(lambda x: x.max(1).values, shared, (x,))
    report.raise_on_mismatch()
    assert "at a kink" in report.rows[0].verdict
    assert not crosscheck(lambda x: x.max(1).values, lambda g, out, x: (g[:, None].expand(3, 3) / 3,), (x,)).ok


def test_all_at_a_kink_is_not_judged(device):
    report = crosscheck(torch.relu, lambda grad_out, out, x: (grad_out,), (torch.zeros(5, 3, device=device),))
    assert not report.ok
    assert "not judged: every element lies at a kink" in report.rows[0].verdict
    assert report.rows[0].diagnosis == ""


def test_a_neuron_that_rounding_carries_over_its_kink(device):
    """In bfloat16 the sum before a relu is now above zero and now below, by hand and by autograd."""

    def forward(x, w):
        return torch.relu(x @ w.T)

    def backward(grad_out, out, x, w):
        a = (x[:, None, :] * w).sum(-1)
        (grad_a,) = ReLU.backward(grad_out, out, a)
        return grad_a @ w, grad_a.T @ x

    for seed in range(30):
        inputs = normal(device, 8, 6, seed=seed), normal(device, 5, 6, seed=seed + 50)
        crosscheck(forward, backward, inputs, seed=seed).raise_on_mismatch()


# Lower precision inside, and dtypes that do not run


def test_float32_inside_is_found_out_and_judged_as_such(device):
    def forward(x, w):
        return (x.float() @ w.float().T).tanh().to(x.dtype)

    def backward(grad_out, out, x, w):
        grad_a = grad_out.float() * (1 - torch.tanh(x.float() @ w.float().T) ** 2)
        return (grad_a @ w.float()).to(x.dtype), (grad_a.T @ x.float()).to(x.dtype)

    def wrong(grad_out, out, x, w):
        grad_x, grad_w = backward(grad_out, out, x, w)
        return grad_x, 1.0001 * grad_w

    def twin(x, w):
        return torch.tanh(x @ w.T)

    inputs = normal(device, 7, 5), normal(device, 4, 5, seed=1)
    for options in ({}, {"twin": twin}):
        report = crosscheck(forward, backward, inputs, **options)
        report.raise_on_mismatch()
    assert report.rows[0].verdict == "agrees as far as float32, in which it computes inside (in its roundoffs)"
    assert report.rows[0].diagnosis == ""
    (row,) = (
        row for row in crosscheck(forward, wrong, inputs, twin=twin).mismatches if row.dtype == dtypes_of(device)[0]
    )
    assert (row.name, row.verdict) == ("w", "wrong formula")


@pytest.mark.parametrize("scale", [2.0**-10, 1.0, 2.0**10])
@pytest.mark.parametrize(("shift", "inside"), [(64, "float32"), (4096, "TF32 or float16")])
def test_float32_inside_that_loses_more_is_a_right_formula(shift, inside, scale, device):
    """An error that rounds, and is beyond what float32 explains."""

    def forward(x):
        return scale * torch.sin(x)

    def backward(grad_out, out, x):
        shifted = (x.float() + shift) - shift  # its last bits are gone
        return (scale * grad_out * torch.cos(shifted).to(x.dtype),)

    report = crosscheck(forward, backward, (normal(device, 50, 3),), dtypes=dtypes_of(device)[:2])
    assert report.rows[0].verdict.startswith("right formula, ")
    assert report.rows[0].diagnosis == f"as if computed in {inside}"


def test_bfloat16_inside_is_a_right_formula_in_low_precision(device):
    def backward(grad_out, out, x):
        out = out.bfloat16()
        return (grad_out * (out * (1 - out)).to(x.dtype),)

    report = crosscheck(Sigmoid.forward, backward, (normal(device, 50, 3),))
    assert not report.ok
    assert report.rows[0].verdict.startswith("right formula, ")
    assert report.rows[0].diagnosis in ("as if computed in TF32 or float16", "as if computed in bfloat16")
    assert {str(row.dtype) for row in report.mismatches} <= {"torch.float64", "torch.float32", "torch.float16"}


@pytest.mark.parametrize("runs_in", [(torch.float32,), (torch.float32, torch.bfloat16), (torch.float16,)])
def test_a_kernel_for_some_dtypes_is_judged_in_those(runs_in, device):
    def made_for(x):
        if x.dtype not in runs_in:
            raise RuntimeError(f"no kernel for {x.dtype}")

    def forward(x):
        made_for(x)
        return torch.sigmoid(x)

    def backward(grad_out, out, x):
        made_for(x)
        return (grad_out * out * (1 - out),)

    def wrong(grad_out, out, x):
        return (-backward(grad_out, out, x)[0],)

    x = normal(device, 5, 3)
    report = crosscheck(forward, backward, (x,), twin=torch.sigmoid)
    report.raise_on_mismatch()
    assert {row.dtype for row in report.rows} == set(runs_in)
    assert len(report.notes) == len(dtypes_of(device)) - len(runs_in) + 1
    assert " alone, 16 draws: a factor off by " in report.notes[-1]
    assert "not judged, for it raises RuntimeError: no kernel for torch." in report.notes[0]
    assert not crosscheck(forward, wrong, (x,), twin=torch.sigmoid).ok
    with pytest.raises(
        TypeError, match="forward: expected to run in float64, .* got RuntimeError: no kernel .* give a twin"
    ):
        crosscheck(forward, backward, (x.to(runs_in[0]),))


def test_what_raises_in_every_dtype_is_raised(device):
    def broken(grad_out, out, x):
        raise ZeroDivisionError("of the user's own")

    with pytest.raises(ZeroDivisionError, match="of the user's own"):
        crosscheck(torch.sigmoid, broken, (normal(device, 3),))


def test_a_small_wrong_block_among_large_numbers(device):
    """In float32 its error is within the rounding of the large numbers, and in float64 the kernel does not run."""

    def backward(grad_out, out, x, scale):
        if x.dtype == torch.float64:
            raise RuntimeError("no kernel")
        return grad_out * scale, (grad_out * x).sum(0)

    def wrong(grad_out, out, x, scale):
        grad_x, grad_scale = backward(grad_out, out, x, scale)
        grad_x[-8:] *= 1.5
        return grad_x, grad_scale

    scale = torch.ones(64, 1, device=device)
    scale[-8:] = 1e-7
    inputs = normal(device, 64, 50), scale.expand(64, 50).contiguous()
    kernel = lambda x, scale: x * scale  # noqa: E731
    right = crosscheck(kernel, lambda *args: (backward(*args)[0], args[0] * args[2]), inputs)
    right.raise_on_mismatch()
    report = crosscheck(kernel, lambda *args: (wrong(*args)[0], args[0] * args[2]), inputs, dtypes=[torch.float32])
    assert [row.name for row in report.mismatches] == ["x"]
    cause, where = report.mismatches[0].diagnosis.split("\n")
    assert cause == "unknown cause, among numbers far smaller than the rest"
    place, got, expected = re.fullmatch(r"at \[(\d+, \d+)\]: got (\S+), expected (\S+)", where).groups()
    assert int(place.split(",")[0]) >= 56
    assert float(got) / float(expected) == pytest.approx(1.5, rel=1e-4)


# A lone low dtype tells a wrong formula from an inaccurate one


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_one_low_rung_alone(dtype, device):
    x = normal(device, 200)

    def inaccurate(grad_out, out, x):
        # (out + 16) − 16 has lost the last digits of out
        return (grad_out * (((out + 16) - 16) * (1 - out)),)

    def wrong(grad_out, out, x):
        return (grad_out * out * (1 - out) + 0.3 * grad_out * out**2,)

    report = crosscheck(Sigmoid.forward, inaccurate, (x,), dtypes=[dtype])
    assert [row.verdict[:13] for row in report.mismatches] == ["right formula"]
    assert report.mismatches[0].diagnosis == ""
    report = crosscheck(Sigmoid.forward, wrong, (x,), dtypes=[dtype])
    assert [row.verdict for row in report.mismatches] == ["wrong formula"]


# Randomness and repetition


def test_dropout_is_judged_from_the_same_random_state(device):
    def forward(x):
        return F.dropout(x, 0.4)

    def backward(grad_out, out, x):
        return (grad_out * (out != 0) / 0.6,)

    def another_mask(grad_out, out, x):
        return (grad_out * (torch.rand(x.shape, device=x.device) > 0.4) / 0.6,)

    state = torch.get_rng_state()
    x = normal(device, 50, 3)
    assert_crosscheck(forward, backward, (x,))
    assert not crosscheck(forward, another_mask, (x,)).ok
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [1.0, 0.3, 0.1])
def test_random_numbers_that_hang_on_the_dtype_are_refused(size, device):
    def forward(x):
        return x * (1 + size * torch.randn_like(x))

    if device.type == "cpu":
        with pytest.raises(TypeError, match="draw them outside, and hand them in"):
            crosscheck(forward, lambda grad_out, out, x: (grad_out * out / x,), (normal(device, 50),))


def test_numbers_that_are_drawn_in_no_dtype_but_those_that_are_judged(device):
    """In float64 alone there is no other dtype in which they could be others."""

    def forward(x):
        return x * (1 + torch.randn_like(x))

    if device.type == "cpu":
        options = {"dtypes": [torch.float64]}
        assert crosscheck(forward, lambda grad_out, out, x: (grad_out * out / x,), (normal(device, 50),), **options).ok


def test_a_zero_beside_random_numbers_hangs_on_no_dtype(device):
    def forward(x):
        return F.dropout(x, 0.4), 0 * x

    assert_crosscheck(forward, lambda g, out, x: (g[0] * (out[0] != 0) / 0.6,), (normal(device, 50),))


def test_a_mask_that_hangs_on_the_dtype_is_refused(device):
    def forward(x):
        keep = torch.rand_like(x) > 0.4
        return x * keep, keep

    def backward(grad_out, out, x):
        return (grad_out[0] * out[1],)

    if device.type == "cpu":
        assert crosscheck(forward, backward, (normal(device, 50),), dtypes=[torch.float64]).ok
        with pytest.raises(TypeError, match="draw them outside, and hand them in"):
            crosscheck(forward, backward, (normal(device, 50),))


def test_what_differs_from_call_to_call_is_said(device):
    draws = random.Random(0)

    def unsteady(grad_out, out, x):
        return (grad_out * out * (1 - out) * (1 + 1e-3 * draws.random()),)

    report = crosscheck(Sigmoid.forward, unsteady, (normal(device, 5, 3),))
    assert {row.verdict for row in report.mismatches if row.dtype == dtypes_of(device)[0]} == {
        "not the same from call to call, by 0.000217, far more than rounding"
    }
    assert "differs in x" in report.repeats
    assert {row.diagnosis for row in report.mismatches} == {""}
    assert crosscheck(Sigmoid.forward, Sigmoid.backward, (normal(device, 5, 3),)).repeats == "gives the same"


# What is handed in, and what is left behind


@pytest.mark.parametrize("victim", ["grad_out", "x"])
def test_what_is_changed_in_place_is_named(victim, device):
    def backward(grad_out, out, x):
        gradient = grad_out * out * (1 - out)
        (grad_out if victim == "grad_out" else x).mul_(2)
        return (gradient,)

    report = crosscheck(Sigmoid.forward, backward, (normal(device, 5, 3),))
    (row,) = report.mismatches
    assert (row.name, row.verdict, row.diagnosis) == (victim, "changed in place by backward", "")


def test_of_several_grads_out_the_one_that_is_changed_is_named(device):
    def backward(grad_out, out, x):
        gradient = 2 * grad_out[0] + 3 * grad_out[1]
        grad_out[1].zero_()
        return (gradient,)

    report = crosscheck(lambda x: (2 * x, 3 * x), backward, (normal(device, 5),))
    assert [(row.name, row.verdict) for row in report.mismatches] == [("grad_out[1]", "changed in place by backward")]


def test_what_is_not_finite_is_not_changed_in_place(device):
    x = normal(device, 5)
    x[2] = torch.nan
    report = crosscheck(torch.nan_to_num, lambda g, out, x: (torch.where(x.isnan(), 0, g),), (x,))
    report.raise_on_mismatch()
    assert {row.verdict for row in report.rows} == {"agrees"}


def test_a_graph_of_very_many_paths(device):
    """Forty layers, each with two ways through it: as many paths as 2 to the 40."""

    def forward(x):
        for _ in range(40):
            x = x / 2 + torch.sin(x) / 2
        return x

    def backward(grad_out, out, x):
        for _ in range(40):
            grad_out = grad_out * (1 + x.cos()) / 2
            x = x / 2 + torch.sin(x) / 2
        return (grad_out,)

    assert_crosscheck(forward, backward, (normal(device, 5),))


def test_what_is_changed_in_place_is_named_where_float64_is_not_run(device):
    def backward(grad_out, out, x):
        if x.dtype == torch.float64:
            raise RuntimeError("no kernel")
        gradient = grad_out * x.cos()
        x.zero_()
        return (gradient,)

    for options in ({}, {"method": "taylor"}):
        report = crosscheck(torch.sin, backward, (normal(device, 5),), names=("x",), **options)
        assert [(row.name, row.verdict) for row in report.mismatches] == [("x", "changed in place by backward")]


def test_what_the_forward_changes_in_place_is_named(device):
    def forward(x):
        out = torch.sigmoid(x)
        return out if x.requires_grad else (x.mul_(2), out)[1]  # where autograd would not let it

    report = crosscheck(forward, Sigmoid.backward, (normal(device, 5, 3),), twin=torch.sigmoid)
    assert [(row.name, row.verdict) for row in report.mismatches][-1] == ("x", "changed in place by forward")


def test_memory_layouts_reach_the_two_functions(device):
    seen: list[tuple[int, ...]] = []

    def forward(x, y):
        seen.append((*x.stride(), *y.stride()))
        return x * y

    base = normal(device, 6, 8)
    inputs = (base.T[::2], normal(device, 6)[:1].expand(4, 6))
    assert_crosscheck(forward, lambda g, out, x, y: (g * y, g * x), inputs)
    first, *others = dict.fromkeys(seen)
    assert first == (2, 8, 0, 0)
    assert len(others) >= 3  # where the contract is looked at


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,)], ids=str)
def test_tensors_of_one_element_or_none(shape, device):
    assert_crosscheck(Sigmoid.forward, Sigmoid.backward, (normal(device, *shape),))
    if shape != (0,) and shape != (0, 3):
        assert not crosscheck(Sigmoid.forward, lambda g, out, x: (g * out,), (normal(device, *shape),)).ok


def test_outs_that_are_no_numbers_to_differentiate(device):
    def forward(x):
        values, places = x.sort(1)
        return values, places

    def backward(grad_out, out, x):
        assert grad_out[1] is None
        return (torch.zeros_like(x).scatter(1, out[1], grad_out[0]),)

    assert_crosscheck(forward, backward, (normal(device, 5, 3),))
    report = crosscheck(forward, backward, (normal(device, 5, 3),), twin=forward)
    assert {row.name for row in report.rows} == {"out[0]", "x"}


def test_what_reads_around_its_inputs_is_refused(device):
    whole = normal(device, 5, 5)
    with pytest.raises(TypeError, match="^forward: expected to read nothing but its inputs, got a read of the memory"):
        crosscheck(lambda x: x.as_strided((2, 2), (5, 1), 18), lambda g, out, x: (g,), (whole[1:3, 1:3],))


def test_lists_out(device):
    assert_crosscheck(lambda x: [x * 2, x * 3], lambda g, out, x: [g[0] * 2 + g[1] * 3], [normal(device, 5)])


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (
            (torch.ones(3, 3).to_sparse(),),
            "x: expected a dense tensor, got one of torch.sparse_coo: hand in",
        ),
        (
            (torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged),),
            "x: expected a tensor, got a nested one: hand in its values",
        ),
        ((torch.ones(3, device="meta"),), "x: expected a tensor with numbers, got one on the device meta"),
    ],
)
def test_what_is_not_judged_is_refused_by_name(inputs, says):
    with pytest.raises(TypeError, match=says):
        crosscheck(lambda x: x * 2, lambda g, out, x: (g * 2,), inputs)


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation:UserWarning")
def test_what_is_quantized_is_refused():
    x = torch.empty(3, dtype=torch.quint8)
    with pytest.raises(TypeError, match="^x: expected a tensor of floating-point numbers, got a quantized one"):
        crosscheck(lambda x: x, lambda g, out, x: g, (x,))


def test_it_works_in_any_mode(device):
    x = normal(device, 5, 3)
    for mode in (torch.inference_mode(), torch.no_grad(), torch.autocast(device.type, torch.bfloat16)):
        with mode:
            assert_crosscheck(lambda x: x @ x.T, lambda g, out, x: ((g + g.T) @ x,), (x,))
            given = torch.ones(2, 2, device=device) if isinstance(mode, torch.inference_mode) else x
            assert_crosscheck(Sigmoid.forward, Sigmoid.backward, (given,))


# autograd.Function


class Cube(Function):
    factor = 3.0

    @staticmethod
    def forward(ctx, x, power):
        ctx.save_for_backward(x)
        ctx.power = power
        return x**power

    @staticmethod
    def backward(ctx, grad_out):
        (x,) = ctx.saved_tensors
        return Cube.factor * grad_out * x ** (ctx.power - 1), None


def test_a_function_of_autograd(device, monkeypatch):
    def forward(x, power):
        return x**power

    inputs = (normal(device, 5, 3), 3)
    report = crosscheck(forward, Cube, inputs)
    report.raise_on_mismatch()
    assert {row.name for row in report.rows} == {"out", "x"}
    monkeypatch.setattr(Cube, "factor", 2.0)
    report = crosscheck(forward, Cube, inputs)
    assert "off by the constant factor 2/3" in report.mismatches[0].diagnosis
    assert not crosscheck(lambda x, power: x ** (power + 1), Cube, inputs).ok


class Careless(Function):
    """Returns None for what it has to return, or what it saved."""

    returned = "nothing"

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x)
        return x * w

    @staticmethod
    def backward(ctx, grad_out):
        return None if Careless.returned == "nothing" else ctx.saved_tensors[0], grad_out * ctx.saved_tensors[0]


@pytest.mark.parametrize(
    ("returned", "verdict"),
    [("nothing", "missing: expected a tensor of shape [5], got None"), ("what was saved", "wrong formula")],
)
def test_what_a_function_of_autograd_returns(returned, verdict, device, monkeypatch):
    monkeypatch.setattr(Careless, "returned", returned)
    report = crosscheck(torch.mul, Careless, (normal(device, 5), normal(device, 5)), names=("x", "w"))
    assert {(row.name, row.verdict) for row in report.mismatches} == {("x", verdict)}


# Size


def test_few_calls_of_the_forward_however_large_the_inputs(device):
    """Ten million elements; nothing of the size of inputs times outputs is ever built."""
    calls = []

    def forward(x):
        calls.append(x.numel())
        return torch.tanh(x)

    x = torch.randn(10_000_000, device=device)
    assert_crosscheck(forward, lambda g, out, x: (g * (1 - out * out),), (x,), dtypes=dtypes_of(device)[:2])
    assert calls.count(x.numel()) <= 12 + 4  # of the contract, which is looked at on a crop but for one call
