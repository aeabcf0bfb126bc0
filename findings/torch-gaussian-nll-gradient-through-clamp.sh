#!/bin/sh
# Finding: torch F.gaussian_nll_loss: a variance under eps has no effect
#   on the loss but a huge gradient.
#
# 1. A good guess: var is clamped at eps = 1e-6, so under eps the loss is
#   flat and the gradient by var is 0.
# 2. What happens: reverse mode gives -8e10, forward mode gives 0. The two
#   modes of one library disagree. Above eps both are right.
# 3. How the truth was found: central differences in float64: the loss
#   does not move.
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
import torch.nn.functional as F

print("torch", torch.__version__)
D = torch.float64
guess, target = torch.tensor([0.3], dtype=D), torch.tensor([0.7], dtype=D)
f = lambda v: F.gaussian_nll_loss(guess, target, v)
for val in (1e-7, 5e-7, 2e-6, 1e-2):
    v = torch.tensor([val], dtype=D, requires_grad=True)
    rev = torch.autograd.grad(f(v), v)[0].item()
    fwd = torch.func.jvp(f, (v.detach(),), (torch.ones(1, dtype=D),))[1].item()
    h = val * 1e-4
    w = v.detach()
    diff = ((f(w + h) - f(w - h)) / (2 * h)).item()
    print(f"var={val}: loss {f(w).item():.6g}, reverse {rev:.6g}, forward {fwd:.6g}, differences {diff:.6g}")
    if val < 1e-6:
        need(diff == 0 and fwd == 0, "the loss is not flat, or forward mode is not 0")
        need(rev < -1e10, "reverse mode has no large gradient any more")
    else:
        need(abs(rev / diff - 1) < 1e-5 and abs(fwd / diff - 1) < 1e-5, "a mode is wrong above eps")
print("Seen as before.")
EOF
