#!/bin/sh
# Finding: torch and ml_dtypes round float64 to float32 first, then to the
#   small dtype; numpy's own float16 rounds once.
#
# 1. A good guess: a cast gives the nearest number of the new dtype,
#   whatever the old one is.
# 2. What happens: 1 + 2^-11 + 2^-40 becomes 1 in torch's float16, and 1 +
#   2^-10 in numpy's. float32 rounds the number to the middle of the two
#   neighbours, and the second rounding takes the even one. bfloat16 and
#   float8 of torch and of ml_dtypes have the same fault. So a float64
#   oracle that is rounded to half precision by two libraries gives two
#   results.
# 3. How the truth was found: exact algebra: the number lies above the
#   middle, so the upper neighbour is nearer.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/pip" install --quiet "ml_dtypes==0.6.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import ml_dtypes
import numpy as np
import torch

for p in ("torch", "ml_dtypes", "numpy"):
    print(p, version(p))
for bits, name, torch_dtype, numpy_dtype, numpy_right in (
    (10, "float16", torch.float16, np.float16, True),
    (7, "bfloat16", torch.bfloat16, ml_dtypes.bfloat16, False),
    (3, "float8_e4m3fn", torch.float8_e4m3fn, ml_dtypes.float8_e4m3fn, False),
):
    x, up = 1 + 2.0 ** -(bits + 1) + 2.0**-40, 1 + 2.0**-bits
    by_torch = torch.tensor(x, dtype=torch.float64).to(torch_dtype).double().item()
    by_numpy = float(np.float64(x).astype(numpy_dtype))
    print(f"{name}: 1 + 2^-{bits + 1} + 2^-40 becomes {by_torch} in torch, {by_numpy} in numpy; nearest is {up}")
    need(0 < up - x < x - 1, "the upper neighbour is not the nearest")
    need(by_torch == 1, "torch rounds once now")
    need(by_numpy == (up if numpy_right else 1), "numpy rounds otherwise now")
print("Seen as before.")
EOF
