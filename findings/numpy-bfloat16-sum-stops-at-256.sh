#!/bin/sh
# Finding: numpy adds ml_dtypes bfloat16 one by one: a sum of 1000 ones is
#   256 and their mean 0.256; JAX says 1000 and 1.
#
# 1. A good guess: numpy sums in pairs and takes the mean of float16 in
#   float32, so 1000 ones of bfloat16 have the sum 1000 and the mean 1.
# 2. What happens: the sum stops at 256, where 256 + 1 rounds to 256; mean
#   divides this by 1000, and var is not 0. The dot product is 1000. float16
#   has the same fault along the first axis: the sum of ones of shape (5000,
#   2) is 2048, of 5000 ones in a row 5000.
# 3. How the truth was found: ones are counted. jnp.sum and jnp.mean of the
#   same array give 1000 and 1.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "ml_dtypes==0.6.0" "numpy==2.4.6" "jax==0.10.2" "jaxlib==0.10.2"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import jax.numpy as jnp
import ml_dtypes
import numpy as np

for p in ("ml_dtypes", "numpy", "jax"):
    print(p, version(p))
ones = np.ones(1000, ml_dtypes.bfloat16)
print("bfloat16: sum", ones.sum(), " mean", ones.mean(), " var", ones.var(), " dot", ones @ ones)
print("JAX: sum", jnp.asarray(ones).sum(), " mean", jnp.asarray(ones).mean(), " var", jnp.asarray(ones).var())
need(ones.sum() == 256 and abs(float(ones.mean()) - 0.256) < 1e-3, "the sum or the mean of bfloat16 has changed")
need(ones @ ones == 1000, "the dot product is wrong now")
need(jnp.asarray(ones).sum() == 1000 and jnp.asarray(ones).mean() == 1, "JAX is wrong now")
need(ones.var() > 0.1 and jnp.asarray(ones).var() == 0, "the variance has changed")
columns = np.ones((5000, 2), np.float16)
print("float16: sum along the first axis", columns.sum(0).tolist(), " in a row", columns[:, 0].copy().sum(),
      " mean along the first axis", columns.mean(0).tolist())
need(columns.sum(0).tolist() == [2048, 2048], "float16 along the first axis has changed")
need(columns[:, 0].copy().sum() == 5000 and columns.mean(0).tolist() == [1, 1], "float16 in a row, or its mean, is wrong now")
print("Seen as before.")
EOF
