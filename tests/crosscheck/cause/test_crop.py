"""A crop of large inputs: small, of one length where they had one, with places that are there."""

import torch

from crosscheck.cause.crop import cropped, words


def test_what_had_one_length_has_one_length():
    x, w, index = torch.randn(1000, 300), torch.randn(50, 300), torch.randint(0, 1000, (1000,))
    crop = cropped([x, w, index, 0.5, "on"])
    x_, w_, index_, p, flag = crop
    assert x_.shape[1] == w_.shape[1]
    assert x_.shape[0] == index_.shape[0]
    assert x_.numel() + w_.numel() <= 2**14
    assert torch.equal(x_, x[: x_.shape[0], : x_.shape[1]])
    assert (p, flag) == (0.5, "on")
    assert int(index_.max()) < min(x_.shape)
    assert words(crop, ["x", "w", "index", "p", "flag"]) == (
        f"x {list(x_.shape)}, w {list(w_.shape)}, index {list(index_.shape)}"
    )


def test_what_cannot_be_small_is_no_crop():
    assert cropped([torch.zeros((2,) * 15)]) is None
