# pip install --no-deps roma==1.8.0
"""Rotations: the nearest one to a matrix, by Procrustes, with a derivative written by hand."""

import roma
import torch
from case import LIMIT, Case, draw
from torch import Tensor


def polar(m: Tensor) -> Tensor:
    """M (MᵀM)^(−½), by eigenvectors of MᵀM."""
    values, vectors = torch.linalg.eigh(m.mT @ m)
    return m @ (vectors * values[..., None, :] ** -0.5) @ vectors.mT


def special(m: Tensor) -> Tensor:
    """The nearest rotation: as many Newton steps as it needs, on attached singular vectors."""
    u, _, vt = torch.linalg.svd(m)
    d = torch.ones_like(m[..., 0])
    d[..., -1] = (torch.linalg.det(u) * torch.linalg.det(vt)).detach().sign()
    return (u * d[..., None, :]) @ vt


def rotation(v: Tensor) -> Tensor:
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.linalg.matrix_exp(torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).unflatten(-1, (3, 3)))


m = draw(4, 3, 3)
HOW = {"dtypes": (torch.float64, torch.float32)}
positive = torch.eye(3) + 0.3 * draw(4, 3, 3, seed=1)
CASES = [
    Case("procrustes", lambda m: roma.procrustes(m, gradient_eps=1e-12), (m,), polar, how=HOW),
    Case("procrustes, singular values too", lambda m: roma.procrustes(m, gradient_eps=1e-12, return_singular_values=True), (m,), lambda m: (polar(m), torch.linalg.svdvals(m)), how=HOW),
    Case("special_procrustes", lambda m: roma.special_procrustes(m, gradient_eps=1e-12), (m,), special, how=HOW),
    Case("special_procrustes, as it is by default", lambda m: roma.special_procrustes(m), (positive,), special, "wrong in m; breaks forward mode", LIMIT, "damped on purpose, by gradient_eps=1e-5: right to 10 digits", HOW),
    Case("procrustes, forward mode", lambda m: roma.procrustes(m, gradient_eps=1e-12), (m,), polar, how=HOW | {"method": "forward"}),
    Case("rotvec_to_rotmat", roma.rotvec_to_rotmat, (draw(4, 3),), rotation, how=HOW),
    Case("rotvec_to_rotmat, 0", roma.rotvec_to_rotmat, (torch.zeros(1, 3).double(),), rotation, how=HOW),
    Case("rotvec through quaternions", lambda v: roma.unitquat_to_rotmat(roma.rotvec_to_unitquat(v)), (draw(4, 3),), rotation, how=HOW),
    Case("rotmat_to_rotvec", lambda v: roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(v)), (draw(4, 3),), lambda v: v * 1, how=HOW),
]  # fmt: skip
