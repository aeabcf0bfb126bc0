#!/bin/sh
# Finding: torch-xla on the CPU: F.celu has the alpha of its first call for
#   good.
#
# 1. A good guess: F.celu(x, 0.5) does not depend on what was called before.
# 2. What happens: after F.celu(x, 1.0) on a tensor of the same shape and dtype,
#   F.celu(x, 0.5) is that of alpha 1 again. F.elu has each its own alpha. No
#   warning. With the variable XLA_COMPILATION_CACHE_SIZE=0, which keeps no
#   compiled graph, it is right.
# 3. How the truth was found: celu is alpha (e^(x / alpha) - 1) for x < 0, by Python.
# 4. Date: 2026-12-01
set -eu
export OMP_NUM_THREADS=1 PJRT_DEVICE=CPU
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
for alpha in (1.0, 0.5, 2.0):
    x = torch.tensor([-1.5], dtype=torch.float64).to("xla")
    celu, elu = F.celu(x, alpha).item(), F.elu(x, alpha).item()
    true_celu, true_elu = alpha * math.expm1(-1.5 / alpha), alpha * math.expm1(-1.5)
    print(f"alpha {alpha}: celu(-1.5) {celu:.12f}, true {true_celu:.12f}; elu(-1.5) {elu:.12f}, true {true_elu:.12f}")
    need(abs(elu - true_elu) < 1e-12, "elu is wrong now")
    need(abs(celu - math.expm1(-1.5)) < 1e-12, "celu is not that of alpha 1 any more")
print("Seen as before.")
EOF
