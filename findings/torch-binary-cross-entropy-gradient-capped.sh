#!/bin/sh
# Finding: torch F.binary_cross_entropy: the gradient is capped where the
#   value is not.
#
# 1. A good guess: value and gradient belong together: the value is
#   clamped at 100 (log at -100), so for p = 1e-14 (value 32) the gradient
#   is -1/p.
# 2. What happens: the gradient uses a floor of 1e-12 for p (1 - p). At p
#   = 1e-14 it is -1e12, not -1e14. For target 0 at p = 1e-14 it is 0.01
#   though the loss is p itself and its slope is 1. The values are exact.
# 3. How the truth was found: mpmath derivative and central differences in
#   float64.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6" "mpmath==1.3.0"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import mpmath as mp
import torch
import torch.nn.functional as F

print("torch", torch.__version__)
D = torch.float64
mp.mp.dps = 30
for t in (0.0, 1.0):
    for p in (1e-14, 1e-13, 1e-11, 1e-3):
        f = lambda x: F.binary_cross_entropy(x, torch.tensor(t, dtype=D))
        x = torch.tensor(p, dtype=D, requires_grad=True)
        y = f(x)
        g = torch.autograd.grad(y, x)[0].item()
        loss = lambda q: -mp.log(q) if t else -mp.log1p(-q)
        val, true = float(loss(mp.mpf(p))), -1 / p if t else 1 / (1 - p)
        h = p * 1e-4
        diff = ((f(x.detach() + h) - f(x.detach() - h)) / (2 * h)).item()
        print(f"target {t} p={p}: value {y.item():.10g} (true {val:.10g}), gradient {g:.6g}, "
              f"true {true:.6g}, differences {diff:.6g}")
        need(abs(y.item() / val - 1) < 1e-12, "the value is not exact")
        need(abs(diff / true - 1) < 1e-4, "the differences do not give the true slope")
        if p < 1e-12:
            need(g / true < 0.2, "the gradient is not capped any more")
        else:
            need(abs(g / true - 1) < 1e-8, "the gradient is wrong above the floor")
print("Seen as before.")
EOF
