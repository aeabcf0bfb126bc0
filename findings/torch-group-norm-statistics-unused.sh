#!/bin/sh
# torch 2.13.0: native_group_norm drops the gradient of a statistic when the other is unused.
#
# A good guess: torch.native_group_norm returns out, mean and rstd, and all three are
# differentiable. A loss of out and rstd has both gradients, whether mean is used or not.
# What happens: the gradient through rstd is left out when mean is unused, and the other way
# round. Given a grad_out of zeros for mean, it is there again. No error, no warning.
# How the truth was found: central differences of the loss in float64, along one direction.
# Date: 2026-11-30
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"

cat > "$folder/finding.py" <<'PYTHON'
import sys

import torch

print("torch", torch.__version__)
torch.manual_seed(0)
x = torch.randn(1, 6, 3, dtype=torch.float64, requires_grad=True)
weight, bias = torch.randn(2, 6, dtype=torch.float64)
direction, step = torch.randn_like(x), 1e-5


def statistics(x):
    return torch.native_group_norm(x, weight, bias, 1, 6, 3, 2, 1e-5)


grads = [torch.randn_like(out) for out in statistics(x)]


def loss(x):
    out, mean, rstd = statistics(x)
    return (out * grads[0]).sum() + (rstd * grads[2]).sum()


def along(gradient):
    return float((gradient * direction).sum())


with torch.no_grad():
    true = float((loss(x + step * direction) - loss(x - step * direction)) / (2 * step))
unused = along(torch.autograd.grad(loss(x), x)[0])
zeros = [grads[0], torch.zeros_like(grads[1]), grads[2]]
given = along(torch.autograd.grad(statistics(x), x, zeros)[0])
print(f"central differences             {true:.6f}")
print(f"autograd, mean unused           {unused:.6f}")
print(f"autograd, zeros given for mean  {given:.6f}")
if abs(given - true) > 1e-6 or abs(unused - true) < 0.1:
    sys.exit("The behaviour has changed.")
PYTHON

"$folder/venv/bin/python" "$folder/finding.py"
