"""What people have, handed in as it is: the right one agrees, and the same wrong by a thousandth does not."""

import math
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from crosscheck import assert_crosscheck, compare, crosscheck

WRONG = 1.001


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


X, W = normal(5, 3), normal(3, 2, seed=1)


def layer(x, w):
    return torch.tanh(x @ w)


def tanh_layer(factor):
    """An autograd.Function of the layer, right for the factor 1."""

    class TanhLayer(Function):
        @staticmethod
        def forward(ctx, x, w):
            out = layer(x, w)
            ctx.save_for_backward(x, w, out)
            return out

        @staticmethod
        def backward(ctx, grad_out):
            x, w, out = ctx.saved_tensors
            delta = grad_out * (1 - out**2)
            return delta @ w.mT, factor * x.mT @ delta

    return TanhLayer


def judged(report, wrong):
    """Both verdicts, and where the second one is off."""
    assert report.ok, str(report)
    assert not wrong.ok
    return {row.name for row in wrong.mismatches}


@torch.library.custom_op("crosscheck_tests::right", mutates_args=())
def right_op(x: Tensor, w: Tensor) -> Tensor:
    return layer(x, w)


@torch.library.custom_op("crosscheck_tests::wrong", mutates_args=())
def wrong_op(x: Tensor, w: Tensor) -> Tensor:
    return layer(x, w)


for op, by in ((right_op, 1.0), (wrong_op, WRONG)):

    def setup(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output)

    def backward_of_op(ctx, grad_out, by=by):
        x, w, out = ctx.saved_tensors
        delta = grad_out * (1 - out**2)
        return delta @ w.mT, by * x.mT @ delta

    op.register_autograd(backward_of_op, setup_context=setup)


OPS = {
    "Function": tanh_layer,
    "apply": lambda factor: tanh_layer(factor).apply,
    "decorated": lambda factor: right_op if factor == 1 else wrong_op,
    "overload": lambda factor: getattr(torch.ops.crosscheck_tests, "right" if factor == 1 else "wrong").default,
    "packet": lambda factor: getattr(torch.ops.crosscheck_tests, "right" if factor == 1 else "wrong"),
    "function": lambda factor: lambda x, w: tanh_layer(factor).apply(x, w),
    "compiled": lambda factor: torch.compile(tanh_layer(factor).apply, backend="aot_eager"),
    "checkpointed": lambda factor: lambda x, w: checkpoint(tanh_layer(factor).apply, x, w, use_reentrant=False),
}


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # by torch.compile itself
@pytest.mark.parametrize("form", OPS)
def test_what_has_a_backward_of_its_own(form, device):
    inputs = X.to(device), W.to(device)
    right, wrong = OPS[form](1.0), OPS[form](WRONG)
    assert judged(crosscheck(right, inputs=inputs, twin=layer), crosscheck(wrong, inputs=inputs, twin=layer)) == {"w"}
    assert {row.name for row in crosscheck(right, inputs=inputs, twin=layer).rows} == {"out", "x", "w"}
    with pytest.raises(
        TypeError, match="^twin: expected the same function in torch's operations, got none, and no backward"
    ):
        crosscheck(right, inputs=inputs)


def test_a_twin_that_goes_by_the_same_backward_is_none():
    F_ = tanh_layer(WRONG)
    for twin in (F_.apply, lambda x, w: F_.apply(x, w) * 1):
        with pytest.raises(TypeError, match="judged by its own backward"):
            crosscheck(F_, inputs=(X, W), twin=twin)


class Norm(nn.Module):
    def __init__(self, factor=1.0, names=("weight", "bias")):
        super().__init__()
        self.names, self.factor = names, factor
        for name in names:
            self.register_parameter(name, nn.Parameter(normal(3, seed=len(name))))

    def forward(self, x, eps=1e-5):
        weight, bias = (getattr(self, name) for name in self.names)
        out = F.layer_norm(x, (3,), None, None, eps) * weight
        return out + self.factor * bias - (self.factor - 1) * bias.detach()


