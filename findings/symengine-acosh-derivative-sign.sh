#!/bin/sh
# Finding: symengine: the derivative of acosh(x) has the wrong sign left of
#   the imaginary axis.
#
# 1. A good guess: symengine gives the derivative that sympy gives, which it
#   replaces for speed: 1 / (sqrt(x - 1) sqrt(x + 1)).
# 2. What happens: it is 1 / sqrt(x^2 - 1). For a positive real part that is
#   the same; for a negative one it is the negative of it: at -1.7, and at
#   -0.5 + 1j. The values of acosh agree in both.
# 3. How the truth was found: differences of acosh by mpmath with 30 digits,
#   and sympy's derivative.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "symengine==0.15.0" "sympy==1.14.0" "mpmath==1.3.0"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import mpmath as mp
import symengine
import sympy

for p in ("symengine", "sympy", "mpmath"):
    print(p, version(p))
mp.mp.dps = 30
x, z = symengine.Symbol("x"), sympy.Symbol("x")
fast = sympy.lambdify(z, sympy.sympify(symengine.acosh(x).diff(x)), "mpmath")
slow = sympy.lambdify(z, sympy.acosh(z).diff(z), "mpmath")
print("symengine:", symengine.acosh(x).diff(x), "  sympy:", sympy.acosh(z).diff(z))
h = mp.mpf(10) ** -10
for at in (mp.mpf("1.7"), mp.mpc("0.5", "1"), mp.mpc("-0.5", "1"), mp.mpf("-1.7")):
    diff = (mp.acosh(at + h) - mp.acosh(at - h)) / (2 * h)
    print(f"at {mp.nstr(at, 3)}: symengine {mp.nstr(fast(at), 8)}, sympy {mp.nstr(slow(at), 8)}, differences {mp.nstr(diff, 8)}")
    value = complex(symengine.acosh(symengine.sympify(complex(at))))
    need(abs(value - complex(mp.acosh(at))) < 1e-12, "the value of acosh is another one now")
    need(abs(slow(at) - diff) < 1e-15, "sympy is wrong now")
    need(abs(fast(at) - (diff if mp.re(at) > 0 else -diff)) < 1e-15, "the derivative of symengine has changed")
print("Seen as before.")
EOF
