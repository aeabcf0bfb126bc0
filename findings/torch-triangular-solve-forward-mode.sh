#!/bin/sh
# Finding: torch triangular_solve: forward mode counts entries of the
#   matrix that are not read.
#
# 1. A good guess: the derivative along an entry that is not read is 0:
#   above the diagonal for a lower matrix, and on it with unitriangular.
# 2. What happens: reverse mode gives 0 there, forward mode does not: it
#   gives slopes of up to 1.2 where nothing changes.
#   torch.linalg.solve_triangular is right in both modes.
# 3. How the truth was found: central differences in float64 (exactly 0,
#   as the entry is never read).
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


import warnings

warnings.simplefilter("ignore")
import torch

print("torch", torch.__version__)
D = torch.float64
A = torch.tensor([[2.0, 0, 0], [0.5, 1.5, 0], [-0.3, 0.4, 1.2]], dtype=D)
B = torch.tensor([[1.0, 0.5], [-1, 2], [0.3, 0.7]], dtype=D)
for unit in (False, True):
    old = lambda a: torch.triangular_solve(B, a, upper=False, unitriangular=unit)[0]
    new = lambda a: torch.linalg.solve_triangular(a, B, upper=False, unitriangular=unit)
    for i, j in ((0, 2), (0, 0), (1, 0)):
        e = torch.zeros(3, 3, dtype=D)
        e[i, j] = 1
        read = i > j or (i == j and not unit)
        for name, f in (("triangular_solve", old), ("linalg.solve_triangular", new)):
            fwd = torch.func.jvp(f, (A,), (e,))[1]
            x = A.clone().requires_grad_()
            rev = torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0][i, j]
                               for v in f(x).flatten()]).reshape(3, 2)
            diff = (f(A + 1e-6 * e) - f(A - 1e-6 * e)) / 2e-6
            print(f"unitriangular={unit} entry ({i},{j}) {name}: largest slope: "
                  f"forward {fwd.abs().max().item():.6f}, reverse {rev.abs().max().item():.6f}, "
                  f"differences {diff.abs().max().item():.6f}")
            need((rev - diff).abs().max() < 1e-6, "reverse mode is wrong now")
            off = (fwd - diff).abs().max().item()
            if name == "triangular_solve" and not read:
                need(off > 0.1, "forward mode of triangular_solve is right now")
            else:
                need(off < 1e-6, "forward mode is wrong at an entry that is read")
print("Seen as before.")
EOF