def test_a_module_beside_a_module():
    wrong = crosscheck(Norm(WRONG), inputs=(X,), twin=nn.LayerNorm(3))
    assert judged(crosscheck(Norm(), inputs=(X,), twin=nn.LayerNorm(3)), wrong) == {"bias"}
    assert {row.name for row in wrong.rows} == {"out", "x", "weight", "bias"}


def test_parameters_of_other_names():
    mine, names = Norm(names=("gamma", "beta")), {"gamma": "weight", "beta": "bias"}
    assert crosscheck(mine, inputs=(X,), twin=nn.LayerNorm(3), names=names).ok
    the_other_way_round = {"weight": "gamma", "bias": "beta"}
    assert crosscheck(mine, inputs=(X,), twin=nn.LayerNorm(3), names=the_other_way_round).ok
    with pytest.raises(
        ValueError, match=r"^twin: expected forward to have a parameter for its weight \[3\], got gamma"
    ):
        crosscheck(mine, inputs=(X,), twin=nn.LayerNorm(3))
    with pytest.raises(ValueError, match="^names: expected {forward's name: the twin's}, forward's of"):
        crosscheck(mine, inputs=(X,), twin=nn.LayerNorm(3), names={"gamma": "weight", "beta": "offset"})


def test_a_module_beside_a_function():
    def by_name(x, weight, bias):
        return F.layer_norm(x, (3,), weight, bias)

    assert crosscheck(Norm(), inputs=(X,), twin=by_name).ok
    assert crosscheck(Norm(), inputs=(X,), twin=lambda x, w, b: by_name(x, w, b)).ok
    assert crosscheck(
        Norm(), inputs=(X,), twin=lambda x, w, b, eps: F.layer_norm(x, (3,), w, b, eps), options={"eps": 0.1}
    ).ok
    assert crosscheck(by_name, inputs=(X, normal(3), normal(3, seed=4)), twin=nn.LayerNorm(3)).ok


def test_a_module_with_a_backward_by_hand():
    def backward(grad_out, out, x, weight, bias):
        return grad_out @ weight, grad_out.mT @ x, grad_out.sum(0)

    assert_crosscheck(nn.Linear(3, 2), backward, (X,))
    report = crosscheck(nn.Linear(3, 2), lambda g, *rest: (*backward(g, *rest)[:2], WRONG * g.sum(0)), (X,))
    assert {row.name for row in report.mismatches} == {"bias"}


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight

    def forward(self, x):
        return self.other(torch.tanh(self.one(x)))


def test_what_is_shared_is_one_parameter():
    report = crosscheck(Tied(), inputs=(X,), twin=Tied())
    assert report.ok
    assert [row.name for row in report.rows if row.dtype == torch.float64] == [
        "out", "x", "one.weight", "one.bias", "other.bias"
    ]  # fmt: skip


def test_training_mode():
    """Buffers are fresh at every call, and both draw the same random numbers."""

    def block():
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.4))

    mine = block()
    before = {name: buffer.clone() for name, buffer in mine.named_buffers()}
    assert crosscheck(mine, inputs=(X,), twin=block()).ok
    assert all(torch.equal(buffer, before[name]) for name, buffer in mine.named_buffers())


def test_gradients_that_land_elsewhere():
    """In w.main_grad, from where a callable fetches them."""

    def accumulating(factor):
        class Accumulating(Function):
            @staticmethod
            def forward(ctx, x, w):
                ctx.save_for_backward(x)
                ctx.w = w
                return x @ w

            @staticmethod
            def backward(ctx, grad_out):
                (x,) = ctx.saved_tensors
                ctx.w.main_grad.add_(factor * x.mT @ grad_out)
                return grad_out @ ctx.w.mT, None

        return Accumulating.apply

    def fetched(grad_out, out, x, w):
        out.backward(grad_out)
        return x.grad, w.main_grad

    w = W.clone()
    w.main_grad = torch.zeros_like(w)
    right, wrong = (crosscheck(accumulating(f), fetched, (X, w), twin=torch.matmul) for f in (1.0, WRONG))
    assert judged(right, wrong) == {"w"}

    class Linear(nn.Linear):
        def forward(self, x):
            return accumulating(1.0)(x, self.weight.mT)

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(W.clone())
            self.w.main_grad = torch.zeros_like(W)

        def forward(self, x):
            return accumulating(1.0)(x, self.w)

    assert crosscheck(Own(), fetched, (X,), twin=torch.matmul).ok


