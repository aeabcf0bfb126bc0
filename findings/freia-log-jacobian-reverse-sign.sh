#!/bin/sh
# Finding: FrEIA LearnedElementwiseScaling gives the same log determinant in
#   both directions; InvertibleSigmoid of images returns a number for each
#   pixel.
#
# 1. A good guess: forward and reverse undo each other, so their log
#   determinants add up to 0, and both are that of the Jacobian, for vectors
#   and for images.
# 2. What happens: LearnedElementwiseScaling (GIN's scaling) has the right
#   one forward, and the same, not its negative, in reverse.
#   InvertibleSigmoid is right for vectors; for images of shape (2, 3, 4) it
#   adds up over the channels alone and returns 3 times 4 numbers in place
#   of one. A likelihood made of these is wrong; the values are right in
#   both directions.
# 3. How the truth was found: slogdet of the Jacobian by autograd, in
#   float64, in both directions; exact algebra for the sigmoid.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/pip" install --quiet --no-deps "FrEIA==0.2"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import torch
from FrEIA.modules import InvertibleSigmoid, LearnedElementwiseScaling

for p in ("torch", "FrEIA"):
    print(p, version(p))
torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
for cls in (LearnedElementwiseScaling, InvertibleSigmoid):
    for shape in ((6,), (2, 3, 4)):
        module = cls([shape])
        for p in module.parameters():
            p.data = 0.3 * torch.randn_like(p)
        x = torch.randn(1, *shape)
        (y,), forward = module([x], rev=False)
        (back,), reverse = module([y.detach()], rev=True)
        jacobian = torch.autograd.functional.jacobian(lambda v: module([v.reshape(1, *shape)], rev=False)[0][0].flatten(), x.flatten())
        true = torch.linalg.slogdet(jacobian)[1].item()
        if torch.as_tensor(forward).numel() > 1:
            print(f"{cls.__name__} {shape}: log determinant of shape {tuple(forward.shape)}, their sum {forward.sum():.6f}")
            need(forward.shape == (1, 3, 4) and abs(forward.sum() - true) < 1e-9, "the numbers have changed")
        forward, reverse = (torch.as_tensor(j).flatten()[0].item() for j in (forward, reverse))
        print(f"{cls.__name__} {shape}: (first) log determinant forward {forward:.6f}, reverse {reverse:.6f}, true {true:.6f} and {-true:.6f}")
        need((back - x).abs().max() < 1e-9, "reverse does not undo forward any more")
        if cls is LearnedElementwiseScaling:
            need(abs(forward - true) < 1e-9 and abs(reverse - true) < 1e-9, "the log determinant of the scaling has changed")
        else:
            hand = (torch.nn.functional.logsigmoid(x) + torch.nn.functional.logsigmoid(-x)).sum().item()
            need(abs(hand - true) < 1e-9, "autograd and the algebra differ")
            need(abs(forward + reverse) < 1e-9, "the two directions do not add up to 0 any more")
            need((abs(forward - true) < 1e-9) == (len(shape) == 1), "the log determinant of the sigmoid has changed")
print("Seen as before.")
EOF
