"""Every rule: judged by its twins on every dtype, over seeds, layouts and extremes; and the conventions it states."""

from functools import partial

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from torch.nn.functional import (
    avg_pool2d,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    max_pool2d,
    normalize,
    scaled_dot_product_attention,
)

from crosscheck import crosscheck
from crosscheck.verdict.precision import dtypes_of, is_floating
from manual_bp import rules
from manual_bp.commands.subjects import on
from manual_bp.rules import RULES, Rule
from reference.rules import TWINS, Twin

CASES = [
    pytest.param(RULES[name], twin, id=f"{name}({twin})" if twin.options else name)
    for name, twins in TWINS.items()
    for twin in twins
]
every_case = pytest.mark.parametrize(("rule", "twin"), CASES)


def pair(rule: type[Rule], twin: Twin):
    """The rule's forward and backward with the options of the case."""
    return partial(rule.forward, **twin.options), partial(rule.backward, **twin.options)


def drawn(twin: Twin, seed: int, device: torch.device) -> list[torch.Tensor | None]:
    widest = dtypes_of(device)[0]
    return [x if x is None else x.to(device, widest if is_floating(x) else x.dtype) for x in twin.draw(seed)]


def random_like(out, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    if isinstance(out, tuple):
        return tuple(random_like(value, seed) for value in out)
    return torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)


def test_every_rule_has_a_twin_and_every_twin_a_rule():
    assert RULES.keys() == TWINS.keys()


@every_case
@pytest.mark.parametrize("seed", range(4))
def test_rule_agrees_with_its_twin(rule, twin, seed, device):
    report = crosscheck(
        *pair(rule, twin),
        drawn(twin, seed, device),
        twin=twin,
        dtypes=twin.dtypes(device, dtypes_of(device)),
        seed=seed,
    )
    report.raise_on_mismatch()
    assert {row.dtype for row in report.rows} == set(twin.dtypes(device, dtypes_of(device)))


@every_case
def test_a_forward_is_a_twin_itself(rule, twin, device):
    """Autograd goes through it, as through a twin, and comes to the same as the backward."""
    crosscheck(
        *pair(rule, twin), drawn(twin, 0, device), dtypes=twin.dtypes(device, dtypes_of(device))
    ).raise_on_mismatch()


def test_torch_has_the_twins_in_half_precision_but_for_matrices(device):
    for name, twins in TWINS.items():
        for twin in twins:
            if not RULES[name].__module__.endswith(".matrices"):
                assert twin.dtypes(device, dtypes_of(device)) == dtypes_of(device), name


@every_case
@pytest.mark.parametrize("scale", [1e4, 1e-4, 0.0])
def test_rule_is_finite_and_agrees_at_extreme_inputs_where_torch_is(rule, twin, scale, device):
    inputs = drawn(twin, 0, device)
    i = next(i for i, x in enumerate(inputs) if is_floating(x))
    # A matrix of zeros has no solution and no logarithm of its determinant.
    inputs[i] = inputs[i] * (scale or (0.1 if "matrices" in rule.__module__ else 0.0))
    report = crosscheck(*pair(rule, twin), inputs, twin=twin, dtypes=twin.dtypes(device, dtypes_of(device)))
    # In float16 autograd itself can overflow: there is nothing to compare with.
    wrong = [row for row in report.mismatches if "autograd itself is nowhere finite" not in row.verdict]
    assert not wrong, str(report)


