#!/bin/sh
# Finding: jaxopt isotonic_l2_pav: the Jacobian has only 8 right digits,
#   and small inputs get a wrong one.
#
# 1. A good guess: isotonic regression averages over blocks, so in float64
#   the Jacobian holds 1 for a lone point and 1/3 in a block of three, to
#   16 digits. Scaling the input does not change the Jacobian.
# 2. What happens: it holds 0.99999999 and 0.33333333222. Sorted data in
#   steps of 1e-9 should have the identity as Jacobian, but get 1/3
#   everywhere. The values are right.
# 3. How the truth was found: exact algebra (block means have the Jacobian
#   1/size) and central differences in float64 that fit the scale.
#   isotonic_l2_pav of jaxopt 0.8.5, without numba.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/pip" install --quiet --no-deps "jaxopt==0.8.5"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import warnings

warnings.simplefilter("ignore")
import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from jaxopt.isotonic import isotonic_l2_pav

for p in ("jax", "jaxlib", "jaxopt"):
    print(p, version(p))


def both(y, h):
    n = len(y)
    jac = np.asarray(jax.jacrev(isotonic_l2_pav)(jnp.asarray(y)))
    diff = np.zeros((n, n))
    for k in range(n):
        e = np.zeros(n)
        e[k] = h
        up = np.asarray(isotonic_l2_pav(jnp.asarray(y + e)))
        down = np.asarray(isotonic_l2_pav(jnp.asarray(y - e)))
        diff[:, k] = (up - down) / (2 * h)
    return jac, diff


y = np.array([-1.0, 3.0, 1.0, 1.5, 5.0])
jac, diff = both(y, 1e-3)
true = np.zeros((5, 5))
true[0, 0] = true[4, 4] = 1
true[1:4, 1:4] = 1 / 3
np.set_printoptions(precision=12)
print("fit", np.asarray(isotonic_l2_pav(jnp.asarray(y))))
print("lone point:     package %.16f, differences %.12f, true 1" % (jac[0, 0], diff[0, 0]))
print("block of three: package %.16f, differences %.12f, true 1/3" % (jac[1, 1], diff[1, 1]))
off = abs(jac - true).max()
print("largest error: package %.2e, differences %.2e" % (off, abs(diff - true).max()))
need(abs(diff - true).max() < 1e-11, "the differences do not give the true Jacobian")
need(5e-9 < off < 2e-8, "the error of 1e-8 is gone or has another size")

y = 1e-9 * np.array([1.0, 2.0, 3.0])
jac, diff = both(y, 1e-11)
print("steps of 1e-9: fit", np.asarray(isotonic_l2_pav(jnp.asarray(y))))
print("package", jac.tolist())
print("differences", np.round(diff, 8).tolist())
need(abs(diff - np.eye(3)).max() < 1e-6, "the differences do not give the identity")
need(abs(jac - 1 / 3).max() < 1e-6, "small inputs are not pooled any more")
print("Seen as before.")
EOF
