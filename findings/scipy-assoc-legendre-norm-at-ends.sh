#!/bin/sh
# Finding: scipy assoc_legendre_p: norm=True has no effect at x = 1 and -1,
#   and the second derivative there is another one.
#
# 1. A good guess: with norm=True the values are sqrt((n + 1/2) (n-m)! /
#   (n+m)!) times those without, at every x, also where x = 1. Values and
#   derivatives of a polynomial (m even) have no jump at the ends.
# 2. What happens: at exactly 1 and -1 the result is that without norm: P_3
#   jumps from 1.87 to 1. The second derivative at -1 has the wrong sign for
#   n = 3, and for m = -2 it is -0.25 at 1, where -0.75 is right. Inside,
#   all of it is right.
# 3. How the truth was found: exact algebra: P_3^2 = 15 x (1 - x^2), P_3^-2
#   = x (1 - x^2) / 8; and values at 1 - 1e-9.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "scipy==1.17.1" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import math

import numpy as np
import scipy.special as sp

print("scipy", version("scipy"), " numpy", version("numpy"))
near = 1 - 1e-9
for m in (0, 2, -2):
    factor = math.sqrt(3.5 * math.factorial(3 - m) / math.factorial(3 + m))
    plain = {0: lambda x: [(5 * x**3 - 3 * x) / 2, (15 * x**2 - 3) / 2, 15 * x],
             2: lambda x: [15 * x * (1 - x**2), 15 - 45 * x**2, -90 * x],
             -2: lambda x: [x * (1 - x**2) / 8, (1 - 3 * x**2) / 8, -6 * x / 8]}[m]
    for x in (-1.0, -near, 0.3, near, 1.0):
        got = sp.assoc_legendre_p(3, m, x, diff_n=2)
        norm = sp.assoc_legendre_p(3, m, x, norm=True, diff_n=2)
        true = np.array(plain(x))
        print(f"n=3 m={m} x={x}: {got.tolist()}, true {true.tolist()}")
        print(f"    norm=True: {norm.tolist()}, true {(factor * true).tolist()}")
        need(np.allclose(got[:2], true[:2], atol=1e-6), "value or slope without norm is wrong now")
        if abs(x) < 1:
            need(np.allclose(got, true, atol=1e-5), "the second derivative inside is wrong now")
            need(np.allclose(norm, factor * true, atol=1e-5), "norm=True inside is wrong now")
        else:
            need(np.array_equal(norm, got), "norm=True has an effect at the ends now")
            right = x == 1 and m != -2
            need(np.allclose(got[2], true[2]) == right, "the second derivative at the ends has changed")
print("Seen as before.")
EOF
