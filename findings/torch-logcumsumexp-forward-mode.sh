#!/bin/sh
# Finding: torch logcumsumexp: forward mode loses the gradient when the
#   values spread by 40 or more.
#
# 1. A good guess: forward and reverse mode agree. The first output is
#   just x[0], so its derivative by x[0] is 1.
# 2. What happens: reverse mode gives 1, forward mode gives 1.6e-5 for x =
#   [-40, 0, 1, -3] in float64, and 0 for -800. With one late large value,
#   [0, 1, -3, 50], the first three rows are all nearly 0. float32 has the
#   same trouble with [0, 1, -3, 40].
# 3. How the truth was found: exact algebra: row k of the Jacobian is the
#   softmax of the first k values, so each row sums to 1. Central
#   differences agree.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import torch

print("torch", torch.__version__)
f = lambda x: torch.logcumsumexp(x, 0)
torch.set_printoptions(precision=6, linewidth=120, sci_mode=False)


def exact(x):
    out = torch.zeros(len(x), len(x), dtype=x.dtype)
    for k in range(len(x)):
        out[k, : k + 1] = torch.softmax(x[: k + 1], 0)
    return out


def differences(x, h=1e-5):
    cols = []
    for k in range(len(x)):
        e = torch.zeros_like(x)
        e[k] = h
        cols.append((f(x + e) - f(x - e)) / (2 * h))
    return torch.stack(cols, 1)


cases = (
    ([0.5, 0.0, 1.0, -3.0], torch.float64, False),
    ([-40.0, 0.0, 1.0, -3.0], torch.float64, True),
    ([-800.0, 0.0, 1.0, -3.0], torch.float64, True),
    ([0.0, 1.0, -3.0, 50.0], torch.float64, True),
    ([0.0, 1.0, -3.0, 40.0], torch.float32, True),
)
for vals, dtype, wrong in cases:
    x = torch.tensor(vals, dtype=dtype)
    fwd = torch.func.jacfwd(f)(x)
    rev = torch.func.jacrev(f)(x)
    true = exact(x)
    tol = 1e-5 if dtype == torch.float32 else 1e-9
    if dtype == torch.float64:
        need((differences(x) - true).abs().max() < 1e-6, "the differences are not the softmax")
    print(f"{dtype} {vals}: sums of rows: forward {fwd.sum(1).tolist()}, reverse {rev.sum(1).tolist()}")
    need((rev - true).abs().max() < tol, "reverse mode is wrong now")
    if wrong:
        need((fwd - true).abs().max() > 0.9, "forward mode is right now")
    else:
        need((fwd - true).abs().max() < tol, "forward mode is wrong for close values now")
print("Seen as before.")
EOF