@every_case
def test_rule_takes_any_memory_layout_and_changes_no_input(rule, twin, device):
    forward, backward = pair(rule, twin)
    inputs = drawn(twin, 0, device)
    out = forward(*inputs)
    grad_out = random_like(out)
    expected = (out, *backward(grad_out, out, *inputs))
    strided = [every_other(x) for x in inputs]
    given = (every_other(grad_out), every_other(out), *strided)
    assert not all(x.is_contiguous() for x in strided if is_floating(x))
    for ours, theirs in zip((forward(*strided), *backward(*given)), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    for x, before in zip(given, (grad_out, out, *inputs), strict=True):
        torch.testing.assert_close(x, before, rtol=0, atol=0)


def every_other(x):
    """The same numbers with gaps between them in memory."""
    if isinstance(x, tuple):
        return tuple(map(every_other, x))
    return x if x is None else torch.stack((x, x), -1)[..., 0]


@every_case
def test_a_wrong_rule_is_found(rule, twin, device):
    """One part in a thousand, in the result or in any one gradient."""
    forward, backward = pair(rule, twin)
    inputs = drawn(twin, 0, device)
    judged = [i for i, x in enumerate(inputs) if is_floating(x)]

    def wrong_forward(*xs):
        out = forward(*xs)
        return tuple(1.001 * value for value in out) if isinstance(out, tuple) else 1.001 * out

    assert not crosscheck(wrong_forward, backward, inputs, twin=twin, dtypes=dtypes_of(device)[:1]).ok
    for i in judged:

        def wrong_backward(*args, i=i):
            gradients = list(backward(*args))
            gradients[i] = 1.001 * gradients[i]
            return tuple(gradients)

        report = crosscheck(forward, wrong_backward, inputs, twin=twin, dtypes=dtypes_of(device)[:1])
        assert len(report.mismatches) == 1
        assert report.mismatches[0].diagnosis.startswith("off by the constant factor 1.001")


@every_case
def test_rule_gives_one_gradient_for_each_input(rule, twin, device):
    forward, backward = pair(rule, twin)
    inputs = drawn(twin, 0, device)
    out = forward(*inputs)
    gradients = backward(random_like(out), out, *inputs)
    assert [gradient is not None for gradient in gradients] == [is_floating(x) for x in inputs]


@every_case
def test_rule_takes_an_empty_batch_as_torch_does(rule, twin, device):
    inputs = drawn(twin, 0, device)
    if rule is rules.RNN:  # its samples are in the second dimension of x
        x, h, *weights = inputs
        inputs = [x[:, :0], h[:0], *weights]
    else:
        samples = len(inputs[0])
        inputs = [x[:0] if x is not None and len(x) == samples else x for x in inputs]
    crosscheck(*pair(rule, twin), inputs, twin=twin, dtypes=dtypes_of(device)[:1]).raise_on_mismatch()


def both_ways(rule: type[Rule], twin: Twin):
    """The rule's forward and backward as one function of grad_out and the inputs."""
    forward, backward = pair(rule, twin)

    def both(grad_out, *inputs):
        out = forward(*inputs)
        return out, *backward(grad_out, out, *inputs)

    return both


@every_case
def test_rule_compiles_into_one_graph_that_comes_to_the_same(rule, twin, device):
    both, inputs = both_ways(rule, twin), drawn(twin, 0, device)
    grad_out = random_like(rule.forward(*inputs, **twin.options))
    compiled = torch.compile(both, backend="aot_eager", dynamic=False, fullgraph=True)
    try:
        ours = compiled(grad_out, *inputs)
    finally:
        torch._dynamo.reset()
    torch.testing.assert_close(ours, both(grad_out, *inputs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rule", "twin"), [case for case in CASES if "Conv" in case.id or "Pool" in case.id])
def test_windows_that_overlap_are_added_up_without_a_view_that_does(rule, twin, device):
    """Where torch makes functions of operations in place, it calls what is written through such a view undefined."""
    both, inputs = both_ways(rule, twin), drawn(twin, 0, device)
    grad_out = random_like(rule.forward(*inputs, **twin.options))
    ours = torch.func.functionalize(both)(grad_out, *inputs)
    torch.testing.assert_close(ours, both(grad_out, *inputs), rtol=1e-12, atol=1e-12)


# Options and shapes, beyond the cases


@st.composite
def convolutions(draw, transposed: bool):
    """A convolution of 1 or 2 dimensions with any options that fit."""
    size, groups = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    each = partial(st.tuples, *[st.integers(1, 3)] * size)
    stride, dilation, kernel = draw(each()), draw(each()), draw(each())
    padding = draw(st.tuples(*[st.integers(0, 2)] * size))
    samples, per_group, out_per_group = (draw(st.integers(1, 3)) for _ in range(3))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    lengths = [max(1, s - 2 * p) + draw(st.integers(0, 3)) for s, p in zip(spans, padding, strict=True)]
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if transposed:
        counts = zip(lengths, stride, padding, spans, strict=True)
        assume(all((n - 1) * s - 2 * p + span > 0 for n, s, p, span in counts))
        options["output_padding"] = tuple(min(s, d) - 1 for s, d in zip(stride, dilation, strict=True))
    w = (groups * per_group, out_per_group, *kernel) if transposed else (groups * out_per_group, per_group, *kernel)
    b = groups * out_per_group if draw(st.booleans()) else None
    return (samples, groups * per_group, *lengths), w, b, options


@pytest.mark.parametrize("transposed", [False, True])
@given(st.data())
def test_convolutions_take_any_options(device, transposed, data):
    x_shape, w_shape, b_shape, options = data.draw(convolutions(transposed))
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in (x_shape, w_shape))
    b = None if b_shape is None else torch.randn(b_shape, generator=generator, dtype=torch.float64)
    one, two = (rules.ConvTranspose1d, rules.ConvTranspose2d) if transposed else (rules.Conv1d, rules.Conv2d)
    twin_1, twin_2 = (conv_transpose1d, conv_transpose2d) if transposed else (conv1d, conv2d)
    rule, function = (one, twin_1) if len(x_shape) == 3 else (two, twin_2)
    twin = Twin(function, **options)
    inputs = on(device, (x, w, b))
    crosscheck(*pair(rule, twin), inputs, twin=twin, dtypes=dtypes_of(device)[:1]).raise_on_mismatch()


@given(st.data())
def test_transposed_convolution_is_the_adjoint(device, data):
    """⟨y, C x⟩ = ⟨Cᵀ y, x⟩"""
    x_shape, w_shape, _, options = data.draw(convolutions(transposed=False))
    generator = torch.Generator().manual_seed(0)
    x, w = on(device, [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in (x_shape, w_shape)])
    convolve, adjoint = (rules.Conv1d, rules.ConvTranspose1d) if x.dim() == 3 else (rules.Conv2d, rules.ConvTranspose2d)
    C_x = convolve.forward(x, w, **options)
    (y,) = on(device, [torch.randn(C_x.shape, generator=generator, dtype=torch.float64)])
    sizes = zip(y.shape[2:], w.shape[2:], options["stride"], options["padding"], options["dilation"], strict=True)
    reached = [(n - 1) * stride - 2 * padding + (k - 1) * dilation + 1 for n, k, stride, padding, dilation in sizes]
    missing = tuple(length - r for length, r in zip(x.shape[2:], reached, strict=True))
    C_T_y = adjoint.forward(y, w, **options, output_padding=missing)
    torch.testing.assert_close((C_T_y * x).sum(), (y * C_x).sum())


@given(st.data())
def test_add_and_multiply_broadcast_any_shapes(device, data):
    shapes = data.draw(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4)).input_shapes
    inputs = on(device, [torch.randn(shape, dtype=torch.float64) for shape in shapes])
    for rule, twin in ((rules.Add, torch.add), (rules.Multiply, torch.mul)):
        crosscheck(rule.forward, rule.backward, inputs, twin=twin, dtypes=dtypes_of(device)[:1]).raise_on_mismatch()


@pytest.mark.parametrize("leading", [(), (1,), (6,), (2, 6)])
def test_affine_takes_any_leading_dimensions(leading, device):
    inputs = (torch.randn(*leading, 3, device=device), torch.randn(4, 3, device=device), torch.randn(4, device=device))
    twin = TWINS["Affine"][0]
    crosscheck(rules.Affine.forward, rules.Affine.backward, inputs, twin=twin).raise_on_mismatch()


@pytest.mark.parametrize("shape", [(5, 4), (3, 5, 4), (3, 1, 1), (6, 3, 5, 4)], ids=str)
@pytest.mark.parametrize("floating", [False, True])
def test_attention_takes_masks_that_broadcast(shape, floating, device):
    q, k, v = (torch.randn(6, 3, n, 2, device=device) for n in (5, 4, 4))
    mask = torch.randn(shape, device=device)
    inputs = (q, k, v, mask if floating else mask > -0.5)
    attention = rules.ScaledDotProductAttention
    crosscheck(attention.forward, attention.backward, inputs, twin=scaled_dot_product_attention).raise_on_mismatch()


@pytest.mark.parametrize("floating", [False, True])
def test_attention_of_a_query_that_may_look_nowhere_is_zero(floating, device):
    q, k, v = (torch.randn(2, 3, n, 4, device=device) for n in (5, 6, 6))
    mask = torch.ones(5, 6, dtype=torch.bool, device=device)
    mask[2] = False
    if floating:
        mask = torch.zeros(5, 6, device=device).masked_fill(~mask, -torch.inf)
    attention = rules.ScaledDotProductAttention
    inputs = (q, k, v, mask)
    crosscheck(attention.forward, attention.backward, inputs, twin=scaled_dot_product_attention).raise_on_mismatch()
    out = attention.forward(*inputs)
    assert not out[..., 2, :].any()
    grad_q, *_ = attention.backward(torch.randn_like(out), out, *inputs)
    assert not grad_q[..., 2, :].any()


# Conventions


def test_equal_indices_add_up(device):
    index = torch.tensor([2, 0, 2, 2], device=device)
    w, grad_out = torch.zeros(4, 2, device=device), torch.ones(4, 2, device=device)
    assert rules.Embedding.backward(grad_out, grad_out, index, w)[1][:, 0].tolist() == [1, 0, 3, 0]


def test_the_first_of_equal_maxima_has_the_gradient(device):
    x = torch.zeros(1, 1, 4, 4, device=device)
    (grad_x,) = rules.MaxPool2d.backward(torch.ones(1, 1, 2, 2, device=device), x, x, kernel_size=2)
    assert grad_x[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_no_gradient_is_lost_in_the_padding(device):
    x = torch.full((1, 1, 2, 2), -torch.inf, device=device)
    (grad_x,) = rules.MaxPool2d.backward(
        torch.ones(1, 1, 1, 1, device=device), x, x, kernel_size=3, padding=1, stride=3
    )
    assert grad_x[0, 0].tolist() == [[1, 0], [0, 0]]


def test_kinks_have_torchs_subgradients(device):
    x = torch.zeros(1, device=device)
    one = torch.ones_like(x)
    assert rules.ReLU.backward(one, x, x)[0] == 0
    assert rules.LeakyReLU.backward(one, x, x, negative_slope=0.25)[0] == 0.25
    assert rules.ELU.backward(one, x, x, alpha=1.5)[0] == 1.5
    assert rules.Hinge.backward(one[0], x, one, one)[0] == 0


def test_ignored_targets_count_for_nothing(device):
    n = torch.randn(5, 3, device=device)
    target = torch.tensor([0, -100, 2, -100, 1], device=device)
    rule = rules.SoftmaxCrossEntropy
    for options in ({}, {"label_smoothing": 0.1, "z_loss": 0.1}):
        J = rule.forward(n, target, **options)
        grad_n, _ = rule.backward(torch.ones_like(J), J, n, target, **options)
        for values in (J, grad_n):
            assert not values[[1, 3]].any()
            assert values[[0, 2, 4]].all()


def test_logits_of_minus_infinity_have_no_gradient(device):
    x = torch.tensor([[1.0, -torch.inf, 2.0]], device=device)
    grad_out = torch.randn(1, 3, device=device)
    for rule in (rules.Softmax, rules.LogSoftmax):
        assert rule.backward(grad_out, rule.forward(x), x)[0].isfinite().all()
    assert rules.LogSumExp.backward(grad_out[:, 0], rules.LogSumExp.forward(x), x)[0][0, 1] == 0
    t = torch.tensor([2], device=device)
    J = rules.SoftmaxCrossEntropy.forward(x, t)
    assert rules.SoftmaxCrossEntropy.backward(torch.ones_like(J), J, x, t)[0].isfinite().all()


def test_a_class_that_neither_has_costs_nothing(device):
    """0 · log 0 = 0, also where the logarithm is −∞ already."""
    n, z = torch.tensor([[0.0, -torch.inf]], device=device), torch.tensor([[1.0, 0.0]], device=device)
    assert rules.KLDivergence.forward(n, z).tolist() == [0.0]


def test_zero_rows_are_normalized_as_torch_does(device):
    x = torch.zeros(2, 3, device=device)
    for rule, inputs in ((rules.L2Normalize, (x,)), (rules.CosineSimilarity, (x, torch.randn(2, 3, device=device)))):
        twin = TWINS[rule.__name__][0]
        crosscheck(rule.forward, rule.backward, inputs, twin=twin, dtypes=dtypes_of(device)[:2]).raise_on_mismatch()


@pytest.mark.device_except("mps", reason="mps has no float64")
def test_softplus_and_gelu_keep_their_digits_far_from_zero(device):
    """Against values to 20 digits; torch's own lose them."""
    x = torch.tensor([-30.0, 25.0], dtype=torch.float64, device=device)
    expected = torch.tensor([9.3576229688397399e-14, 25.000000000013887944], dtype=torch.float64, device=device)
    torch.testing.assert_close(rules.Softplus.forward(x), expected, rtol=1e-15, atol=0)
    x = torch.tensor([-8.0], dtype=torch.float64, device=device)
    expected = torch.tensor([-4.9767684594174e-15], dtype=torch.float64, device=device)
    torch.testing.assert_close(rules.GELU.forward(x), expected, rtol=1e-13, atol=0)


def test_a_shift_in_front_of_batch_norm_has_no_gradient(device):
    x, w, b = drawn(TWINS["BatchNorm"][1], 0, device)
    out = rules.BatchNorm.forward(x, w, b)
    grad_x, *_ = rules.BatchNorm.backward(random_like(out), out, x, w, b)
    torch.testing.assert_close(grad_x.sum((0, 2, 3)), torch.zeros_like(b), rtol=0, atol=1e-12)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**31))
