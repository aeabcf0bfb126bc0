#!/bin/sh
# Finding: scipy mathieu_cem and mathieu_sem take x in degrees and give the
#   derivative per radian.
#
# 1. A good guess: the second result is documented as the derivative with
#   respect to x, and x is in degrees. So it is the slope of the first
#   result as x grows.
# 2. What happens: it is 180/pi times as large: the derivative by x in
#   radians. The modified functions mathieu_modcem1 and so on take x
#   plainly, and theirs fits.
# 3. How the truth was found: central differences in float64 by x as it is
#   given.
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


import numpy as np
import scipy.special as sp

print("scipy", version("scipy"), " numpy", version("numpy"))
h = 1e-4
for f, x in ((sp.mathieu_cem, 40.0), (sp.mathieu_sem, 40.0), (sp.mathieu_modcem1, 0.7), (sp.mathieu_modsem1, 0.7)):
    got = float(f(2, 1.3, x)[1])
    diff = float((f(2, 1.3, x + h)[0] - f(2, 1.3, x - h)[0]) / (2 * h))
    print(f"{f.__name__}(2, 1.3, {x}): derivative given {got:.7f}, by differences {diff:.7f}, ratio {got / diff:.5f}")
    true = 1.0 if "mod" in f.__name__ else 180 / np.pi
    need(abs(got / diff - true) < 1e-5, "the ratio is not %.5f any more" % true)
print("Seen as before.")
EOF
