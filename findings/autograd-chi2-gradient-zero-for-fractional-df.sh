#!/bin/sh
# Finding: HIPS autograd chi2.pdf and chi2.logpdf: the gradient by x is 0
#   when df is not whole.
#
# 1. A good guess: d logpdf / dx = (df/2 - 1) / x - 1/2 for every df > 0.
#   chi2 with a fractional df is a gamma law.
# 2. What happens: for df 1.3 or 4.5 the gradient is 0, with no warning.
#   For whole df it is right. cdf is right for both.
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
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import autograd.scipy.stats as st
from autograd import grad

for p in ("autograd", "numpy", "scipy"):
    print(p, version(p))
h = 1e-6
for df in (1.3, 3.0, 4.5, 5.0):
    for x in (0.4, 2.5):
        g = float(grad(lambda x: st.chi2.logpdf(x, df))(x))
        gp = float(grad(lambda x: st.chi2.pdf(x, df))(x))
        gc = float(grad(lambda x: st.chi2.cdf(x, df))(x))
        diff = (st.chi2.logpdf(x + h, df) - st.chi2.logpdf(x - h, df)) / (2 * h)
        diffp = (st.chi2.pdf(x + h, df) - st.chi2.pdf(x - h, df)) / (2 * h)
        true = (df / 2 - 1) / x - 0.5
        print(f"df={df} x={x}: logpdf: gradient {g:.6f}, true {true:.6f}, differences {diff:.6f}; "
              f"pdf: gradient {gp:.6f}, differences {diffp:.6f}")
        need(abs(diff - true) < 1e-6, "the differences are not the true slope")
        need(abs(gc - st.chi2.pdf(x, df)) < 1e-12, "the gradient of cdf is wrong now")
        if df % 1:
            need(g == 0 and gp == 0, "the gradient for a fractional df is not 0 any more")
        else:
            need(abs(g - true) < 1e-9 and abs(gp - diffp) < 1e-6, "a whole df is wrong now")
print("Seen as before.")
EOF
