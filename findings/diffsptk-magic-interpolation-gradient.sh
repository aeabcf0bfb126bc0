#!/bin/sh
# Finding: diffsptk MagicNumberInterpolation: the gradient ignores the
#   interpolation.
#
# 1. A good guess: a gap is filled by the line between its neighbours, so
#   the gradient of a filled place flows to these neighbours.
# 2. What happens: the backward is a mask: kept places get their own
#   gradient, filled places pass nothing on. This is a choice of the
#   authors, but the gradient is not that of the values.
# 3. How the truth was found: central differences in float64 of the places
#   that are not gaps (these keep the same gaps), and the interpolation
#   weights by hand.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/pip" install --quiet --no-deps "diffsptk==4.0.1"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import importlib
import importlib.util
import os
import types

import torch

# Load one module only; the whole package needs heavy packages.
# An empty module stands for the one audio package that is imported but not used here.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")
root = os.path.dirname(importlib.util.find_spec("diffsptk").origin)
for name, path in (("diffsptk", root), ("diffsptk.modules", os.path.join(root, "modules")),
                   ("diffsptk.utils", os.path.join(root, "utils"))):
    mod = types.ModuleType(name)
    mod.__path__ = [path]
    sys.modules[name] = mod
Magic = importlib.import_module("diffsptk.modules.magic_intpl").MagicNumberInterpolation

print("torch", torch.__version__, " diffsptk", version("diffsptk"))
D = torch.float64
f = Magic(0)
x = torch.tensor([0.0, 1, 2, 0, 4, 0, 3], dtype=D)
w = torch.tensor([1.0, 2, 3, 4, 5, 6, 7], dtype=D)
a = x.clone().requires_grad_()
y = f(a)
(g,) = torch.autograd.grad((y * w).sum(), a)
diff = torch.zeros_like(x)
for k in range(7):
    if x[k] != 0:
        e = torch.zeros_like(x)
        e[k] = 1e-6
        diff[k] = ((f(x + e) - f(x - e)) * w).sum() / 2e-6
hand = torch.tensor([0, 1 + 2, 3 + 4 / 2, 0, 4 / 2 + 5 + 6 / 2, 0, 6 / 2 + 7], dtype=D)
print("input      ", x.tolist())
print("output     ", y.tolist())
print("gradient   ", g.tolist())
print("differences", [round(v, 6) for v in diff.tolist()])
print("by hand    ", hand.tolist())
need(y.tolist() == [1, 1, 2, 3, 4, 3.5, 3], "the values have changed")
need((diff - hand).abs().max() < 1e-6, "the differences and the weights by hand differ")
need(torch.equal(g, w * (x != 0)), "the backward is not the mask any more")
print("Seen as before.")
EOF
