"""Weighted sums."""

from torch import Tensor

from manual_bp.rules._rule import Rule


class Affine(Rule):
    """The weighted sum on the in side of a layer of neurons: out = x Wᵀ + b.

    Derivation:
        With the letters s sample (all leading dimensions of x together), i input, o output:
        out_so = Σ_i w_oi x_si + b_o
        ∂out_so/∂x_si = w_oi   so  grad_x_si = Σ_o grad_out_so w_oi    grad_x = grad_out W   (W as it stands, not Wᵀ)
        ∂out_so/∂w_oi = x_si   so  grad_w_oi = Σ_s grad_out_so x_si    grad_w = grad_outᵀ x
        ∂out_so/∂b_o = 1       so  grad_b_o = Σ_s grad_out_so          the bias is a weight whose input is always 1

    Shapes: x [..., i], w [o, i] as in torch.nn.Linear, b [o]; out [..., o].
    Source: the article, equations (3) and (4); in matrix form Δ(out) = Δ(in) W, ∂J/∂W = Δ(in)ᵀ A, ∂J/∂b = Σ_s Δ(in).
    """

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return x @ w.T + b

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        samples = x.shape[:-1].numel()
        grad_out_so, x_si = grad_out.reshape(samples, -1), x.reshape(samples, -1)
        return grad_out @ w, grad_out_so.T @ x_si, grad_out_so.sum(0)
