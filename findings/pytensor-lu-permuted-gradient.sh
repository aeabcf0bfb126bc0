#!/bin/sh
# Finding: pytensor lu(a, permute_l=True): the gradient through L is wrong
#   as soon as rows are exchanged.
#
# 1. A good guess: permute_l=True returns P L in place of P and L; the
#   gradient by a is that of P L, as it is for L from lu(a).
# 2. What happens: without an exchange of rows it is right, with one it is
#   not. The gradient through U is right in both, and so is that through L
#   without permute_l, also when the caller multiplies P L himself.
# 3. How the truth was found: central differences in float64, with pivots
#   that do not change under them.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "pytensor==3.0.7"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import os

os.environ["PYTENSOR_FLAGS"] = "cxx=,floatX=float64"
import numpy as np
import pytensor
import pytensor.tensor as pt
from pytensor.tensor.linalg import lu

print("pytensor", version("pytensor"), " numpy", version("numpy"))
weights = np.array([[0.3, -1.2, 0.7], [0.9, 0.4, -0.6], [-0.8, 1.1, 0.5]])
plain = np.array([[4.0, 1.0, 0.5], [1.0, 5.0, 1.5], [0.5, 1.0, 3.0]])
h = 1e-6
for what, a in (("no exchange", plain), ("two rows exchanged", plain[[1, 0, 2]]), ("rows in a cycle", plain[[2, 0, 1]])):
    for name, f in (("P L", lambda x: lu(x, permute_l=True)[0]), ("U, permute_l=True", lambda x: lu(x, permute_l=True)[1]),
                    ("L", lambda x: lu(x)[1]), ("P @ L by hand", lambda x: lu(x)[0] @ lu(x)[1])):
        x = pt.dmatrix()
        y = f(x)
        run = pytensor.function([x], y, mode="FAST_COMPILE")
        got = pytensor.function([x], pt.grad((y * weights).sum(), x), mode="FAST_COMPILE")(a)
        diff = np.zeros((3, 3))
        for i in np.ndindex(3, 3):
            e = np.zeros((3, 3))
            e[i] = h
            diff[i] = ((run(a + e) - run(a - e)) * weights).sum() / (2 * h)
        off = np.abs(got - diff).max()
        print(f"{what}, {name}: gradient off by {off:.2g} of {np.abs(diff).max():.2g}")
        if what != "no exchange" and name == "P L":
            print("  gradient   ", np.round(got, 5).tolist())
            print("  differences", np.round(diff, 5).tolist())
            need(off > 0.1, "the gradient of P L is right now")
        else:
            need(off < 1e-6, "the gradient is wrong now")
print("Seen as before.")
EOF
