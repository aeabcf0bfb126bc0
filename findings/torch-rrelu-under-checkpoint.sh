#!/bin/sh
# torch 2.13.0: the gradient of rrelu in training is no slope of it under checkpoint.
#
# A good guess: torch.utils.checkpoint(use_reentrant=False) keeps the random state, so that the
# gradient of F.rrelu(x, training=True) is the same as without it: the slopes that the forward
# drew, between lower and upper, and 1 for positive numbers.
# What happens: the values are the same, and the gradients are other numbers altogether, also
# for the positive elements, where it is 1. No error, no warning.
# How the truth was found: rrelu is linear by pieces, so out / x is its slope; without checkpoint
# autograd gives just that.
# Date: 2026-11-30
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"

cat > "$folder/finding.py" <<'PYTHON'
import sys

import torch
from torch.utils.checkpoint import checkpoint

print("torch", torch.__version__)
x = torch.linspace(-2, 2, 6, dtype=torch.float64, requires_grad=True)


def rrelu(x):
    return torch.nn.functional.rrelu(x, 0.1, 0.9, training=True)


def gradient(function):
    torch.manual_seed(0)
    out = function(x)
    return out.detach(), torch.autograd.grad(out.sum(), x)[0]


out, plain = gradient(rrelu)
out_again, under = gradient(lambda x: checkpoint(rrelu, x, use_reentrant=False))
print("out / x          ", [f"{v:.3g}" for v in (out / x.detach()).tolist()])
print("without checkpoint", [f"{v:.3g}" for v in plain.tolist()])
print("under checkpoint  ", [f"{v:.3g}" for v in under.tolist()])
is_right = torch.allclose(plain, out / x.detach())
if not is_right or not torch.equal(out, out_again) or torch.allclose(under, plain):
    sys.exit("The behaviour has changed.")
PYTHON

"$folder/venv/bin/python" "$folder/finding.py"
