#!/bin/sh
# Finding: jax.scipy.special.spence: the gradient is nan for 1 < x <= 2, and
#   0 at 1.
#
# 1. A good guess: spence(x) has the derivative log(x) / (1 - x), which is
#   smooth on x > 0, and -1 at x = 1.
# 2. What happens: between 0 and 1 and above 2 the gradient is right to 9
#   digits or more. In between it is nan, though the value is right, and at
#   1 it is 0. No warning.
# 3. How the truth was found: exact algebra, and central differences of
#   scipy's spence in float64.
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
import scipy.special as sp
from jax.scipy.special import spence

for p in ("jax", "jaxlib", "scipy"):
    print(p, version(p))
for x in (0.1, 0.5, 0.9, 1.0, 1.1, 1.5, 1.9, 2.0, 2.5, 10.0):
    value, got = float(spence(x)), float(jax.grad(spence)(x))
    true = math.log(x) / (1 - x) if x != 1 else -1.0
    diff = (sp.spence(x + 1e-6) - sp.spence(x - 1e-6)) / 2e-6
    print(f"x={x}: value {value:.9f}, scipy {sp.spence(x):.9f}; gradient {got:.9f}, true {true:.9f}, differences {diff:.9f}")
    need(abs(value - sp.spence(x)) < 1e-12 and abs(diff - true) < 1e-6, "the values are wrong now")
    if x == 1:
        need(got == 0, "the gradient at 1 has changed")
    elif 1 < x <= 2:
        need(math.isnan(got), "the gradient is a number now")
    else:
        need(abs(got - true) < 1e-9, "the gradient is wrong now")
print("Seen as before.")
EOF
