#!/bin/sh
# Finding: torch cholesky_inverse: forward mode gives a wrong slope, and
#   the reverse gradient fills the triangle that is not read.
#
# 1. A good guess: forward and reverse mode give the same slope along a
#   lower triangular direction, and entries above the diagonal, which are
#   not read, get gradient 0.
# 2. What happens: the slope by forward mode is off by some percent,
#   reverse mode gives it right. The reverse gradient is not 0 above the
#   diagonal. cholesky_solve has the phantom entries too, but its forward
#   mode is right.
# 3. How the truth was found: central differences in float64 of the
#   entries, and the formula inv(L L^T) with torch.linalg.inv.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import torch

print("torch", torch.__version__)
D = torch.float64
L = torch.tensor([[2.0, 0, 0], [0.5, 1.5, 0], [-0.3, 0.4, 1.2]], dtype=D)
B = torch.tensor([[1.0, 0.5], [-1, 2], [0.3, 0.7]], dtype=D)
W = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 10]], dtype=D)
V = torch.tensor([[1.0, 0, 0], [2, 3, 0], [4, 5, 6]], dtype=D)
torch.set_printoptions(precision=6)


def look(name, f, ref):
    x = L.clone().requires_grad_()
    (g,) = torch.autograd.grad(f(x), x)
    diff = torch.zeros(3, 3, dtype=D)
    for i in range(3):
        for j in range(3):
            e = torch.zeros(3, 3, dtype=D)
            e[i, j] = 1e-6
            diff[i, j] = (f(L + e) - f(L - e)) / 2e-6
    y = L.clone().requires_grad_()
    (r,) = torch.autograd.grad(ref(y.tril()), y)
    slope = torch.func.jvp(f, (L,), (V,))[1].item()
    true = (diff * V).sum().item()
    above = g.triu(1).abs().max().item()
    print(f"{name}: slope by forward mode {slope:.6f}, by reverse {(g * V).sum().item():.6f}, "
          f"by differences {true:.6f}")
    print(f"  largest gradient above the diagonal: reverse {above:.6f}, "
          f"differences {diff.triu(1).abs().max().item():.6f}")
    need((g.tril() - diff.tril()).abs().max() < 1e-6, "reverse mode is wrong below the diagonal")
    need((r - diff).abs().max() < 1e-6, "the formula and the differences do not agree")
    need(above > 1, "the phantom entries are gone")
    return slope, true


s, t = look("cholesky_inverse", lambda a: (torch.cholesky_inverse(a) * W).sum(),
            lambda a: (torch.linalg.inv(a @ a.T) * W).sum())
need(abs(s - t) > 0.1, "forward mode of cholesky_inverse is right now")
s, t = look("cholesky_solve", lambda a: (torch.cholesky_solve(B, a) * W[:, :2]).sum(),
            lambda a: (torch.linalg.inv(a @ a.T) @ B * W[:, :2]).sum())
need(abs(s - t) < 1e-6, "forward mode of cholesky_solve is wrong now")
print("Seen as before.")
EOF
