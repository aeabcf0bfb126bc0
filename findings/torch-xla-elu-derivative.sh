#!/bin/sh
# Finding: torch-xla on the CPU: the derivative of F.elu is x + 1 for x < 0.
#
# 1. A good guess: the derivative of elu for x < 0 is e^x, in every dtype to
#   its rounding, as on the CPU without XLA.
# 2. What happens: the value is exact, the derivative is x + 1: negative below
#   -1, where the function rises, and -2 at -3. So for F.celu; for F.selu it
#   is x + 1.7581 in the place of 1.7581 e^x. No warning for elu and celu. It
#   looks as if the rule for the result were given the input.
# 3. How the truth was found: e^x by Python, and central differences of the
#   value on the same device.
# 4. Date: 2026-12-01
set -eu
export OMP_NUM_THREADS=1 PJRT_DEVICE=CPU XLA_COMPILATION_CACHE_SIZE=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.9.0" "torch-xla==2.9.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import math
import warnings

import torch
import torch.nn.functional as F
import torch_xla

warnings.simplefilter("ignore")  # of selu alone
print("torch", torch.__version__, "torch-xla", version("torch-xla"))
SCALE_OF_SELU = 1.7580993408473766
for p in (-3.0, -1.5, -0.5):
    x = torch.tensor([p, p - 1e-6, p + 1e-6], dtype=torch.float64).to("xla").requires_grad_()
    for f, scale in ((F.elu, 1.0), (F.celu, 1.0), (F.selu, SCALE_OF_SELU)):
        y = f(x)
        got = torch.autograd.grad(y.sum(), x)[0][0].item()
        low, high = y[1].item(), y[2].item()
        true, diff = scale * math.exp(p), (high - low) / 2e-6
        print(f"{f.__name__}, x={p}: derivative {got:.9f}, true {true:.9f}, differences {diff:.9f}")
        need(abs(diff - true) < 1e-6, "the value is wrong now")
        need(abs(got - (p + scale)) < 1e-6, "the derivative has changed")
print("Seen as before.")
EOF