def test_costs_are_of_each_sample(device, samples, outputs, seed):
    generator = torch.Generator().manual_seed(seed)
    n = torch.randn(samples, outputs, generator=generator).to(device)
    z = torch.rand(samples, outputs, generator=generator).to(device)
    t = torch.randint(outputs, (samples,), generator=generator).to(device)
    targets = {"probability": z, "value": z, "class": t}
    for rule in RULES.values():
        if issubclass(rule, rules.Loss):
            costs = rule.forward(n, targets[rule.target])
            assert costs.shape == (samples,)
            for s in range(samples):
                torch.testing.assert_close(costs[s], rule.forward(n[s], targets[rule.target][s]))


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.__module__.endswith("losses")])
def test_leading_dimensions_are_samples(name, device):
    """Whatever their number: the cost of [2, 3, k] is that of its six rows."""
    rule, twin = RULES[name], TWINS[name][0]
    options = {"z_loss": 0.1, "label_smoothing": 0.2} if name == "SoftmaxCrossEntropy" else {}
    forward, backward = partial(rule.forward, **options), partial(rule.backward, **options)
    drawn = on(device, twin.draw(0))
    inputs = [torch.stack([x[:3], x[-3:]]) for x in drawn]
    rows = [x.flatten(0, 1) for x in inputs]
    out, grad_out = forward(*inputs), torch.randn(2, 3, device=device, dtype=inputs[0].dtype)
    torch.testing.assert_close(out.flatten(), forward(*rows))
    ours = backward(grad_out, out, *inputs)
    theirs = backward(grad_out.flatten(), out.flatten(), *rows)
    for gradient, of_rows in zip(ours, theirs, strict=True):
        assert gradient is None or torch.equal(gradient.flatten(0, 1), of_rows)


