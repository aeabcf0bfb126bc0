#!/bin/sh
# Finding: astropy Drude1D: fit_deriv is not the derivative by x_0.
#
# 1. A good guess: fit_deriv of a model gives the derivatives of evaluate by
#   its parameters; a fitter takes them for its Jacobian.
# 2. What happens: by amplitude and fwhm it does. By x_0 it is wrong: by 7 %
#   at 0.4 x_0, by a factor of 4 at 2.5 x_0; at the peak, where the slope is
#   0, it is 2 amplitude / x_0. No warning.
# 3. How the truth was found: exact algebra (d = x/x_0 - x_0/x, f = a k^2 /
#   (d^2 + k^2) with k = fwhm/x_0) and central differences in float64. A
#   sweep over all models that have a fit_deriv found this one alone.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "astropy==8.0.2" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import numpy as np
from astropy.modeling.models import Drude1D

print("astropy", version("astropy"), " numpy", version("numpy"))
a, x0, fwhm = 1.5, 2.0, 0.7
x = np.array([0.8, 1.5, 2.0, 2.4, 5.0])
model = Drude1D(a, x0, fwhm)
got = np.array(model.fit_deriv(x, a, x0, fwhm))
h = 1e-6
diff = np.array([(model.evaluate(x, a + h, x0, fwhm) - model.evaluate(x, a - h, x0, fwhm)) / (2 * h),
                 (model.evaluate(x, a, x0 + h, fwhm) - model.evaluate(x, a, x0 - h, fwhm)) / (2 * h),
                 (model.evaluate(x, a, x0, fwhm + h) - model.evaluate(x, a, x0, fwhm - h)) / (2 * h)])
d, k = x / x0 - x0 / x, fwhm / x0
slope_d, slope_k = -x / x0**2 - 1 / x, -fwhm / x0**2
hand = a * (2 * k * slope_k * d**2 - 2 * k**2 * d * slope_d) / (d**2 + k**2) ** 2
for name, g, t in zip(model.param_names, got, diff):
    print(f"{name:9}: fit_deriv {np.round(g, 6).tolist()}, differences {np.round(t, 6).tolist()}")
print("x_0 by hand       ", np.round(hand, 6).tolist())
need(np.allclose(diff[1], hand, atol=1e-6), "the differences and the algebra differ")
need(np.allclose(got[[0, 2]], diff[[0, 2]], atol=1e-6), "the derivatives by amplitude and fwhm are wrong now")
need(np.abs(got[1] - hand).max() > 1, "the derivative by x_0 is right now")
need(abs(hand[2]) < 1e-12 and abs(got[1, 2] - 2 * a / x0) < 1e-9, "the slope at the peak is another one")
print("Seen as before.")
EOF
