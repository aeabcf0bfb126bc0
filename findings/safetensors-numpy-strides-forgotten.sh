#!/bin/sh
# Finding: safetensors.numpy saves the memory of a transposed or strided
#   array, not its elements.
#
# 1. A good guess: what is loaded equals what was saved, or save raises, as
#   safetensors.torch does for a tensor that is not contiguous.
# 2. What happens: of a.T, of a Fortran array and of a[::2] the shape is
#   kept, but the numbers are those of the memory in its order. No error, no
#   warning. A contiguous copy is right, and so is an array of the other
#   byte order.
# 3. How the truth was found: the arrays are compared with what load gives
#   back.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "safetensors==0.8.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import numpy as np
from safetensors.numpy import load, save

print("safetensors", version("safetensors"), " numpy", version("numpy"))
a = np.arange(6, dtype=np.float32).reshape(2, 3)
for name, x, wrong in (("plain", a, None), ("transposed", a.T, [[0, 1], [2, 3], [4, 5]]),
                       ("Fortran order", np.asfortranarray(a), [[0, 3, 1], [4, 2, 5]]),
                       ("every other", np.arange(10.0)[::2], [0, 1, 2, 3, 4]), ("big-endian", a.astype(">f4"), None),
                       ("contiguous copy of transposed", np.ascontiguousarray(a.T), None)):
    back = load(save({"x": x}))["x"]
    print(f"{name}: saved {x.tolist()}, loaded {back.tolist()}")
    need(np.array_equal(back, x if wrong is None else wrong), "what is loaded has changed")
print("Seen as before.")
EOF
