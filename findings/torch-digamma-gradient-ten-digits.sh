#!/bin/sh
# Finding: torch.digamma in float64: the gradient has about 10 digits, the
#   second derivative has 15.
#
# 1. A good guess: value, gradient and second derivative have about 15
#   digits in float64.
# 2. What happens: the gradient is off by up to 5e-10 for x from 0.5 to 3.
#   polygamma(1, x) has the same error. The derivative of polygamma(1, x)
#   and zeta(2, x), which is the same function, are exact to 15 digits.
# 3. How the truth was found: mpmath with 30 digits.
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

print("torch", torch.__version__)
D = torch.float64
mp.mp.dps = 30
worst = [0.0] * 4
for p in (0.5, 0.9, 1.7, 2.5, 3.3):
    x = torch.tensor(p, dtype=D, requires_grad=True)
    y = torch.digamma(x)
    z = torch.polygamma(1, x)
    need(abs(torch.autograd.grad(torch.digamma(x), x)[0] / z.detach() - 1) < 1e-15,
         "polygamma(1, x) and the gradient of digamma differ")
    got = (y, torch.autograd.grad(y, x)[0],
           torch.special.zeta(torch.tensor(2.0, dtype=D), x.detach()), torch.autograd.grad(z, x)[0])
    true = [mp.psi(n, mp.mpf(p)) for n in (0, 1, 1, 2)]
    e = [float(abs(mp.mpf(a.item()) / b - 1)) for a, b in zip(got, true)]
    worst = [max(a, b) for a, b in zip(worst, e)]
    print(f"x={p}: relative errors: digamma {e[0]:.1e}, its gradient {e[1]:.1e}, "
          f"zeta(2, x) {e[2]:.1e}, gradient of polygamma(1, x) {e[3]:.1e}")
need(worst[0] < 1e-14 and worst[2] < 1e-14 and worst[3] < 1e-14, "an exact one is not exact any more")
need(1e-11 < worst[1] < 1e-8, "the error of the gradient has another size")
print("Seen as before.")
EOF
