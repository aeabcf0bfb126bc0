#!/bin/sh
# Finding: statsmodels: the generator of the Frank copula falls, its deriv
#   is positive; deriv2 of the Gumbel generator is nan.
#
# 1. A good guess: evaluate, deriv and deriv2 of a generator belong
#   together. A generator falls from infinity to 0, so deriv is negative and
#   deriv2 positive.
# 2. What happens: TransfFrank.deriv has the opposite sign, and deriv2 is
#   the slope of this deriv, so it is negative. TransfGumbel.deriv2 is a
#   complex nan for every theta that is not whole. Clayton is right in all
#   of them. Densities are right: they use the derivatives of the inverse.
# 3. How the truth was found: central differences in float64 of evaluate and
#   of deriv.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "statsmodels==0.15.0" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import warnings

warnings.simplefilter("ignore")
import numpy as np
from statsmodels.distributions.copula.transforms import TransfClayton, TransfFrank, TransfGumbel

for p in ("statsmodels", "numpy", "scipy"):
    print(p, version(p))
t, h = np.array([0.2, 0.45, 0.8]), 1e-4
for g, theta in ((TransfClayton(), 1.7), (TransfFrank(), 2.3), (TransfGumbel(), 1.6), (TransfGumbel(), 2.0)):
    up, mid, down = (g.evaluate(t + s, theta) for s in (h, 0, -h))
    first, second = (up - down) / (2 * h), (up - 2 * mid + down) / h**2
    d1, d2 = g.deriv(t, theta), g.deriv2(t, theta)
    name = type(g).__name__
    print(f"{name} theta={theta}: deriv {np.round(d1, 5).tolist()}, differences {np.round(first, 5).tolist()}")
    print(f"{name} theta={theta}: deriv2 {np.round(d2, 4).tolist()}, differences {np.round(second, 4).tolist()}")
    need((first < 0).all() and (second > 0).all(), "this is no generator any more")
    if name == "TransfFrank":
        need(np.allclose(d1, -first, rtol=1e-4) and np.allclose(d2, -second, rtol=1e-4), "the sign is another one")
    else:
        need(np.allclose(d1, first, rtol=1e-4), "deriv is wrong now")
        if theta == 1.6:
            need(np.isnan(d2).all() and np.iscomplexobj(d2), "deriv2 of Gumbel is another one")
        else:
            need(np.allclose(d2, second, rtol=1e-4), "deriv2 is wrong now")
print("Seen as before.")
EOF