def sine(grad_out, out, x):
    return grad_out * np.cos(x)


def test_arrays():
    x = X.numpy().astype(np.float64)
    right, wrong = (
        crosscheck(np.sin, lambda *a, f=f: f * sine(*a), (x,), twin=torch.sin, names=["x"]) for f in (1.0, WRONG)
    )
    assert judged(right, wrong) == {"x"}
    assert {row.dtype for row in right.rows} == {torch.float64, torch.float32, torch.float16}
    right, wrong = (crosscheck(np.sin, lambda *a, f=f: f * sine(*a), (x,), names=("x",)) for f in (1.0, WRONG))
    assert judged(right, wrong) == {"x"}
    assert any("judged by Taylor's expansion in float64" in note for note in right.notes)
    with pytest.raises(TypeError, match="^backward: expected a function, got none: NumPy's functions have no backward"):
        crosscheck(np.sin, inputs=(x,), twin=torch.sin)


def test_numbers():
    def forward(x, y):
        return x * math.sin(y)

    def backward(grad_out, out, x, y, by=1.0):
        return grad_out * math.sin(y), by * grad_out * x * math.cos(y)

    for options in ({}, {"twin": lambda x, y: x * torch.sin(y)}):
        right = crosscheck(forward, backward, (2.0, 3.0), **options)
        wrong = crosscheck(forward, lambda *a: backward(*a, WRONG), (2.0, 3.0), **options)
        assert judged(right, wrong) == {"y"}


def test_lists_of_arrays():
    inputs = ([normal(4).numpy(), normal(4, seed=1).numpy()],)

    def forward(xs):
        return [xs[0] * xs[1], xs[0] + xs[1]]

    def backward(grad_out, out, xs, by=1.0):
        return [grad_out[0] * xs[1] + grad_out[1], by * (grad_out[0] * xs[0] + grad_out[1])]

    assert judged(
        crosscheck(forward, backward, inputs), crosscheck(forward, lambda *a: backward(*a, WRONG), inputs)
    ) == {"xs[1]"}


@dataclass
class State:
    mean: Tensor
    scale: Tensor


Pair = namedtuple("Pair", "left right")


def test_trees():
    inputs = ([X, {"scale": normal(3)}], State(normal(3, seed=5), normal(3, seed=6)), Pair(X, "name"))

    def forward(p, state, pair):
        x, scale = p[0], p[1]["scale"]
        return {"loss": ((x - state.mean) * scale).sum(), "rest": (state.scale * x, pair.left)}

    def backward(grad_out, out, p, state, pair, by=1.0):
        assert pair.right == "name"
        x, scale, (g, rest) = p[0], p[1]["scale"], (grad_out["loss"], grad_out["rest"])
        x_grad = g * scale.expand_as(x) + rest[0] * state.scale
        mean = -by * g * scale * len(x)
        return (
            [x_grad, {"scale": (g * (x - state.mean)).sum(0)}],
            State(mean, (rest[0] * x).sum(0)),
            Pair(rest[1], None),
        )

    right, wrong = crosscheck(forward, backward, inputs), crosscheck(forward, lambda *a: backward(*a, WRONG), inputs)
    assert judged(right, wrong) == {"state.mean"}
    assert {row.name for row in right.rows} == {"p[0]", "p[1]['scale']", "state.mean", "state.scale", "pair.left"}
    values = {row.name for row in crosscheck(forward, backward, inputs, twin=forward).rows}
    assert values >= {"out['loss']", "out['rest'][0]", "out['rest'][1]"}


