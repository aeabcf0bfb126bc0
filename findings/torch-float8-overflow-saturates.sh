#!/bin/sh
# Finding: torch casts infinity to 448 in float8_e4m3fn, to nan in
#   float8_e4m3fnuz and to infinity in float8_e5m2.
#
# 1. A good guess: a number too large for float8_e4m3fn, which has no
#   infinity, becomes nan, as in ml_dtypes and JAX. What torch does for one
#   float8 it does for the next one.
# 2. What happens: in torch 500, 1e9 and infinity all become 448 in
#   float8_e4m3fn, its largest number. In float8_e4m3fnuz they become nan,
#   and in float8_e5m2 1e9 becomes infinity. ml_dtypes gives nan, nan and
#   infinity. So in e4m3fn an overflow leaves no trace in torch.
# 3. How the truth was found: the casts are compared with those of
#   ml_dtypes; nan stays nan in all.
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
x = [240.0, 500.0, 1e9, float("inf"), -float("inf"), float("nan")]
inf, nan = float("inf"), float("nan")
seen = {"float8_e4m3fn": ([240, 448, 448, 448, -448, nan], [240, nan, nan, nan, nan, nan]),
        "float8_e4m3fnuz": ([240, nan, nan, nan, nan, nan], [240, nan, nan, nan, nan, nan]),
        "float8_e5m2": ([256, 512, inf, inf, -inf, nan], [256, 512, inf, inf, -inf, nan])}
for name, (in_torch, in_ml_dtypes) in seen.items():
    a = torch.tensor(x).to(getattr(torch, name)).double().numpy()
    with np.errstate(all="ignore"):
        b = np.array(x, np.float32).astype(getattr(ml_dtypes, name)).astype(np.float64)
    print(f"{name}: {x}: torch {a.tolist()}, ml_dtypes {b.tolist()}")
    need(np.array_equal(a, in_torch, equal_nan=True), "torch casts otherwise now")
    need(np.array_equal(b, in_ml_dtypes, equal_nan=True), "ml_dtypes casts otherwise now")
print("Seen as before.")
EOF