@pytest.mark.parametrize("lead", [(3,), (2, 1, 3)], ids=str)
def test_images_rows_and_heads_have_any_leading_dimensions(lead, device):
    x = torch.randn(*lead, 6, 5, device=device) - 2  # of such the zeros of a padding would be the largest

    rule = rules.L2Normalize
    crosscheck(rule.forward, rule.backward, (x,), twin=partial(normalize, dim=-1)).raise_on_mismatch()
    options = {"kernel_size": 3, "stride": 2, "padding": 1}
    for rule, pool in ((rules.MaxPool2d, max_pool2d), (rules.AvgPool2d, avg_pool2d)):
        forward, backward = (partial(f, **options) for f in (rule.forward, rule.backward))
        twin = lambda x, pool=pool: pool(x.flatten(0, -3), **options).unflatten(0, lead)  # noqa: E731
        crosscheck(forward, backward, (x,), twin=twin).raise_on_mismatch()
    ours = rules.ScaledDotProductAttention.forward(x, x, x, is_causal=True)
    torch.testing.assert_close(ours, scaled_dot_product_attention(x, x, x, is_causal=True))


@pytest.mark.parametrize(("name", "gates", "states"), [("LSTMCell", 4, 2), ("GRUCell", 3, 1), ("RNNCell", 1, 1)])
def test_cells_of_any_width(name, gates, states, device):
    shapes = (5, 3), *[(5, 6)] * states, (gates * 6, 3), (gates * 6, 6), (gates * 6,), (gates * 6,)
    inputs = [torch.randn(shape, device=device) for shape in shapes]
    crosscheck(RULES[name].forward, RULES[name].backward, inputs, twin=TWINS[name][0]).raise_on_mismatch()