def test_a_gradient_of_another_tree():
    report = crosscheck(lambda p: p["a"] * p["b"], lambda g, out, p: {"a": g * p["b"]}, ({"a": X, "b": X + 1},))
    assert {row.name: row.verdict for row in report.mismatches} == {
        "p['b']": "missing: expected a tensor of shape [5, 3], got a dict without ['b']"
    }


def test_options():
    mask = torch.ones(5, 2)

    def forward(x, w, *, power, mask):
        return (layer(x, w) * mask) ** power

    def backward(grad_out, out, x, w, *, power, mask):
        assert mask.dtype == x.dtype
        y = layer(x, w)
        delta = grad_out * power * (y * mask) ** (power - 1) * mask * (1 - y**2)
        return delta @ w.mT, x.mT @ delta

    report = crosscheck(forward, backward, (X, W), options={"power": 3.0, "mask": mask}, twin=forward)
    assert report.ok
    assert {row.name for row in report.rows} == {"out", "x", "w"}
    with pytest.raises(TypeError, match=r"^backward: expected to take \(grad_out, out, x, w, power=, mask=\), "):
        crosscheck(forward, lambda g, out, x, w: (g, w), (X, W), options={"power": 3.0, "mask": mask})


def test_wrt():
    def backward(grad_out, out, x, w):
        return grad_out * (1 - out**2) @ w.mT, None

    report = crosscheck(layer, backward, (X, W), wrt=["x"])
    assert report.ok
    assert report.coverage == "judged in x, not in w (not in wrt)"
    assert crosscheck(layer, backward, (X, W), wrt="x").ok
    assert not crosscheck(layer, backward, (X, W), wrt=["x", "w"]).ok
    with pytest.raises(ValueError, match="^wrt: expected names of floating-point inputs, some of x, w, got 'y'$"):
        crosscheck(layer, backward, (X, W), wrt=["y"])


Z = normal(4, 3, dtype=torch.complex64)


def test_complex_numbers():
    """In torch's convention, by which the gradient of the linear out = c·z is grad_out times the conjugate of c."""
    c, names = normal(3, seed=2, dtype=torch.complex64), ("z", "c")

    def backward(grad_out, out, z, c, by=1.0):
        return by * grad_out * c.conj(), (grad_out * z.conj()).sum(0)

    right, wrong = (crosscheck(torch.mul, lambda *a, f=f: backward(*a, f), (Z, c), names=names) for f in (1.0, WRONG))
    assert judged(right, wrong) == {"z"}
    assert [row.dtype for row in right.rows if row.name == "z"] == [torch.complex128, torch.complex64]
    other = crosscheck(torch.mul, lambda g, out, z, c: (g * c, (g * z.conj()).sum(0)), (Z, c), names=names)
    assert {row.name for row in other.mismatches} == {"z"}
    assert "imaginary part" in other.mismatches[0].diagnosis or "real part" in other.mismatches[0].diagnosis


def test_complex_from_real_and_back():
    assert crosscheck(
        torch.fft.rfft, lambda g, out, x: torch.fft.ifft(F.pad(g, (0, 2)), norm="forward").real, (normal(5),)
    ).ok
    report = crosscheck(lambda z: (z * z.conj()).real.sum(), lambda g, out, z: 2 * g * z, (Z,), dtypes=torch.complex64)
    assert report.ok
    assert {row.dtype for row in report.rows} == {torch.complex64}
    assert not crosscheck(lambda z: z.abs().sum(), lambda g, out, z: g * z / z.abs() * WRONG, (Z,)).ok
    missing = crosscheck(lambda z: z * 2, lambda g, out, z: (2 * g).real, (Z,))
    assert "got real numbers, where z is complex" in missing.mismatches[0].verdict
    assert compare({"z": Z}, {"z": Z}).ok
    assert not compare({"z": Z.conj()}, {"z": Z}).ok


