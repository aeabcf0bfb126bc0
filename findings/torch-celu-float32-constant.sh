#!/bin/sh
# Finding: torch F.celu in float64: the backward has float32 precision for
#   most alphas.
#
# 1. A good guess: in float64 value and derivative are both exact to about
#   1e-16.
# 2. What happens: the value is, but the derivative is off by up to 4e-7
#   for alpha 0.1, 0.3 or 0.7. For alpha 1, 1.5, 2 and 3 it is exact or
#   nearly. A gradient check with its usual tolerance passes. The backward
#   seems to round 1/alpha or alpha to float32: 1/0.3 is not a float32
#   number.
# 3. How the truth was found: the derivative for x < 0 is exp(x / alpha),
#   by mpmath with 30 digits.
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
mp.mp.dps = 30
worst = {}
for alpha in (0.1, 0.3, 0.7, 1.0, 1.5, 2.0, 3.0):
    gv, vv = 0.0, 0.0
    for p in (-0.2, -0.5, -1.0, -2.0, -3.0):
        x = torch.tensor(p, dtype=torch.float64, requires_grad=True)
        y = F.celu(x, alpha=alpha)
        (g,) = torch.autograd.grad(y, x)
        true_g = mp.exp(mp.mpf(p) / mp.mpf(alpha))
        true_v = mp.mpf(alpha) * mp.expm1(mp.mpf(p) / mp.mpf(alpha))
        gv = max(gv, float(abs(mp.mpf(g.item()) / true_g - 1)))
        vv = max(vv, float(abs(mp.mpf(y.item()) / true_v - 1)))
    worst[alpha] = gv
    print(f"alpha {alpha}: largest relative error: value {vv:.1e}, derivative {gv:.1e}")
    need(vv < 1e-14, "the value is not exact")
for alpha in (0.1, 0.3, 0.7):
    need(worst[alpha] > 1e-8, f"the derivative at alpha {alpha} is exact now")
for alpha in (1.0, 1.5, 2.0, 3.0):
    need(worst[alpha] < 1e-14, f"the derivative at alpha {alpha} is not exact now")
print("Seen as before.")
EOF
