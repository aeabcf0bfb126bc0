#!/bin/sh
# Finding: torch F.hardsigmoid in float64: the derivative is 1/6 in
#   float32, that of hardswish is exact.
#
# 1. A good guess: between -3 and 3 the derivative is 1/6 to 16 digits.
# 2. What happens: it is 1/6 rounded to float32, off by 3e-8 relative.
#   F.hardswish, which is x times hardsigmoid, has an exact derivative in
#   float64.
# 3. How the truth was found: exact algebra: hardsigmoid is (x + 3) / 6
#   there, hardswish x (x + 3) / 6.
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
sixth32 = torch.tensor(1 / 6, dtype=torch.float32).item()
for p in (-2.5, -1.0, 0.5, 2.9):
    x = torch.tensor(p, dtype=D, requires_grad=True)
    g = torch.autograd.grad(F.hardsigmoid(x), x)[0].item()
    s = torch.autograd.grad(F.hardswish(x), x)[0].item()
    t = (2 * p + 3) / 6
    print(f"x={p}: hardsigmoid value {F.hardsigmoid(x).item():.17g}, derivative {g:.17g}, true {1 / 6:.17g}; "
          f"hardswish derivative {s:.17g}, true {t:.17g}")
    need(abs(F.hardsigmoid(x).item() - (p + 3) / 6) < 1e-15, "the value is not exact")
    need(g == sixth32, "the derivative is not the float32 number any more")
    need(abs(s - t) < 1e-15, "the derivative of hardswish is not exact any more")
print("relative error", sixth32 * 6 - 1)
print("Seen as before.")
EOF