def test_several_dtypes_as_given():
    x, w = X.bfloat16(), W

    def mixed(factor):
        class Mixed(Function):
            @staticmethod
            def forward(ctx, x, w):
                ctx.save_for_backward(x, w)
                return (x.float() @ w.float()).to(x.dtype) if x.dtype != torch.float64 else x @ w

            @staticmethod
            def backward(ctx, grad_out):
                x, w = ctx.saved_tensors
                by = factor if x.dtype != w.dtype else 1
                wide = torch.promote_types(torch.float32, x.dtype)
                gx, gw = grad_out.to(wide) @ w.mT.to(wide), by * x.mT.to(wide) @ grad_out.to(wide)
                return gx.to(x.dtype), gw.to(w.dtype)

        return Mixed

    right, wrong = (crosscheck(mixed(f), inputs=(x, w), twin=torch.matmul) for f in (1.0, 1.1))
    assert judged(right, wrong) == {"w"}
    assert {(row.name, row.dtype) for row in right.rows if "as given" in row.verdict} == {
        ("x", torch.bfloat16), ("w", torch.float32)
    }  # fmt: skip


def cube(factor, once=False):
    class Cube(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad_out):
            (x,) = ctx.saved_tensors
            constant = (factor - 1) * (x**2).detach() * 3
            return grad_out * ((3 - 3 * (factor - 1)) * x**2 + constant)

    if once:
        Cube.backward = staticmethod(torch.autograd.function.once_differentiable(Cube.backward))
    return Cube


def test_second_derivatives():
    """Of a wrong one the gradient itself is right: a part of it is a constant to autograd."""

    def twin(x):
        return x**3

    right, wrong = (crosscheck(cube(f), inputs=(X,), twin=twin, order=2) for f in (1.0, WRONG))
    assert judged(right, wrong) == {"x, order 2"}
    assert crosscheck(cube(WRONG), inputs=(X,), twin=twin).ok
    once = crosscheck(cube(1.0, once=True), inputs=(X,), twin=twin, order=2)
    assert once.ok
    assert once.coverage == "judged in out, x, not in order 2 (its backward is marked once_differentiable)"


def test_second_derivatives_of_steps_by_hand():
    right = crosscheck(torch.tanh, lambda g, out, x: g * (1 - out**2), (X,), names=("x",), order=2)
    wrong = crosscheck(torch.tanh, lambda g, out, x: g * (1 - out.detach() ** 2), (X,), names=("x",), order=2)
    assert judged(right, wrong) == {"x, order 2"}


def dual(factor):
    class Dual(Function):
        @staticmethod
        def forward(x, w):
            return x * w

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, grad_out):
            x, w = ctx.saved_tensors
            return grad_out * w, grad_out * x

        @staticmethod
        def jvp(ctx, x_t, w_t):
            x, w = ctx.saved_tensors
            return (0 if x_t is None else x_t * w) + (0 if w_t is None else factor * w_t * x)

    return Dual


def test_the_forward_mode():
    inputs = X, X.flip(0) + 1
    right, wrong = (crosscheck(dual(f), inputs=inputs, twin=torch.mul, method="forward") for f in (1.0, WRONG))
    assert judged(right, wrong) == {"out by w"}
    with pytest.raises(TypeError, match="^forward: expected a forward mode, as Function.jvp, got"):
        crosscheck(tanh_layer(1.0), inputs=(X, W), twin=layer, method="forward")


@pytest.mark.parametrize("kind", ["dtypes", "inputs", "forward", "may_change", "order"])
def test_bad_input_is_said_in_a_line(kind):
    says = {
        "dtypes": "^dtypes: expected some of torch.float64, .*, got torch.int64$",
        "inputs": r"^inputs: expected a tuple, as in \(x,\), got Tensor$",
        "forward": "^forward: expected a function, got Tensor$",
        "may_change": "^may_change: expected some of x, w, out and grad_out, got 'y'$",
        "order": "^order: expected 1, or 2 where there is no method, got 3$",
    }[kind]
    options = {"dtypes": torch.int64, "may_change": "y", "order": 3}
    forward = X if kind == "forward" else layer
    with pytest.raises((TypeError, ValueError), match=says):
        crosscheck(
            forward, lambda g, out, x, w: (g, g), X if kind == "inputs" else (X, W),
            **({kind: options[kind]} if kind in options else {}),
        )  # fmt: skip


