"""The numbers of the judge: norms of what is not all finite, copies of any layout, inputs moved a little."""

import math

import pytest
import torch

from crosscheck.verdict import precision
from crosscheck.verdict.precision import SIDE, in_blocks, nearby, norm, rounded, sorted_dtypes, widened

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("values", "largest"),
    [
        ([1.0, -3.0], 3), ([3.0, -1.0], 3), ([-INF, 2.0], 2), ([INF, -2.0], 2), ([NAN, -2.0, 1.0], 2),
        ([INF, -INF, NAN, 0.5], 0.5), ([INF], 0), ([], 0), ([-0.0], 0),
    ],
)  # fmt: skip
def test_the_norm_is_the_largest_finite_magnitude(values, largest):
    found = norm(torch.tensor(values))
    assert found == largest
    assert math.copysign(1, found) == 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_copy_has_the_strides_of_what_was_copied(dtype):
    base = torch.arange(24.0).view(4, 6)
    for x in (base.T, base[:, ::2], base[:1].expand(2, 6), base[:, :1].expand(4, 6), base[0, 0].expand(3)):
        (copy,) = rounded([x], dtype)
        assert (copy.stride(), copy.dtype) == (x.stride(), dtype)
        assert torch.equal(copy, x.to(dtype))
        assert copy.data_ptr() != x.data_ptr()


@pytest.mark.parametrize(("n", "gap", "stride"), [(1000, 64, 64), (1000, 65, 2), (2, 127, 127), (2, 128, 2)])
def test_of_a_wide_gap_a_small_one_is_left(n, gap, stride):
    x = torch.arange(float(n * gap)).view(n, gap)[:, 0]
    (copy,) = rounded([x], torch.bfloat16)
    assert (copy.stride(), copy.dtype) == ((stride,), torch.bfloat16)
    assert torch.equal(copy, x.bfloat16())


def test_nearby_is_a_little_smaller_by_the_draws_of_a_generator():
    state = torch.get_rng_state()
    inputs = [
        torch.linspace(-1, 1, 1001).double(),
        torch.full((1, 3), 0.3).double().expand(2, 3),
        torch.arange(3),
        "text",
    ]
    ones, others = (nearby(inputs, torch.float64, 1e-3, torch.Generator().manual_seed(7), range(2)) for _ in range(2))
    for x, moved, again in zip(inputs[:2], ones, others, strict=False):
        share = (1 - moved / x)[x != 0] / 1e-3
        assert -1e-9 < share.min() < 0.1 or share.numel() < 10
        assert share.max() < 1
        assert (share > 0).all()
        assert torch.equal(moved, again)
        assert moved.stride() == x.stride()
    assert torch.equal(ones[2], inputs[2])
    assert ones[3] == "text"
    assert torch.equal(torch.get_rng_state(), state)
    labels, alone = nearby(
        [torch.tensor([1.0, -1.0]), torch.tensor([0.5])], torch.float64, 1e-3, torch.Generator(), [0]
    )
    assert (labels.tolist(), alone.tolist()) == ([1, -1], [0.5])  # whole numbers, and what is not judged, stay


def test_what_has_no_float64_is_widened_on_the_cpu(monkeypatch):
    asked = []

    def dtypes_of(device):
        asked.append(device.type)
        return precision.DTYPES if device.type == "cpu" else precision.DTYPES[1:]

    monkeypatch.setattr(precision, "dtypes_of", dtypes_of)
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: torch.ones(3) if x.is_meta else x)
    (wide, index) = widened([torch.ones(3, device="meta"), 2])
    assert (wide.device.type, wide.dtype, index) == ("cpu", torch.float64, 2)
    assert sorted_dtypes(None, torch.device("meta")) == [torch.float32, torch.float16, torch.bfloat16]
    assert set(asked) == {"meta"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (0, 3), (0, 300), (300, 200)], ids=str)
def test_a_picture_has_the_largest_magnitudes(shape, dtype):
    x = -torch.arange(math.prod(shape), dtype=dtype).reshape(shape)
    matrix = in_blocks(x)
    assert (matrix.dtype, matrix.dim()) == (torch.float32, 2)
    assert max(matrix.shape) <= SIDE or not x.numel()
    assert norm(matrix) == norm(x)
    if x.numel() < SIDE:
        assert not x.dim() or matrix.shape[1] == x.shape[-1]
        assert torch.equal(matrix, x.abs().float().reshape(matrix.shape))