def test_half_is_dropped_unless_told_otherwise(device):
    x, mask = torch.ones(3, device=device), torch.tensor([True, False, True], device=device)
    assert rules.Dropout.forward(x, mask).tolist() == [2, 0, 2]
    assert rules.Dropout.backward(x, x, x, mask)[0].tolist() == [2, 0, 2]


def test_a_cosine_of_short_rows_has_its_eps_in_both_norms(device):
    def cosine(a, b):
        a_hat, b_hat = (x / x.norm(dim=-1, keepdim=True).clamp(min=3) for x in (a, b))
        return (a_hat * b_hat).sum(-1)

    forward, backward = (partial(f, eps=3.0) for f in (rules.CosineSimilarity.forward, rules.CosineSimilarity.backward))
    inputs = [torch.randn(5, 3, device=device) for _ in range(2)]
    crosscheck(forward, backward, inputs, twin=cosine).raise_on_mismatch()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_costs_of_saturated_neurons_are_finite(dtype, device):
    n = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 20.0]], dtype=dtype, device=device)
    z = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=dtype, device=device)
    t = torch.tensor([0, 0], device=device)
    for rule, target in ((rules.SigmoidCrossEntropy, z), (rules.SoftmaxCrossEntropy, t)):
        costs = rule.forward(n, target)
        (gradient, *_) = rule.backward(torch.ones_like(costs), costs, n, target)
        assert costs.isfinite().all()
        assert gradient.isfinite().all()
        assert costs[1] > 1e4 > costs[0]


