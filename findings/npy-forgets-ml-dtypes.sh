#!/bin/sh
# Finding: np.save of a bfloat16 or float8 array of ml_dtypes: np.load gives
#   raw bytes back, without an error.
#
# 1. A good guess: the dtype comes back where ml_dtypes is imported, or one
#   of save and load says that it cannot.
# 2. What happens: bfloat16 comes back as dtype V2, float8_e4m3fn and int4
#   as V1: bytes without a type. float8_e5m2 can be saved, and the file
#   cannot be loaded at all. The bits are right: view with the right dtype
#   restores the numbers. tofile and fromfile, where one names the dtype,
#   are right.
# 3. How the truth was found: what is loaded is compared with what was
#   saved.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "ml_dtypes==0.6.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import io

import ml_dtypes
import numpy as np

print("ml_dtypes", version("ml_dtypes"), " numpy", version("numpy"))
for name, back in (("bfloat16", "V2"), ("float8_e4m3fn", "V1"), ("int4", "V1"), ("float8_e5m2", None)):
    dtype = np.dtype(getattr(ml_dtypes, name))
    a = np.array([1, 2, 3], np.float32).astype(dtype)
    file = io.BytesIO()
    np.save(file, a)
    file.seek(0)
    try:
        b = np.load(file)
    except ValueError as e:
        print(f"{name}: saved {a.tolist()}, load raises: {e}")
        need(back is None, "load raises now")
        continue
    print(f"{name}: saved {a.tolist()}, loaded {b.tolist()} of dtype {b.dtype}, as it was by view: {b.view(dtype).tolist()}")
    need(back is not None and b.dtype == np.dtype(back), "another dtype comes back now")
    need(np.array_equal(b.view(dtype), a), "the bits have changed")
print("Seen as before.")
EOF
