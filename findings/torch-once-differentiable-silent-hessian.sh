#!/bin/sh
# Finding: torch once_differentiable: autograd.grad gives a wrong second
#   derivative where backward() raises.
#
# 1. A good guess: a Function marked once_differentiable raises an error
#   whenever a second derivative is asked for.
# 2. What happens: only backward() raises. autograd.grad by x returns a
#   number without the part through the marked backward: 3 x^2 in place of
#   12 x^2 for x * cube(x). functional.hessian gives all zeros for
#   sum(cube(x)), and the wrong number too for the product.
# 3. How the truth was found: exact algebra: x * x^3 has the second
#   derivative 12 x^2, x^3 has 6 x; central differences of the first
#   gradient agree.
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
from torch.autograd.function import once_differentiable

print("torch", torch.__version__)
D = torch.float64


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


def f(x):
    return (x * Cube.apply(x)).sum()


def first(x, keep=False):
    return torch.autograd.grad(f(x), x, create_graph=keep)[0]


p = torch.tensor([1.0, 2.0], dtype=D)
x = p.clone().requires_grad_()
g = first(x, keep=True)
(second,) = torch.autograd.grad(g.sum(), x, retain_graph=True)
h = 1e-6
diff = (first((p + h).requires_grad_()) - first((p - h).requires_grad_())) / (2 * h)
print("first derivative", g.tolist(), "true", (4 * p**3).tolist())
print("second derivative: autograd.grad", second.tolist(), "differences",
      [round(v, 6) for v in diff.tolist()], "true", (12 * p**2).tolist())
need(torch.equal(g.detach(), 4 * p**3), "the first derivative is wrong")
need((diff - 12 * p**2).abs().max() < 1e-5, "the differences are not 12 x^2")
need(torch.equal(second, 3 * p**2), "autograd.grad does not give 3 x^2 any more")
try:
    g.sum().backward()
    need(False, "backward() does not raise any more")
except RuntimeError as e:
    print("backward() raises:", e)
hess = torch.autograd.functional.hessian(f, p)
print("hessian of the product", hess.tolist(), "true diagonal", (12 * p**2).tolist())
need(torch.equal(hess, torch.diag(3 * p**2)), "hessian of the product has changed")
hess = torch.autograd.functional.hessian(lambda x: Cube.apply(x).sum(), p)
print("hessian of the sum    ", hess.tolist(), "true diagonal", (6 * p).tolist())
need(not hess.any(), "hessian of the sum is not all zeros any more")
print("Seen as before.")
EOF
