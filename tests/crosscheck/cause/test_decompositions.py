"""Each function that is written out is torch's own, in its values and in its derivatives."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.cause.decompositions import DECOMPOSITIONS


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, IMAGES, W, B = normal(5, 4), normal(3, 4, 2, 5), normal(4, seed=1), normal(4, seed=2)
CLASSES = torch.tensor([0, 3, 1, 1, 2])
Q, K, V = normal(2, 5, 3), normal(2, 6, 3, seed=1), normal(2, 6, 4, seed=2)
SEEN = torch.tensor([True, False, True, True, False, True])
ONE_SEES_NOTHING = torch.ones(5, 6, dtype=torch.bool).index_fill(0, torch.tensor(2), False)

CALLS = [
    (F.layer_norm, (X, (4,)), {}),
    (F.layer_norm, (X, (4,), W, B), {"eps": 0.1}),
    (F.layer_norm, (IMAGES, (2, 5)), {}),
    (F.rms_norm, (X, (4,)), {}),
    (F.rms_norm, (X, (4,), W, 0.1), {}),
    (F.batch_norm, (X, None, None, W, B, True), {"eps": 0.1}),
    (F.batch_norm, (IMAGES, None, None), {"training": True}),
    (F.instance_norm, (IMAGES,), {}),
    (F.instance_norm, (IMAGES, None, None, W, B), {"eps": 0.1}),
    (F.group_norm, (IMAGES, 2), {}),
    (F.group_norm, (IMAGES, 2, W, B, 0.1), {}),
    (F.normalize, (X,), {}),
    (F.normalize, (X, 3.0, 0, 0.1), {}),
    (F.silu, (X,), {}),
    (F.gelu, (X,), {}),
    (F.gelu, (X,), {"approximate": "tanh"}),
    (F.glu, (X,), {}),
    (F.glu, (IMAGES, 1), {}),
    (F.glu, (normal(3, 6),), {}),
    (F.scaled_dot_product_attention, (Q, K, V), {}),
    (F.scaled_dot_product_attention, (Q, K, V), {"is_causal": True}),
    (F.scaled_dot_product_attention, (Q, K, V), {"attn_mask": SEEN, "scale": 0.3}),
    (F.scaled_dot_product_attention, (Q, K, V, normal(5, 6, seed=3)), {}),
    (F.scaled_dot_product_attention, (Q, K, V, ONE_SEES_NOTHING), {}),
    *((f, (X,), o) for f in (torch.var_mean, torch.std_mean) for o in ({}, {"dim": 1, "correction": 0})),
    (torch.var_mean, (IMAGES, (0, 2, 3)), {"keepdim": True, "unbiased": False}),
    *((f, (X, 3), {}) for f in (torch.chunk, Tensor.chunk, torch.split, Tensor.split)),
    *((f, (IMAGES, [1, 3], 1), {}) for f in (torch.split, Tensor.split)),
    (torch.chunk, (IMAGES, 2, -3), {}),
    *((f, (IMAGES, dim), {}) for f in (torch.unbind, Tensor.unbind) for dim in (0, -1)),
    (F.pixel_shuffle, (IMAGES, 2), {}),
    (F.pixel_shuffle, (normal(12, 3, 5), 2), {}),
    (F.cross_entropy, (X, CLASSES), {}),
    (F.mse_loss, (X, normal(5, 4, seed=1)), {}),
    (F.binary_cross_entropy_with_logits, (X, normal(5, 4, seed=1).sigmoid()), {}),
    *((F.cross_entropy, (X, CLASSES), {"reduction": how}) for how in ("mean", "sum", "none")),
    *((F.mse_loss, (X, normal(5, 4, seed=1)), {"reduction": how}) for how in ("mean", "sum", "none")),
    *(
        (F.binary_cross_entropy_with_logits, (X, normal(5, 4, seed=1).sigmoid()), {"reduction": how})
        for how in ("mean", "sum", "none")
    ),
]


@pytest.mark.parametrize(("function", "inputs", "options"), CALLS)
def test_it_is_torchs_function(function, inputs, options):
    ours, theirs = [], []
    for f, found in ((DECOMPOSITIONS[function], ours), (function, theirs)):
        xs = [x.clone().requires_grad_() if torch.is_tensor(x) and x.is_floating_point() else x for x in inputs]
        out = f(*xs, **options)
        outs = out if isinstance(out, tuple) else (out,)
        watched = [x for x in xs if torch.is_tensor(x) and x.requires_grad]
        grads = [normal(*out.shape, seed=9) for out in outs]
        found += [*(out.detach() for out in outs), *torch.autograd.grad(outs, watched, grads)]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_each_is_called_here():
    assert {function for function, _, _ in CALLS} == DECOMPOSITIONS.keys()


@pytest.mark.parametrize(
    ("function", "inputs", "options"),
    [
        (F.batch_norm, (X, torch.zeros(4), torch.ones(4)), {}),
        (F.instance_norm, (IMAGES, torch.zeros(4), torch.ones(4)), {"use_input_stats": False}),
        (torch.var_mean, (X, True), {}),
        (torch.std_mean, (X, True), {}),
        (F.pixel_shuffle, (X, 2), {}),
        (F.normalize, (X,), {"out": torch.empty(5, 4)}),
        (F.silu, (X,), {"inplace": True}),
        (F.scaled_dot_product_attention, (Q, K, V), {"dropout_p": 0.5}),
        (F.scaled_dot_product_attention, (Q, K, V), {"enable_gqa": True}),
        (F.cross_entropy, (X, CLASSES), {"weight": W}),
        (F.cross_entropy, (X, CLASSES), {"label_smoothing": 0.1}),
        (F.cross_entropy, (X, X.softmax(-1)), {}),
        (F.cross_entropy, (X, CLASSES - 100), {}),
        (F.cross_entropy, (IMAGES, torch.zeros(3, 2, 5).long()), {}),
        (F.mse_loss, (X, X), {"weight": X}),
        (F.mse_loss, (X, X), {"size_average": True}),
        (F.mse_loss, (X, X), {"reduce": False}),
        (F.mse_loss, (X, X), {"reduction": "other"}),
        (F.binary_cross_entropy_with_logits, (X, X), {"pos_weight": W}),
    ],
)
def test_what_it_does_not_cover_is_left_to_torch(function, inputs, options):
    assert DECOMPOSITIONS[function](*inputs, **options) is NotImplemented
