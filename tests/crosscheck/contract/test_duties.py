"""What a backward owes beside its numbers: each breach planted and caught, and none claimed of what keeps it."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function

from crosscheck import crosscheck
from manual_bp.rules import RULES
from reference.rules import TWINS


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, W = normal(5, 3), normal(3, 2, seed=1)
IMAGE = normal(2, 3, 4, 5)


def broken(report) -> set[str]:
    """The duties that are not kept; the numbers have to be right."""
    assert not report.mismatches, str(report)
    assert report.ok == (not report.breaches)
    assert report.is_mismatch == bool(report.breaches)
    return {breach.check for breach in report.breaches}


def product(x, w):
    return x @ w


def keeping(backward, forward=None):
    """A Function of the product of matrices with another backward; right where that is."""

    class Product(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return (forward or product)(x, w)

        @staticmethod
        def backward(ctx, grad_out):
            return backward(ctx, grad_out, *ctx.saved_tensors)

    return Product


def right(ctx, g, x, w):
    return g @ w.mT, x.mT @ g


def as_if_contiguous(t: Tensor) -> Tensor:
    """What a kernel sees that takes a pointer, and strides of its own."""
    size = t.untyped_storage().nbytes() // t.element_size() - t.storage_offset()
    if size < t.numel():  # what lies behind is not looked at here
        return torch.zeros_like(t, memory_format=torch.contiguous_format)
    return t.as_strided(t.shape, torch.empty(t.shape).stride())


LAYOUTS = {"transposed", "sliced", "grad_out expanded"}


def test_what_keeps_its_contract(device):
    inputs = X.to(device), W.to(device)
    report = crosscheck(keeping(right), inputs=inputs, twin=product, contract="full")
    assert broken(report) == set()
    assert report.contract == f"kept, in {len(report.duties.checked)} ways of calling it"
    assert set(report.duties.checked) >= {
        "transposed", "sliced", "unaligned", "grad_out expanded", "inputs expanded", "other numbers", "frozen inputs",
        "two forwards first", "results kept", "backward twice", "saved tensors elsewhere", "checkpointed", "compiled",
    }  # fmt: skip


def test_grad_out_that_is_read_as_contiguous():
    report = crosscheck(
        keeping(lambda ctx, g, x, w: right(ctx, as_if_contiguous(g), x, w)), inputs=(X, W), twin=product
    )
    assert broken(report) >= LAYOUTS
    text = next(breach.text for breach in report.breaches if breach.check == "transposed")
    assert text.startswith("grad_out transposed: x differs by ")
    assert text.endswith("; with .contiguous() it is right")
    assert f"transposed: {text}" in report.contract
    assert json.loads(report.to_json())["breaches"][0].keys() == {"check", "name", "text"}
    assert str(report).startswith("Product: CONTRACT BROKEN in ")


def test_inputs_that_are_read_as_contiguous():
    wrong = keeping(lambda ctx, g, x, w: right(ctx, g, as_if_contiguous(x), w))
    report = crosscheck(wrong, inputs=(X, W), twin=product)
    assert broken(report) >= {"transposed", "sliced"}
    assert any(breach.text.startswith("x transposed: w differs by ") for breach in report.breaches)


def test_a_pair_by_hand_is_looked_at_too():
    report = crosscheck(torch.sin, lambda g, out, x: as_if_contiguous(g) * x.cos(), (X,), names=["x"])
    assert broken(report) >= LAYOUTS


def test_channels_last():
    def wrong(grad_out, out, x):
        nchw = grad_out.is_contiguous() or not grad_out.is_contiguous(memory_format=torch.channels_last)
        return (grad_out if nchw else as_if_contiguous(grad_out)) * x.cos()

    assert broken(crosscheck(torch.sin, wrong, (IMAGE,), names=["x"])) == {"channels_last"}


def test_what_is_not_aligned():
    def wrong(grad_out, out, x):
        aligned = grad_out.data_ptr() % 16 == 0 or not grad_out.is_contiguous()
        return grad_out * x.cos() * (1 if aligned else 0)

    assert broken(crosscheck(torch.sin, wrong, (X,), names=["x"])) == {"unaligned"}


def test_what_is_refused_is_noted():
    def strict(ctx, g, x, w):
        if not g.is_contiguous():
            raise ValueError("grad_out: expected a contiguous tensor")
        return right(ctx, g, x, w)

    report = crosscheck(keeping(strict), inputs=(X, W), twin=product)
    assert broken(report) == set()
    assert any(note.startswith("refused: transposed: grad_out transposed: raises ValueError") for note in report.notes)
    assert "transposed" not in report.duties.checked


def test_what_crashes_is_a_breach():
    def crashing(ctx, g, x, w):
        return right(ctx, g if g.is_contiguous() else None, x, w)

    assert "transposed" in broken(crosscheck(keeping(crashing), inputs=(X, W), twin=product))


def two_outs(backward, materialize=False):
    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(materialize)
            ctx.save_for_backward(x)
            return x.sin(), x.exp()

        @staticmethod
        def backward(ctx, g, h):
            return backward(ctx.saved_tensors[0], g, h)

    return Two


def of_two(x, g, h):
    return (0 if g is None else g * x.cos()) + (0 if h is None else h * x.exp())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, g, h: torch.zeros_like(x) if h is None else of_two(x, g, h),
        lambda x, g, h: g * x.cos() + h * x.exp(),
        lambda x, g, h: of_two(x, g, h) if g is not None else h * x.exp() / 2,
    ],
)
def test_an_out_that_nobody_uses(wrong):
    def twin(x):
        return x.sin(), x.exp()

    assert broken(crosscheck(two_outs(of_two), inputs=(X,), twin=twin)) == set()
    assert broken(crosscheck(two_outs(of_two, materialize=True), inputs=(X,), twin=twin)) == set()
    assert broken(crosscheck(two_outs(wrong), inputs=(X,), twin=twin)) == {"unused outs"}


def test_frozen_inputs():
    def asks_the_other(ctx, g, x, w):
        one, other = ctx.needs_input_grad
        return g @ w.mT if other else None, x.mT @ g if one else None

    def loses_all(ctx, g, x, w):
        return right(ctx, g, x, w) if all(ctx.needs_input_grad) else (None, None)

    for wrong in (asks_the_other, loses_all):
        report = crosscheck(keeping(wrong), inputs=(X, W), twin=product)
        assert broken(report) == {"frozen inputs"}
    assert report.contract.startswith("broken: frozen inputs: only w not frozen: w is missing, expected ")

    def asks(ctx, g, x, w):
        return g @ w.mT if ctx.needs_input_grad[0] else None, x.mT @ g if ctx.needs_input_grad[1] else None

    assert broken(crosscheck(keeping(asks), inputs=(X, W), twin=product)) == set()


def test_a_second_backward():
    def spoils(ctx, g, x, w):
        gradients = right(ctx, g, *ctx.kept)
        ctx.kept[0].zero_()
        return gradients

    class Spoilt(keeping(spoils)):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            ctx.kept = x.clone(), w
            return x @ w

    assert broken(crosscheck(Spoilt, inputs=(X, W), twin=product)) == {"backward twice"}


def test_a_buffer_that_is_shared_by_calls():
    kept = {}

    class Shared(keeping(None)):
        @staticmethod
        def forward(ctx, x, w):
            kept["last"] = x.clone(), w.clone()
            return x @ w

        @staticmethod
        def backward(ctx, grad_out):
            return right(ctx, grad_out, *kept["last"])

    assert "two forwards first" in broken(crosscheck(Shared, inputs=(X, W), twin=product))

    def forward(x, w):
        kept["last"] = x.clone(), w.clone()
        return x @ w

    by_hand = crosscheck(forward, lambda g, out, x, w: right(None, g, *kept["last"]), (X, W))
    assert broken(by_hand) == {"two forwards first"}


def test_a_cache_by_shape():
    cache = {}

    def backward(ctx, g, x, w):
        key = x.shape, x.dtype
        cache.setdefault(key, x.mT.clone())
        return g @ w.mT, cache[key] @ g

    report = crosscheck(keeping(backward), inputs=(X, W), twin=product)
    assert broken(report) == {"other numbers"} or "other numbers" in broken(report)


@pytest.mark.parametrize("what", ["x", "grad_out", "out"])
def test_what_is_written_over(what):
    class Writing(Function):
        @staticmethod
        def forward(ctx, x, w):
            out = x @ w
            ctx.x, ctx.w, ctx.out = x, w, out
            return out

        @staticmethod
        def backward(ctx, grad_out):
            gradients = right(ctx, grad_out, ctx.x, ctx.w)
            {"x": ctx.x, "grad_out": grad_out, "out": ctx.out}[what].data.mul_(2)
            return gradients

    report = crosscheck(Writing, inputs=(X, W), twin=product, dtypes=[torch.float64])
    assert not report.ok
    assert f"{what} is changed in place by backward" in report.contract
    if what != "x":  # a second backward would find another x
        assert crosscheck(Writing, inputs=(X, W), twin=product, dtypes=[torch.float64], may_change=[what]).ok


def test_a_pair_that_writes_into_out():
    def backward(grad_out, out, x):
        gradient = grad_out * out
        out.zero_()
        return gradient

    report = crosscheck(torch.exp, backward, (X,), names=["x"])
    assert "out is changed in place by backward" in report.contract
    assert crosscheck(torch.exp, backward, (X,), names=["x"], may_change=["out"]).ok


def test_in_place_by_design():
    class InPlace(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx, grad_out):
            return 2 * grad_out

    assert crosscheck(InPlace, inputs=(X,), twin=lambda x: 2 * x, may_change=["x"]).ok


def test_what_shares_memory_is_told():
    report = crosscheck(lambda x: x + 0, lambda g, out, x: g, (X,))
    assert report.ok
    assert "the gradient of x shares memory with grad_out" in report.notes


def test_autocast():
    class Low(keeping(None)):
        @staticmethod
        def forward(ctx, x, w):
            out = x @ w
            ctx.save_for_backward(x, w)
            ctx.low = out.dtype == torch.bfloat16
            return out

        @staticmethod
        def backward(ctx, grad_out):
            x, w = ctx.saved_tensors
            by = 2 if ctx.low and x.dtype == torch.float32 else 1
            g = grad_out.to(x.dtype)
            return by * g @ w.mT, x.mT @ g

    assert broken(crosscheck(Low, inputs=(X, W), twin=product)) == {"autocast"}


def with_rules(factor):
    class Rules(Function):
        generate_vmap_rule = False

        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, grad_out):
            return 3 * grad_out * ctx.saved_tensors[0] ** 2

        @staticmethod
        def jvp(ctx, tangent):
            return factor * 3 * tangent * ctx.saved_tensors[0] ** 2

    return Rules


def test_the_forward_mode_where_there_is_one():
    assert broken(crosscheck(with_rules(1.0), inputs=(X,), twin=lambda x: x**3)) == set()
    assert broken(crosscheck(with_rules(1.001), inputs=(X,), twin=lambda x: x**3)) == {"forward mode"}


def vmapped(factor):
    class Cube(Function):
        @staticmethod
        def forward(x):
            return x**3

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, grad_out):
            return 3 * grad_out * ctx.saved_tensors[0] ** 2

        @staticmethod
        def vmap(info, in_dims, x):
            return Cube.apply(factor * x), in_dims[0]

    return Cube


def test_vmap_where_there_is_one():
    assert broken(crosscheck(vmapped(1.0), inputs=(X,), twin=lambda x: x**3)) == set()
    assert broken(crosscheck(vmapped(1.001), inputs=(X,), twin=lambda x: x**3)) == {"vmap"}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_keeps_it(name):
    twin = TWINS[name][0]
    report = crosscheck(
        lambda *xs: RULES[name].forward(*xs, **twin.options),
        lambda *xs: RULES[name].backward(*xs, **twin.options),
        twin.draw(0),
        dtypes=[torch.float64],
    )
    assert report.breaches == ()
    assert len(report.duties.checked) > 3


def test_modules_keep_it():
    block = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 2))
    twin = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, 2))
    assert broken(crosscheck(block, inputs=(X,), twin=twin)) == set()
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    x = normal(2, 5, 4)
    report = crosscheck(
        lambda q, w, b: F.multi_head_attention_forward(
            q, q, q, 4, 2, w, b, None, None, False, 0.0, attention.out_proj.weight.to(q.dtype).detach(), None,
            need_weights=False,
        )[0],
        inputs=(x.transpose(0, 1), attention.in_proj_weight.detach(), attention.in_proj_bias.detach()),
        twin=lambda q, w, b: F.multi_head_attention_forward(
            q, q, q, 4, 2, w, b, None, None, False, 0.0, attention.out_proj.weight.to(q.dtype).detach(), None,
            need_weights=True,
        )[0],
    )  # fmt: skip
    assert broken(report) == set()


def test_another_contract_is_refused():
    with pytest.raises(ValueError, match="^contract: expected 'short' or 'full', got 'long'$"):
        crosscheck(torch.sin, lambda g, out, x: g * x.cos(), (X,), contract="long")


def square(forward=lambda x: x * x, backward=lambda g, x: 2 * g * x):
    """A Function of the square."""

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return forward(x)

        @staticmethod
        def backward(ctx, grad_out):
            return backward(grad_out, ctx.saved_tensors[0])

    return Square


def squared(x):
    return x * x


def test_the_values_of_out_are_compared_too():
    cache = {}
    of_pointers = square(lambda x: as_if_contiguous(x) ** 2)
    cached = square(lambda x: cache.setdefault((x.shape, x.dtype), x * x).clone())
    report = crosscheck(of_pointers, inputs=(X,), twin=squared)
    assert broken(report) >= {"transposed", "sliced"}
    assert "x transposed: out differs by " in report.contract
    assert "other numbers" in {
        breach.check for breach in crosscheck(cached, inputs=(X,), twin=squared, dtypes=[torch.float64]).breaches
    }


def test_a_mask_of_another_call():
    class Relu(Function):
        @staticmethod
        def forward(ctx, x):
            Relu.mask = x > 0
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx, grad_out):
            return grad_out * Relu.mask

    assert broken(crosscheck(Relu, inputs=(X,), twin=torch.relu)) == {"two forwards first"}


def test_a_buffer_for_the_results_of_all_calls():
    buffer = {}

    def backward(g, x):
        return torch.mul(2 * g, x, out=buffer.setdefault((x.shape, x.dtype), torch.empty_like(x)))

    assert "results kept" in broken(crosscheck(square(backward=backward), inputs=(X,), twin=squared))


def test_what_is_changed_in_one_dtype_or_layout_alone():
    def in_float32(g, x):
        return g.float().mul_(2 * x.float()).to(x.dtype)

    def if_contiguous_in_float(g, x):
        return g.t().contiguous().mul_(2 * x.t()).t()

    for wrong in (in_float32, if_contiguous_in_float):
        report = crosscheck(square(backward=wrong), inputs=(X,), twin=squared, dtypes=[torch.float64, torch.float32])
        assert "grad_out is changed in place by backward" in report.contract


def test_the_strides_of_one_for_anothers():
    def backward(g, x):
        if 0 not in g.stride() + x.stride():
            g = torch.as_strided(g, x.shape, x.stride(), g.storage_offset())
        return 2 * g * x

    assert broken(crosscheck(square(backward=backward), inputs=(X,), twin=squared)) == {"transposed"}


def test_masks_are_laid_out_too():
    mask = normal(5, 3, seed=2) > 0

    def masked(x, mask):
        return x.masked_fill(as_if_contiguous(mask), 0)

    def backward(g, out, x, mask):
        return g.masked_fill(as_if_contiguous(mask), 0), None

    report = crosscheck(masked, backward, (X, mask), twin=lambda x, mask: x.masked_fill(mask, 0))
    assert "mask transposed: " in report.contract


def test_arrays_written_into():
    def backward(g, out, x):
        out *= out
        return g * (1 - out)

    x = X.numpy().astype("float64")
    report = crosscheck(lambda x: np.tanh(x), backward, (x,), twin=torch.tanh)
    assert "out is changed in place by backward" in report.contract


def test_a_small_out_that_is_lost():
    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            return x * x, 1e-3 * x.sum()

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            return torch.zeros_like(x) if g is None else 2 * g * x + (0 if h is None else 1e-3 * h)

    assert broken(crosscheck(Two, inputs=(X,), twin=lambda x: (x * x, 1e-3 * x.sum()))) == {"unused outs"}


@pytest.mark.parametrize("error", [TypeError, BufferError, ValueError])
def test_refusals_of_any_type(error):
    def strict(ctx, g, x, w):
        if not g.is_contiguous():
            raise error("grad_out: expected a contiguous tensor")
        return right(ctx, g, x, w)

    assert broken(crosscheck(keeping(strict), inputs=(X, W), twin=product)) == set()


def test_a_rule_that_says_it_is_none():
    class NoForwardMode(with_rules(1.0)):
        @staticmethod
        def jvp(ctx, tangent):
            raise NotImplementedError("no forward mode")

    assert broken(crosscheck(NoForwardMode, inputs=(X,), twin=lambda x: x**3)) == set()


def test_memory_that_is_given_back():
    class Freed(Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            x.untyped_storage().resize_(0)
            return y

        @staticmethod
        def backward(ctx, grad_out):
            return grad_out * ctx.saved_tensors[0]

    report = crosscheck(Freed, inputs=(X,), twin=torch.exp)
    assert "x is changed in place by forward" in report.contract


def test_no_contract_of_what_is_another_each_time():
    calls = []

    def backward(g, out, x):
        calls.append(0)
        return g * x.cos() * (1 + len(calls))

    assert crosscheck(torch.sin, backward, (X,), names=["x"]).contract == "not judged"


def test_nothing_and_one_number():
    for x in (torch.zeros(0, 3), torch.tensor(0.3)):
        report = crosscheck(square(), inputs=(x,), twin=squared)
        assert report.breaches == ()
        assert not any("refused" in note for note in report.notes)


def test_buffers_are_no_inputs():
    report = crosscheck(nn.BatchNorm1d(3), inputs=(X,), twin=nn.BatchNorm1d(3))
    assert broken(report) == set()
    assert not any("refused" in note for note in report.notes)


def test_what_is_kept_on_ctx_is_told():
    class Kept(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.x = x
            return x * x

        @staticmethod
        def backward(ctx, grad_out):
            return 2 * grad_out * ctx.x

    report = crosscheck(Kept, inputs=(X,), twin=squared)
    assert report.ok
    assert "x is kept on ctx: save_for_backward would see it changed in place" in report.notes
    assert not any("ctx" in note for note in crosscheck(square(), inputs=(X,), twin=squared).notes)


def test_what_raises_in_the_end_has_its_verdict():
    calls = []

    def backward(g, out, x):
        calls.append(0)
        if len(calls) > 4:
            raise RuntimeError("no more")
        return g * x.cos()

    report = crosscheck(torch.sin, backward, (X,), names=["x"], dtypes=[torch.float64])
    assert report.ok
    assert report.contract == "not judged"
    assert any(note.startswith("contract: not judged, one more call raises RuntimeError") for note in report.notes)


def test_vmap_beside_a_mask():
    """What is not judged is the same for both samples."""

    class Masked(Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, mask):
            return x**3 * mask

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, grad_out):
            x, mask = ctx.saved_tensors
            return 3 * grad_out * x**2 * mask, None

    report = crosscheck(Masked, inputs=(X, normal(5, 3, seed=2) > 0), twin=lambda x, mask: x**3 * mask)
    assert broken(report) == set()
    assert "vmap" in report.duties.checked


def test_a_way_that_large_inputs_alone_take_is_looked_at():
    """The rest of the contract is looked at on a crop of them."""

    def backward(g, out, x):
        large = g.numel() > 2**14 and not g.is_contiguous()
        return (torch.zeros_like(x) if large else g * x.cos(),)

    x = torch.randn((300, 100), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    report = crosscheck(torch.sin, backward, (x,), dtypes=[torch.float64])
    assert not report.ok
    assert report.contract.startswith("broken")
    right = crosscheck(torch.sin, lambda g, out, x: (g * x.cos(),), (x,), dtypes=[torch.float64])
    assert "contract: on a crop, input 0 [150, 100], and transposed on the whole" in right.notes
