#!/bin/sh
# Finding: jax.scipy.stats: outside of the support the values are right and
#   the gradients are nan.
#
# 1. A good guess: beyond its support a density is 0 and a distribution
#   function 0 or 1, whatever the parameters are, so the gradient is 0. A
#   single such point in a data set adds nothing to the sum.
# 2. What happens: gradients of chi2.pdf, gamma.sf, gamma.logsf, beta.pdf,
#   truncnorm.sf and pareto.cdf by a parameter are nan there, while those of
#   chi2.sf, gamma.pdf, gamma.cdf and truncnorm.pdf are 0. One point outside
#   makes the gradient of a whole sum nan.
# 3. How the truth was found: the values do not move: central differences
#   are exactly 0.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import math

import jax

jax.config.update("jax_enable_x64", True)
from jax.scipy.stats import beta, chi2, gamma, pareto, truncnorm

for p in ("jax", "jaxlib"):
    print(p, version(p))
h = 1e-6
nan = [("chi2.pdf", lambda df: chi2.pdf(-0.7, df)), ("gamma.sf", lambda a: gamma.sf(-0.7, a)),
       ("gamma.logsf", lambda a: gamma.logsf(-0.7, a)), ("beta.pdf", lambda a: beta.pdf(-0.7, a, 1.5)),
       ("truncnorm.sf", lambda b: truncnorm.sf(-0.7, 0.5, b)), ("pareto.cdf", lambda b: pareto.cdf(-0.7, b))]
zero = [("chi2.sf", lambda df: chi2.sf(-0.7, df)), ("gamma.pdf", lambda a: gamma.pdf(-0.7, a)),
        ("gamma.cdf", lambda a: gamma.cdf(-0.7, a)), ("truncnorm.pdf", lambda b: truncnorm.pdf(-0.7, 0.5, b)),
        ("pareto.cdf at 0.4", lambda b: pareto.cdf(0.4, b))]
for name, f in nan + zero:
    value, got, diff = float(f(1.3)), float(jax.grad(f)(1.3)), float((f(1.3 + h) - f(1.3 - h)) / (2 * h))
    print(f"{name}: value {value}, gradient by the parameter {got}, differences {diff}")
    need(diff == 0 and value in (0, 1), "the value outside is another one")
    need(math.isnan(got) if (name, f) in nan else got == 0, "the gradient has changed")
x = jax.numpy.array([-0.7, 0.4, 1.5])
whole = float(jax.grad(lambda a: gamma.logsf(x, a).sum())(1.3))
inside = float(jax.grad(lambda a: gamma.logsf(x[1:], a).sum())(1.3))
print("gradient of a sum of gamma.logsf with the point outside", whole, " without", inside)
need(math.isnan(whole) and math.isfinite(inside), "the gradient of the sum has changed")
print("Seen as before.")
EOF