def test_one_dtype_is_a_list_of_one():
    report = crosscheck(
        layer, lambda g, o, x, w: (g * (1 - o**2) @ w.mT, x.mT @ (g * (1 - o**2))), (X, W), dtypes=torch.float32
    )
    assert {row.dtype for row in report.rows} == {torch.float32}


def test_a_parameter_that_requires_grad_has_a_gradient():
    report = crosscheck(nn.Linear(3, 2), lambda g, out, x, w, b: (g @ w, None, g.sum(0)), (X,))
    assert {row.name for row in report.mismatches} == {"weight"}


def test_outs_of_a_dict_are_compared_by_their_keys():
    def forward(x):
        return {"a": x**2, "b": 3 * x}

    assert crosscheck(forward, inputs=(X,), twin=lambda x: {"b": 3 * x, "a": x**2}).ok
    assert not crosscheck(forward, inputs=(X,), twin=lambda x: {"b": x**2, "a": 3 * x}).ok


def test_outs_that_are_none_stand_for_nothing():
    F_ = tanh_layer(1.0)
    assert crosscheck(lambda x, w: (F_.apply(x, w), None), inputs=(X, W), twin=layer).ok
    assert crosscheck(lambda x: {"y": 2 * x, "n": 3}, lambda g, out, x: 2 * g["y"], (X,)).ok


def test_a_surplus_in_a_tree_is_said():
    report = crosscheck(lambda p: p["a"] * 2, lambda g, out, p: {"a": g * 2, "z": g}, ({"a": X},))
    assert report.mismatches[0].verdict.endswith("got a dict with ['z'] more than p")


def test_the_bound_forward_of_a_module_is_the_module():
    assert {row.name for row in crosscheck(Norm().forward, inputs=(X,), twin=nn.LayerNorm(3)).rows} > {"weight", "bias"}


def test_compiled_modules():
    compiled = torch.compile(nn.Linear(3, 2), backend="eager")
    inside = nn.Sequential(torch.compile(nn.Linear(3, 2), backend="eager"))
    assert crosscheck(compiled, inputs=(X,), twin=nn.Linear(3, 2)).ok
    assert crosscheck(nn.Linear(3, 2), inputs=(X,), twin=torch.compile(nn.Linear(3, 2), backend="eager")).ok
    assert crosscheck(inside, inputs=(X,), twin=nn.Sequential(nn.Linear(3, 2))).ok


