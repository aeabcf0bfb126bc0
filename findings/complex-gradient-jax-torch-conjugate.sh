#!/bin/sh
# Finding: jax.grad and torch give conjugate gradients at complex inputs;
#   a descent step with jax.grad goes uphill.
#
# 1. A good guess: z - step * gradient makes a real loss smaller, in JAX
#   as in torch.
# 2. What happens: jax.grad gives the conjugate of the torch gradient. For
#   abs(z - 1 - 1j)**2 at 1 - 3j the step with jax.grad makes the loss
#   larger; with its conjugate, or with the gradient of torch, the loss
#   falls.
# 3. How the truth was found: the loss is a function of two real numbers;
#   its real slopes are taken by central differences in float64. Both
#   conventions are legal; they just differ.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import torch

for p in ("jax", "jaxlib"):
    print(p, version(p))
print("torch", torch.__version__)
z0, step, h = 1 - 3j, 0.1, 1e-6


def loss(z):
    return abs(z - (1 + 1j)) ** 2


by_re = (loss(z0 + h) - loss(z0 - h)) / (2 * h)
by_im = (loss(z0 + 1j * h) - loss(z0 - 1j * h)) / (2 * h)
gj = complex(jax.grad(lambda z: jnp.abs(z - (1 + 1j)) ** 2)(jnp.complex128(z0)))
t = torch.tensor(z0, dtype=torch.complex128, requires_grad=True)
(gt,) = torch.autograd.grad((t - (1 + 1j)).abs() ** 2, t)
gt = gt.item()
print(f"slopes by differences: re {by_re:.6f}, im {by_im:.6f}")
print("jax.grad", gj, " torch", gt)
print("loss before", loss(z0), " after a step with jax.grad", loss(z0 - step * gj),
      " with its conjugate", loss(z0 - step * gj.conjugate()), " with torch", loss(z0 - step * gt))
need(abs(gt - (by_re + 1j * by_im)) < 1e-6, "torch has changed its convention")
need(abs(gj - (by_re - 1j * by_im)) < 1e-6, "JAX has changed its convention")
need(loss(z0 - step * gj) > loss(z0) > loss(z0 - step * gt), "the step with jax.grad falls now")
fj = complex(jax.grad(lambda z: jnp.imag(z * z))(jnp.complex128(1 + 2j)))
t = torch.tensor(1 + 2j, dtype=torch.complex128, requires_grad=True)
(ft,) = torch.autograd.grad((t * t).imag, t)
print("imag(z*z) at 1+2j: jax.grad", fj, " torch", ft.item())
need(fj == ft.item().conjugate() and fj.imag != 0, "the two are not conjugates any more")
print("Seen as before.")
EOF
