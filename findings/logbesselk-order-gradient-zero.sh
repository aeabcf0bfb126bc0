#!/bin/sh
# Finding: logbesselk gives a gradient of 0 for the order v.
#
# 1. A good guess: jax.grad by the order v gives d log K_v(x) / dv. The
#   README of the package shows this very call.
# 2. What happens: the gradient by v is exactly 0, with no warning. The
#   gradient by x is right. Another function of the same package,
#   log_abs_deriv_bessel_k, gives the derivative by v right (to 7 digits).
# 3. How the truth was found: mpmath with 30 digits, central differences
#   in float64, and the other function of the package. All three agree.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "scipy==1.17.1" "mpmath==1.3.0"
"$tmp/venv/bin/pip" install --quiet --no-deps "logbesselk==3.4.0"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import jax
import mpmath as mp

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from logbesselk.jax import log_abs_deriv_bessel_k, log_bessel_k

for p in ("jax", "jaxlib", "logbesselk", "mpmath"):
    print(p, version(p))
mp.mp.dps = 30
for a, b in ((1.3, 2.0), (0.7, 0.5), (5.5, 3.0)):
    v, x = jnp.float64(a), jnp.float64(b)
    true_v = float(mp.diff(lambda u: mp.log(mp.besselk(u, b)), a))
    true_x = float(mp.diff(lambda u: mp.log(mp.besselk(a, u)), b))
    g_v = float(jax.grad(log_bessel_k, 0)(v, x))
    g_x = float(jax.grad(log_bessel_k, 1)(v, x))
    h = 1e-5
    diff = float((log_bessel_k(v + h, x) - log_bessel_k(v - h, x)) / (2 * h))
    other = float(jnp.exp(log_abs_deriv_bessel_k(v, x, 1, 0) - log_bessel_k(v, x)))
    print(f"v={a} x={b}: by v: grad {g_v:.9f}, mpmath {true_v:.9f}, "
          f"differences {diff:.9f}, the other function {other:.9f}")
    print(f"             by x: grad {g_x:.9f}, mpmath {true_x:.9f}")
    need(abs(diff - true_v) < 1e-6, "the differences do not give the true value")
    need(abs(other - true_v) < 1e-6, "the other function is not right any more")
    need(abs(g_x - true_x) < 1e-9, "the gradient by x is not right any more")
    need(g_v == 0.0 and true_v > 0.1, "the gradient by v is not 0 any more")
print("Seen as before.")
EOF
