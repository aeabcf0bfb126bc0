"""Linear equations, a factorization and a determinant."""

import torch
from torch import Tensor

from manual_bp.rules._rule import Rule


class Solve(Rule):
    """The solution of linear equations: out = A⁻¹ B.

    Derivation:
        From A out = B, in differentials: dA out + A dout = dB, so dout = A⁻¹ (dB − dA out).
        With ⟨X, Y⟩ = Σ_ij X_ij Y_ij:
        ⟨grad_out, dout⟩ = ⟨A⁻ᵀ grad_out, dB⟩ − ⟨A⁻ᵀ grad_out, dA out⟩
        grad_B = A⁻ᵀ grad_out                          one more solution, with Aᵀ    (1)
        grad_A = −grad_B outᵀ                                                        (2)

    Often wrong: A for Aᵀ; the minus; the inverse computed, where a solution is faster and more accurate.
    Shapes: A [..., n, n], B [..., n, k]; out [..., n, k].
    Source: Giles, Collected Matrix Derivative Results for Forward and Reverse Mode Algorithmic Differentiation (2008).
    """

    @staticmethod
    def forward(A: Tensor, B: Tensor) -> Tensor:
        out: Tensor = torch.linalg.solve(A, B)
        return out

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
        grad_B = torch.linalg.solve(A.mT, grad_out)  # (1)
        return -grad_B @ out.mT, grad_B  # (2)


class Cholesky(Rule):
    """The lower triangle whose square is a positive definite matrix: out = L, with A = L Lᵀ.

    Derivation:
        In differentials: dA = dL Lᵀ + L dLᵀ, so L⁻¹ dA L⁻ᵀ = L⁻¹ dL + (L⁻¹ dL)ᵀ, a lower triangle and its transpose.
        With Φ(M) the lower triangle of M with its diagonal halved: dL = L Φ(L⁻¹ dA L⁻ᵀ).
        ⟨grad_L, dL⟩ = ⟨Lᵀ grad_L, Φ(L⁻¹ dA L⁻ᵀ)⟩ = ⟨Φ(Lᵀ grad_L), L⁻¹ dA L⁻ᵀ⟩
        G      = L⁻ᵀ Φ(Lᵀ grad_L) L⁻¹                                                            (1)
        grad_A = ½ (G + Gᵀ)                            A is symmetric, and so are its changes    (2)

    Often wrong: the diagonal not halved; G itself, which is right for a symmetric dA and is not symmetric.
    Shapes: A [..., n, n], symmetric, only its lower triangle is read; out [..., n, n].
    Source: Murray, Differentiation of the Cholesky Decomposition (2016); Giles (2008), as for Solve.
    """

    @staticmethod
    def forward(A: Tensor) -> Tensor:
        out: Tensor = torch.linalg.cholesky(A)
        return out

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, A: Tensor) -> tuple[Tensor]:
        L = out
        Phi = (L.mT @ grad_out).tril()
        Phi = Phi - 0.5 * Phi.diagonal(dim1=-2, dim2=-1).diag_embed()
        left = torch.linalg.solve_triangular(L.mT, Phi, upper=True)
        G = torch.linalg.solve_triangular(L, left, upper=False, left=False)  # (1)
        return (0.5 * (G + G.mT),)  # (2)


class LogDeterminant(Rule):
    """The logarithm of the determinant's magnitude: out = log |det A|.

    Derivation:
        det A = Σ_j A_ij C_ij for any row i, with the cofactors C_ij, none of which contains A_ij:
        ∂det A/∂A_ij = C_ij = det A (A⁻¹)_ji           Cramer's rule
        ∂out/∂A_ij   = C_ij / det A = (A⁻¹)_ji
        grad_A = grad_out A⁻ᵀ

    Often wrong: A⁻¹ for A⁻ᵀ, which a symmetric A hides; the logarithm taken of a determinant that has overflowed.
    Shapes: A [..., n, n]; out [...].
    Source: Giles (2008), as for Solve.
    """

    @staticmethod
    def forward(A: Tensor) -> Tensor:
        out: Tensor = torch.linalg.slogdet(A).logabsdet
        return out

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, A: Tensor) -> tuple[Tensor]:
        return (grad_out[..., None, None] * torch.linalg.inv(A).mT,)
