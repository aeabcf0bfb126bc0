#!/bin/sh
# Finding: torch.sinc and jnp.sinc: the gradient near 0 is lost to
#   rounding, in float32 already at 1e-4.
#
# 1. A good guess: sinc is smooth at 0, and its gradient near 0 is about
#   -pi^2 x / 3, to float precision.
# 2. What happens: in float32 the gradient at 1e-4 is nearly three times
#   too large, and 0 at 1e-5. In float64 the same happens near 1e-8. The
#   values are right. JAX is no better: jnp.sinc is four times too large
#   at 1e-4 and nearly 200 times at 1e-5. (The first guess was that JAX is
#   right there. It treats only x = 0 in a special way.)
# 3. How the truth was found: mpmath with 30 digits.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6" "mpmath==1.3.0"
"$tmp/venv/bin/pip" install --quiet "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import jax
import jax.numpy as jnp
import mpmath as mp
import torch

print("torch", torch.__version__)
for p in ("jax", "jaxlib"):
    print(p, version(p))
mp.mp.dps = 30


def true(x):
    x = mp.mpf(x)
    return float((mp.cos(mp.pi * x) * mp.pi * x - mp.sin(mp.pi * x)) / (mp.pi * x * x))


def look(x, dtype):
    a = torch.tensor(x, dtype=dtype, requires_grad=True)
    return torch.autograd.grad(torch.sinc(a), a)[0].item()


err = {}
for x in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5):
    p = torch.tensor(x).item()
    g, j, t = look(x, torch.float32), float(jax.grad(jnp.sinc)(jnp.float32(x))), true(p)
    err[x] = abs(g / t - 1)
    print(f"float32 x={x}: torch {g:.9f}, jax {j:.9f}, true {t:.9f}, relative error of torch {err[x]:.1e}")
    if x == 1e-4:
        need(abs(j / t - 1) > 0.5, "JAX is right at 1e-4 now")
need(err[1e-1] < 1e-4, "x = 0.1 is wrong now")
need(err[1e-4] > 0.5 and err[1e-5] > 0.5, "the small x are right now")
for x in (1e-4, 1e-6, 1e-8):
    g, t = look(x, torch.float64), true(x)
    err[x] = abs(g / t - 1)
    print(f"float64 x={x}: torch {g:.6e}, true {t:.6e}, relative error {err[x]:.1e}")
need(err[1e-8] > 0.1, "x = 1e-8 in float64 is right now")
print("Seen as before.")
EOF