class Rerun(nn.Module):
    """Its backward runs its layer again."""

    def __init__(self, reentrant):
        super().__init__()
        self.layer, self.reentrant = nn.Linear(3, 2), reentrant

    def forward(self, x):
        return checkpoint(lambda x: torch.tanh(self.layer(x)), x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_module_whose_backward_runs_it_again(reentrant):
    module = Rerun(reentrant)
    report = crosscheck(module, inputs=(X,), twin=lambda x, w, b: torch.tanh(F.linear(x, w, b)))
    assert report.formula == "right, judged at float64"
    # By torch's own reentrant checkpoint there is none without a gradient by x.
    assert {breach.check for breach in report.breaches} == ({"frozen inputs"} if reentrant else set())
    assert module.layer.weight.grad is None


def test_taylor_of_what_has_a_backward_of_its_own():
    right, wrong = (crosscheck(tanh_layer(f), inputs=(X, W), method="taylor") for f in (1.0, WRONG))
    assert judged(right, wrong) == {"w"}


def test_a_gradient_of_another_shape_is_a_row():
    class Flat(Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, grad_out):
            return 2 * grad_out.flatten()

    row = crosscheck(Flat, inputs=(X,), twin=lambda x: 2 * x).mismatches[0]
    assert row.name == "x"
    assert "got [15] but expected shape compatible with [5, 3]" in row.verdict


def test_second_derivatives_that_are_zero_or_of_several():
    assert crosscheck(lambda x: 3 * x, lambda g, out, x: 3 * g, (X,), order=2).ok
    right = crosscheck(layer, lambda g, o, x, w: ((g * (1 - o**2)) @ w.mT, x.mT @ (g * (1 - o**2))), (X, W), order=2)
    assert right.ok, str(right)
    assert {row.name for row in right.rows} == {"x", "w", "x, order 2", "w, order 2", "grad_out, order 2"}
    assert crosscheck(nn.Linear(3, 2), inputs=(X,), twin=nn.Linear(3, 2), order=2).ok
    with pytest.raises(ValueError, match="^order: expected 1 for NumPy's functions alone, got 2: give a twin"):
        crosscheck(np.sin, sine, (X.numpy(),), order=2)


def test_a_forward_mode_of_another_shape():
    class Take(Function):
        @staticmethod
        def forward(x, i):
            return x[i]

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.i = inputs[1]

        @staticmethod
        def jvp(ctx, tangent, _):
            return 1.001 * tangent[ctx.i]

    inputs = normal(4), torch.tensor([0, 0, 1])
    wrong = crosscheck(Take, inputs=inputs, twin=lambda x, i: x[i], method="forward")
    assert {row.name for row in wrong.mismatches} == {"out by x"}


def test_a_slip_beside_a_tie_is_no_convention():
    class Largest(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.i = x.argmax()
            return torch.cat([x.max()[None], x])

        @staticmethod
        def backward(ctx, grad_out):
            gradient = grad_out[1:].clone()
            gradient[ctx.i] += grad_out[0]
            return gradient * Largest.by

    def twin(x):
        return torch.cat([x.max(0).values[None], x])

    x = torch.tensor([1.0, 3.0, 3.0, 0.5])
    for by, ok in ((1.0, True), (1 + 1e-5, False), (1 + 1e-6, False)):
        Largest.by = by
        assert crosscheck(Largest, inputs=(x,), twin=twin).ok == ok


def test_a_net_of_relus_in_numpy_has_kinks_between_the_steps():
    for seed in (1, 15, 16, 28):
        rng = np.random.default_rng(seed)
        inputs = rng.normal(size=(6, 4)), rng.normal(size=(4, 5)), rng.normal(size=(5, 3))

        def forward(x, v, w):
            return np.maximum(x @ v, 0) @ w

        def backward(g, out, x, v, w):
            inner = (g @ w.T) * (x @ v > 0)
            return inner @ v.T, x.T @ inner, np.maximum(x @ v, 0).T @ g

        report = crosscheck(forward, backward, inputs)
        assert report.ok, str(report)


BAD = {
    "options": ([1], "options: expected a dict by keyword, as {'eps': 1e-5}, got list"),
    "wrt": (0, "wrt: expected names, as \\['x', 'w'\\], got int"),
    "names": (torch.ones(2), "names: expected names, as \\['x', 'w'\\], got Tensor"),
    "dtypes": (float, "dtypes: expected a list of dtypes"),
    "seed": ("a", "seed: expected a whole number between -2\\^62 and 2\\^62, got 'a'"),
    "may_change": (1, "may_change: expected names of inputs, as \\('x',\\), got int"),
    "order": (torch.randn(100), "order: expected 1, or 2 where there is no method, got Tensor"),
    "twin": (lambda x: x, "twin: expected to take \\(x, w\\), got twin\\(x\\)"),
}


@pytest.mark.parametrize("option", BAD)
def test_bad_options_are_said_in_a_line(option):
    value, says = BAD[option]
    with pytest.raises((TypeError, ValueError), match=f"^{says}"):
        crosscheck(layer, lambda g, out, x, w: (g, g), (X, W), **{option: value})


def test_a_dict_in_place_of_gradients_is_not_printed():
    report = crosscheck(layer, lambda g, out, x, w: {"x": g @ w.mT, "w": x.mT @ g}, (X, W))
    assert all("\n" not in row.verdict and len(row.verdict) < 200 for row in report.rows)
