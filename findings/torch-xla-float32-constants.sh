#!/bin/sh
# Finding: torch-xla on the CPU: in float64 gelu, log2, log10, threshold and
#   logit with eps have eight digits.
#
# 1. A good guess: in float64 all of them have sixteen digits, as exp, log and
#   tanh on the same device.
# 2. What happens: gelu(-1.5) is off by 5e-8 of itself, log10 and log2 by 2e-8,
#   F.threshold(x, 0.1, 0.1) returns 0.10000000149: the constant of the
#   formula, or the number that was handed in, was rounded to float32. exp,
#   log and tanh are right to 1e-15.
# 3. How the truth was found: the formulas by Python's math, in float64.
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

import torch
import torch.nn.functional as F
import torch_xla

print("torch", torch.__version__, "torch-xla", version("torch-xla"))
CASES = [
    ("gelu", -1.5, F.gelu, -0.75 * math.erfc(1.5 / math.sqrt(2)), True),
    ("log10", 0.3, torch.log10, math.log10(0.3), True),
    ("log2", 0.3, torch.log2, math.log2(0.3), True),
    ("threshold 0.1", -1.5, lambda x: F.threshold(x, 0.1, 0.1), 0.1, True),
    ("logit, eps 0.1", 0.01, lambda x: torch.logit(x, eps=0.1), -math.log(9), True),
    ("exp", -1.5, torch.exp, math.exp(-1.5), False),
    ("log", 0.3, torch.log, math.log(0.3), False),
    ("tanh", -1.5, torch.tanh, math.tanh(-1.5), False),
]
for name, p, f, true, is_coarse in CASES:
    got = f(torch.tensor([p], dtype=torch.float64).to("xla")).item()
    error = abs(got / true - 1)
    print(f"{name} of {p}: {got:.17g}, true {true:.17g}, relative error {error:.1e}")
    need((1e-10 < error < 1e-6) if is_coarse else error < 4e-15, f"{name} has changed")
print("Seen as before.")
EOF
