#!/bin/sh
# Finding: snntorch surrogates: the slopes at the threshold are not what
#   name or docs suggest.
#
# 1. A good guess: atan has the slope 1/pi at 0 (the docs give 1/pi times
#   1/(1 + ...)). The triangular one is a triangle: never negative,
#   largest at 0. All are largest at 0, where the step is.
# 2. What happens: atan(alpha=2) has the slope 1 at 0, and alpha/2 in
#   general. triangular gives +1 below and -1 above the threshold, so a
#   rising step has a falling slope. spike_rate_escape is largest at 1,
#   not at 0, and grows from 0 on. sigmoid(25) has slope 6.25,
#   fast_sigmoid(25) has 1.
# 3. How the truth was found: the slopes are read off in float64 and
#   compared with the derivative of arctan(pi u alpha / 2) / pi by central
#   differences.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/pip" install --quiet --no-deps "snntorch==1.0.0"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import math
import warnings

warnings.simplefilter("ignore")
import snntorch.surrogate as s
import torch

print("torch", torch.__version__, " snntorch", version("snntorch"))
D = torch.float64
at = [-1.0, -0.5, 0.0, 0.5, 1.0, 1.5]


def slopes(f):
    x = torch.tensor(at, dtype=D, requires_grad=True)
    return torch.autograd.grad(f(x).sum(), x)[0].tolist()


got = {"atan(2)": slopes(s.atan(alpha=2.0)), "atan(4)": slopes(s.atan(alpha=4.0)),
       "triangular": slopes(s.triangular()), "spike_rate_escape": slopes(s.spike_rate_escape()),
       "sigmoid(25)": slopes(s.sigmoid(slope=25)), "fast_sigmoid(25)": slopes(s.fast_sigmoid(slope=25))}
print("u", at)
for k, v in got.items():
    print(k, [round(q, 6) for q in v])
h = 1e-6
smooth = lambda u, a: math.atan(math.pi * u * a / 2) / math.pi
for a in (2.0, 4.0):
    v = got[f"atan({a:.0f})"]
    diff = [(smooth(u + h, a) - smooth(u - h, a)) / (2 * h) for u in at]
    print(f"differences of the smooth curve, alpha {a}:", [round(q, 6) for q in diff], " 1/pi =", 1 / math.pi)
    need(max(abs(p - q) for p, q in zip(v, diff)) < 1e-6, "atan is not the slope of the curve any more")
    need(abs(v[2] - a / 2) < 1e-9, "the slope of atan at 0 is not alpha/2 any more")
need(got["triangular"] == [1, 1, -1, -1, -1, -1], "triangular has changed")
v = got["spike_rate_escape"]
need(v.index(max(v)) == 4, "spike_rate_escape is not largest at 1 any more")
need(abs(got["sigmoid(25)"][2] - 6.25) < 1e-9 and got["fast_sigmoid(25)"][2] == 1, "a slope at 0 has changed")
print("Seen as before.")
EOF
