# pip install --no-deps torch-interpol==0.3.0
"""Images at any places by splines of any order, the same backwards, and the splines' coefficients."""

import torch
from case import FAULT, Case, draw, uniform
from interpol import grid_grad, grid_pull, grid_push, spline_coeff, spline_coeff_nd
from torch import Tensor


def hat(s: Tensor, order: int) -> Tensor:
    """The B-spline of order 1, 2 or 3 around 0."""
    a = abs(s)
    if order == 1:
        return (1 - a).clamp(min=0)
    if order == 2:
        return torch.where(a < 0.5, 0.75 - a**2, torch.where(a < 1.5, (1.5 - a) ** 2 / 2, 0 * a))
    return torch.where(a < 1, 2 / 3 - a**2 + a**3 / 2, torch.where(a < 2, (2 - a) ** 3 / 6, 0 * a))


def pulled(order: int):
    def twin(image: Tensor, grid: Tensor) -> Tensor:
        rows, columns = torch.arange(image.shape[-2]), torch.arange(image.shape[-1])
        wi = hat(grid[:, :1] - rows, order)
        wj = hat(grid[:, 1:] - columns, order)
        return torch.einsum("ni,nj,ij->n", wi, wj, image[0])

    return twin


def pull(order: int):
    return lambda image, grid: grid_pull(image[None], grid[None, :, None], interpolation=order, bound="zero")[
        0, 0, :, 0
    ]


def push(order: int):
    return lambda v, grid: grid_push(
        v[None, None, :, None], grid[None, :, None], [8, 9], interpolation=order, bound="zero"
    )[0, 0]


def pushed(order: int):
    def twin(v: Tensor, grid: Tensor) -> Tensor:
        return torch.einsum(
            "ni,nj,n->ij", hat(grid[:, :1] - torch.arange(8), order), hat(grid[:, 1:] - torch.arange(9), order), v
        )

    return twin


def slopes(image: Tensor, grid: Tensor) -> Tensor:
    """The derivative of what is pulled by the place, through autograd."""
    with torch.enable_grad():
        at = grid.requires_grad_() if grid.requires_grad else grid.detach().requires_grad_()
        return torch.autograd.grad(pulled(3)(image, at).sum(), at, create_graph=True)[0]


def coefficients(bound: str):
    return lambda x: spline_coeff_nd(x, interpolation=3, bound=bound, dim=1)


def linear(function, *shape: int):
    """function as a product with its own matrix."""
    size = torch.Size(shape).numel()
    columns = torch.stack([function(unit.view(shape)) for unit in torch.eye(size, dtype=torch.float64)])
    return lambda x: (x.flatten() @ columns.flatten(1).to(x.dtype)).view(columns.shape[1:])


grid = uniform(7, 2, low=2.1, high=4.9)
image = draw(1, 8, 9)
HOW = {"dtypes": torch.float64}
CASES = [Case(f"grid_pull, order {n}", pull(n), (image, grid), pulled(n), how=HOW) for n in (1, 2, 3)]
CASES += [Case(f"grid_push, order {n}", push(n), (draw(7), grid), pushed(n), how=HOW) for n in (1, 2, 3)]
CASES += [
    Case(
        "grid_grad, order 3",
        lambda image, grid: grid_grad(image[None], grid[None, :, None], interpolation=3, bound="zero")[0, 0, :, 0],
        (image, grid),
        slopes,
        how=HOW,
    )
]
RAISES = (
    "raises: RuntimeError: function SplineCoeffBackward returned an incorrect number of gradients (expected 5, got 1)"
)
CASES += [
    Case(
        "spline_coeff", lambda x: spline_coeff(x, interpolation=3, bound="dct2", dim=-1), (draw(2, 7),), lambda x: x,
        RAISES, FAULT, "returns a list, which torch takes for one gradient: nobody can train through it", HOW,
    ),
    Case("spline_coeff_nd, dct2", coefficients("dct2"), (draw(2, 7),), linear(coefficients("dct2"), 2, 7), how=HOW),
    Case("spline_coeff_nd, dft", coefficients("dft"), (draw(2, 7),), linear(coefficients("dft"), 2, 7), how=HOW),
    Case(
        "spline_coeff_nd, dct1", coefficients("dct1"), (draw(2, 7),), linear(coefficients("dct1"), 2, 7),
        "wrong in x", FAULT, "filters the gradient as the image, though the filter of this border is not symmetric", HOW,
    ),
]  # fmt: skip
