#!/bin/sh
# Finding: memcnn AffineCoupling: the memory-saving ways give a wrong
#   gradient by the input.
#
# 1. A good guess: all three implementations of one coupling give one
#   gradient. They save memory in different ways, but the function is the
#   same.
# 2. What happens: forward way 1 gives a wrong gradient by x, while the
#   values and all gradients by weights are right. Inverse ways 0 and 1
#   give a wrong gradient by y. Way -1 (plain autograd) is right in both
#   directions. In a stack of couplings the wrong input gradient would
#   reach the weights of the earlier ones.
# 3. How the truth was found: central differences in float64 along a
#   random direction, and the plain way -1. These two agree.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/pip" install --quiet --no-deps "memcnn==1.5.2"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import warnings

warnings.simplefilter("ignore")
import torch
from memcnn.models.affine import AffineAdapterNaive, AffineCoupling

for p in ("torch", "memcnn"):
    print(p, version(p))
D = torch.float64
torch.manual_seed(0)


def block():
    return torch.nn.Sequential(torch.nn.Conv1d(2, 2, 3, padding=1), torch.nn.Tanh()).to(D)


F, G = block(), block()
x = torch.randn(2, 4, 5, dtype=D)
w = torch.randn(2, 4, 5, dtype=D)
way_x = torch.randn(2, 4, 5, dtype=D)
params = list(F.parameters()) + list(G.parameters())
plain = {}
bad = {}
for name in ("forward", "inverse"):
    for way in (-1, 0, 1):
        # The class keeps the two blocks that it is given; adapters are new.
        m = AffineCoupling(F, G, adapter=AffineAdapterNaive,
                           implementation_fwd=way, implementation_bwd=way)
        run = m.forward if name == "forward" else m.inverse
        # Some ways empty their input, so each call gets its own copy.
        a = x.clone().requires_grad_()
        y = run(a)
        val = y.detach().clone()
        grads = torch.autograd.grad((y * w).sum(), [a] + params)
        h = 1e-6
        with torch.no_grad():
            up = run((x + h * way_x).clone())
            down = run((x - h * way_x).clone())
        diff = (((up - down) * w).sum() / (2 * h)).item()
        got = (grads[0] * way_x).sum().item()
        if way == -1:
            plain[name] = (val, grads)
        pv, pg = plain[name]
        dv = (val - pv).abs().max().item()
        dw = max((p - q).abs().max().item() for p, q in zip(grads[1:], pg[1:]))
        dx = (grads[0] - pg[0]).abs().max().item()
        print(f"{name} way {way:2d}: slope by autograd {got:.8f}, by differences {diff:.8f}; "
              f"off from way -1: values {dv:.1e}, weight gradients {dw:.1e}, input gradient {dx:.1e}")
        need(dv < 1e-12, "the values differ")
        need(dw < 1e-10, "the gradients by weights differ")
        need(abs(diff - (pg[0] * way_x).sum().item()) < 1e-6, "differences and way -1 do not agree")
        bad[name, way] = dx > 1e-2
print("wrong:", [k for k in bad if bad[k]])
need(bad["forward", 1], "forward way 1 is right now")
need(not bad["forward", 0], "forward way 0 is wrong now")
need(bad["inverse", 0] and bad["inverse", 1], "an inverse way is right now")
print("Seen as before.")
EOF
