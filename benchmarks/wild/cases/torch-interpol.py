# pip install --no-deps torch-interpol==0.3.0
"""Images at any places by splines of any order, the same backwards, and the splines' coefficients."""

import torch
from case import FAULT, Case, draw, uniform
from interpol import grid_grad, grid_pull, grid_push, spline_coeff
from torch import Tensor


def linear(function, *shape: int):
    """function as a product with its own matrix."""
    size = torch.Size(shape).numel()
    columns = torch.stack([function(unit.view(shape)) for unit in torch.eye(size, dtype=torch.float64)])
    return lambda x: (x.flatten() @ columns.flatten(1).to(x.dtype)).view(columns.shape[1:])


def bilinear(image: Tensor, grid: Tensor) -> Tensor:
    """Of [1, h, w] at [n, 2] places of it: each of the four around by its share."""
    low = grid.floor().detach()
    share, at = grid - low, low.long()
    out = 0
    for di, wi in ((0, 1 - share[:, 0]), (1, share[:, 0])):
        for dj, wj in ((0, 1 - share[:, 1]), (1, share[:, 1])):
            out = out + image[0, at[:, 0] + di, at[:, 1] + dj] * wi * wj
    return out


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
    return lambda image, grid: grid_pull(image[None], grid[None, :, None], interpolation=order, bound="zero")[0, 0, :, 0]


def push(order: int):
    return lambda v, grid: grid_push(v[None, None, :, None], grid[None, :, None], [8, 9], interpolation=order, bound="zero")[0, 0]


def pushed(order: int):
    def twin(v: Tensor, grid: Tensor) -> Tensor:
        return torch.einsum("ni,nj,n->ij", hat(grid[:, :1] - torch.arange(8), order), hat(grid[:, 1:] - torch.arange(9), order), v)

    return twin


def slopes(image: Tensor, grid: Tensor) -> Tensor:
    """The derivative of what is pulled by the place, through autograd."""
    with torch.enable_grad():
        at = grid.requires_grad_() if grid.requires_grad else grid.detach().requires_grad_()
        return torch.autograd.grad(pulled(3)(image, at).sum(), at, create_graph=True)[0]


def coefficients(bound: str, order: int):
    return lambda x: spline_coeff(x, interpolation=order, bound=bound, dim=-1)


grid = uniform(7, 2, low=2.1, high=4.9)
image = draw(1, 8, 9)
HOW = {"dtypes": torch.float64}
CASES = [Case(f"grid_pull, order {n}", pull(n), (image, grid), pulled(n), how=HOW) for n in (1, 2, 3)]
CASES += [Case(f"grid_push, order {n}", push(n), (draw(7), grid), pushed(n), how=HOW) for n in (1, 2, 3)]
CASES += [Case("grid_grad, order 3", lambda image, grid: grid_grad(image[None], grid[None, :, None], interpolation=3, bound="zero")[0, 0, :, 0], (image, grid), slopes, how=HOW)]
CASES += [
    Case(f"spline_coeff, {bound}, order {n}", coefficients(bound, n), (draw(2, 7),), linear(coefficients(bound, n), 2, 7), how=HOW)
    for bound in ("dct1", "dct2", "dft") for n in (2, 3, 5)
]  # fmt: skip
