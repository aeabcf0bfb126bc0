#!/bin/sh
# Finding: HIPS autograd np.prod: one zero among the factors makes the
#   gradient nan.
#
# 1. A good guess: the product of [1, 0, 3] has the gradient [0, 3, 0];
#   torch gives this.
# 2. What happens: the gradient is nan or inf at the zero: the backward
#   divides the product by the factor. The value 0 is right.
# 3. How the truth was found: exact algebra and central differences in
#   float64.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "autograd==1.9.1" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import warnings

warnings.simplefilter("ignore")
import autograd.numpy as anp
import numpy as np
import torch
from autograd import grad

print("autograd", version("autograd"), " numpy", version("numpy"), " torch", torch.__version__)
for vals, true in (([1.0, 2.0, 3.0], [6, 3, 2]), ([1.0, 0.0, 3.0], [0, 3, 0])):
    x = np.array(vals)
    g = grad(anp.prod)(x)
    t = torch.tensor(x, requires_grad=True)
    (tg,) = torch.autograd.grad(t.prod(), t)
    diff = [(np.prod(x + 1e-6 * e) - np.prod(x - 1e-6 * e)) / 2e-6 for e in np.eye(3)]
    print(f"{vals}: autograd {g.tolist()}, torch {tg.tolist()}, differences {np.round(diff, 6).tolist()}, true {true}")
    need(np.allclose(diff, true, atol=1e-6), "the differences are not the true gradient")
    need(tg.tolist() == true, "torch is wrong now")
    if 0 in vals:
        need(not np.isfinite(g[1]), "the gradient at the zero is finite now")
    else:
        need(np.allclose(g, true), "the gradient without a zero is wrong now")
print("Seen as before.")
EOF
