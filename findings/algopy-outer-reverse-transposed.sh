#!/bin/sh
# Finding: algopy.outer: reverse mode takes the transposed of grad_out for
#   the second vector.
#
# 1. A good guess: for the sum of W times outer(x, y) the gradient by x is W
#   y, by y it is W^T x, in forward and reverse mode.
# 2. What happens: reverse mode gives W x for y: wrong for every W that is
#   not symmetric. By x it is right, and forward mode is right for both.
# 3. How the truth was found: exact algebra, algopy's own forward mode, and
#   central differences in float64.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "algopy==0.7.2" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import warnings

warnings.simplefilter("ignore")
import algopy
import numpy as np
from algopy import UTPM

for p in ("algopy", "numpy"):
    print(p, version(p))
W = np.arange(1.0, 10.0).reshape(3, 3)
v = np.array([2.0, 0.3, 0.1, 0.5, 3.0, 0.7])


def f(v):
    return algopy.sum(W * algopy.outer(v[:3], v[3:]))


forward = UTPM.extract_jacobian(f(UTPM.init_jacobian(v)))
graph = algopy.CGraph()
x = algopy.Function(v)
y = f(x)
graph.independentFunctionList, graph.dependentFunctionList = [x], [y]
reverse = graph.gradient(v)
diff = np.array([(f(v + 1e-6 * e) - f(v - 1e-6 * e)) / 2e-6 for e in np.eye(6)])
true = np.concatenate([W @ v[3:], W.T @ v[:3]])
for name, g in (("forward", forward), ("reverse", reverse), ("differences", diff), ("true", true)):
    print(f"{name:11}: by x {np.round(g[:3], 6).tolist()}, by y {np.round(g[3:], 6).tolist()}")
need(np.allclose(diff, true, atol=1e-6) and np.allclose(forward, true), "forward mode or the differences are wrong now")
need(np.allclose(reverse[:3], true[:3]), "reverse mode by x is wrong now")
need(np.allclose(reverse[3:], W @ v[:3]) and not np.allclose(reverse[3:], true[3:]), "reverse mode by y has changed")
print("Seen as before.")
EOF
