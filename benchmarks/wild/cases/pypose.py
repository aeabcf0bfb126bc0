# pip install --no-deps pypose==0.9.5
"""Lie groups. Gradients by a group's element are tangent vectors by convention, so all go from the algebra to points."""

import pypose
import torch
from case import FAULT, LIMIT, Case, draw
from torch import Tensor

RAW = {"dtypes": torch.float64}
SINGLE = {"dtypes": torch.float32}


def cross(v: Tensor) -> Tensor:
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3))


def hat(name: str, v: Tensor) -> Tensor:
    """The 4×4 matrix of an element of the algebra, [[φ× + σI, τ], [0, 0]]."""
    tau = v[..., :3] if name in ("se3", "sim3") else torch.zeros_like(v[..., :3])
    phi = v[..., 3:6] if name in ("se3", "sim3") else v[..., :3]
    sigma = v[..., -1:] if name in ("sim3", "rxso3") else torch.zeros_like(v[..., :1])
    top = torch.cat([cross(phi) + sigma[..., None] * torch.eye(3).to(v), tau[..., None]], -1)
    return torch.cat([top, torch.zeros_like(top[..., :1, :])], -2)


def vee(name: str, m: Tensor) -> Tensor:
    parts = {
        "tau": m[..., :3, 3],
        "phi": torch.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
        / 2,
        "sigma": m[..., :3, :3].diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True),
    }
    which = {"so3": ["phi"], "se3": ["tau", "phi"], "rxso3": ["phi", "sigma"], "sim3": ["tau", "phi", "sigma"]}[name]
    return torch.cat([parts[part] for part in which], -1)


def exp(name: str, v: Tensor) -> Tensor:
    return torch.linalg.matrix_exp(hat(name, v))


def act(m: Tensor, p: Tensor) -> Tensor:
    return (m[..., :3, :3] @ p[..., None])[..., 0] + m[..., :3, 3]


def logarithm(m: Tensor) -> Tensor:
    """Mercator's series, for matrices near the identity."""
    e = m - torch.eye(4).to(m)
    power, total = e, e
    for k in range(2, 120):
        power = power @ e
        total = total + power * ((-1) ** (k + 1) / k)
    return total


def adjoint(name: str, v: Tensor) -> Tensor:
    """Ad_X, column by column: X ê X⁻¹."""
    m, inverse = exp(name, v), exp(name, -v)
    units = torch.eye(v.shape[-1]).to(v)
    return torch.stack([vee(name, m @ hat(name, unit) @ inverse) for unit in units], -1)


def of(name: str, *shape: int, scale: float = 0.3, seed: int = 0) -> Tensor:
    size = {"so3": 3, "se3": 6, "rxso3": 4, "sim3": 7}[name]
    return scale * draw(*shape, size, seed=seed)


TURNED = "its values are Ad(X⁻¹) a, its gradients those of Ad(X)ᵀ a, which are the same for rotations alone"
SERIES = "the series of its coefficients is cut: 1e-5 at |ξ| = 1, 5e-3 at 3"
CASES = []
for name in ("so3", "se3", "rxso3", "sim3"):
    group = lambda x, name=name: getattr(pypose, name)(x).Exp()
    cut, cut_both = (("wrong in x", LIMIT, SERIES), ("wrong in x, y", LIMIT, SERIES)) if name == "sim3" else ((), ())
    turned = ("wrong in x, a", FAULT, TURNED) if name in ("se3", "sim3") else ()
    x, y, p = of(name, 4), of(name, 4, seed=1), draw(4, 3, seed=2)
    twins = {
        "Exp, Act": lambda x, p, name=name: act(exp(name, x), p),
        "Exp, Inv, Act": lambda x, p, name=name: act(exp(name, -x), p),
    }
    CASES += [
        Case(f"{name}: Exp, Act", lambda x, p, group=group: group(x).Act(p), (x, p), twins["Exp, Act"], *cut, how=RAW),
        Case(
            f"{name}: Exp, Inv, Act",
            lambda x, p, group=group: group(x).Inv().Act(p),
            (x, p),
            twins["Exp, Inv, Act"],
            *cut,
            how=RAW,
        ),
        Case(f"{name}: Exp, Log", lambda x, group=group: group(x).Log().tensor(), (x,), lambda x: x * 1, *cut, how=RAW),
        Case(
            f"{name}: Mul, Act",
            lambda x, y, p, group=group: (group(x) * group(y)).Act(p),
            (x, y, p),
            lambda x, y, p, name=name: act(exp(name, x) @ exp(name, y), p),
            *cut_both,
            how=RAW,
        ),
        Case(
            f"{name}: Mul, Log",
            lambda x, y, group=group: (group(x) * group(y)).Log().tensor(),
            (x / 3, y / 3),
            lambda x, y, name=name: vee(name, logarithm(exp(name, x) @ exp(name, y))),
            *cut_both,
            how=RAW,
        ),
        Case(
            f"{name}: Adj",
            lambda x, a, name=name, group=group: group(x).Adj(getattr(pypose, name)(a)).tensor(),
            (x, y),
            lambda x, a, name=name: (adjoint(name, x) @ a[..., None])[..., 0],
            *cut,
            how=RAW,
        ),
        Case(
            f"{name}: AdjT",
            lambda x, a, name=name, group=group: group(x).AdjT(getattr(pypose, name)(a)).tensor(),
            (x, y),
            lambda x, a, name=name: (adjoint(name, -x) @ a[..., None])[..., 0],
            *turned,
            how=RAW,
        ),
    ]
small = torch.tensor([[0.3, -0.2, 0.5, 1e-3, 0, 0]])
CASES.append(
    Case(
        "se3: Exp, Act, float32 at an angle of 1e-3",
        lambda x, p: pypose.se3(x).Exp().Act(p),
        (small, draw(1, 3).float()),
        lambda x, p: act(exp("se3", x), p),
        "wrong in out; less accurate in x",
        LIMIT,
        "1 − cos θ cancels in float32",
        SINGLE,
    )
)