def test_sigmoid_cross_entropy_keeps_a_small_cost(device):
    """log(1 − n(out)) would give 0, or nan, where n(out) rounds to 1."""
    n, z = torch.tensor([20.0], device=device), torch.tensor([1.0], device=device)
    assert float(rules.SigmoidCrossEntropy.forward(n, z)) == pytest.approx(2.0611537e-09, rel=1e-6)


def test_squared_error_is_half_of_torchs_sum(device):
    n, z = torch.randn(4, 3, device=device), torch.randn(4, 3, device=device)
    expected = torch.nn.MSELoss()(n, z) * 3 / 2
    torch.testing.assert_close(rules.SquaredError.forward(n, z).mean(), expected)


# What a rule must have


TEXT = """A rule of doubt: out = x.

Derivation: none.
Often wrong: nothing.
Shapes: x [...].
Source: none.
"""


def doubt(text: str = TEXT, **functions: object) -> None:
    type("Doubt", (Rule,), {"__doc__": text, **functions})


@pytest.mark.parametrize("section", ["Derivation:", "Often wrong:", "Shapes:", "Source:", " = "])
def test_a_rule_that_does_not_explain_itself_is_refused(section):
    missing = "formula in its first line" if section == " = " else section
    with pytest.raises(TypeError, match=f"rule Doubt: expected .* got no {missing}$"):
        doubt(TEXT.replace(section, ""), forward=None, backward=None)
    assert "Doubt" not in RULES


def test_a_rule_that_explains_itself_by_its_parents_words_only_is_refused():
    with pytest.raises(TypeError, match="got no formula in its first line, no Derivation"):
        type("Heir", (rules.Conv1d,), {})
    assert "Heir" not in RULES


def test_a_rule_without_a_backward_is_refused():
    with pytest.raises(TypeError, match="rule Doubt: expected .* got no backward"):
        doubt(forward=None)
