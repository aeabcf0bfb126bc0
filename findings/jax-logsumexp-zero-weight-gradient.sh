#!/bin/sh
# Finding: jax.scipy.special.logsumexp: a weight that is 0 gets the gradient
#   0; optax's focal loss inherits it for hard labels.
#
# 1. A good guess: log(sum b exp(a)) has the derivative exp(a_i) / sum by
#   b_i, for b_i = 0 as for any other.
# 2. What happens: where b_i is 0 the gradient by it is 0, and jumps to the
#   right number at b_i = 1e-12. optax.losses.sigmoid_focal_loss takes
#   labels as such weights: its gradient by a label is wrong for the labels
#   0 and 1, and right for 0.001 and 0.999.
# 3. How the truth was found: exact algebra and central differences in
#   float64. jnp.log(jnp.sum(b * jnp.exp(a))) has the right gradient.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "jax==0.10.2" "jaxlib==0.10.2" "optax==0.2.8" "numpy==2.4.6" "scipy==1.17.1"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import logsumexp

for p in ("jax", "jaxlib", "optax"):
    print(p, version(p))
h = 1e-6


def differences(f, x):
    return np.array([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))])


a = np.array([0.3, -0.7, 1.2])
for b in (np.array([0.0, 1.0, 2.0]), np.array([1e-12, 1.0, 2.0])):
    got = np.asarray(jax.grad(lambda b: logsumexp(a, b=b))(b))
    plain = np.asarray(jax.grad(lambda b: jnp.log(jnp.sum(b * jnp.exp(a))))(b))
    true = np.exp(a) / (b * np.exp(a)).sum()
    diff = differences(lambda b: float(logsumexp(a, b=b)), b)
    print(f"weights {b.tolist()}: logsumexp {np.round(got, 6).tolist()}, written out {np.round(plain, 6).tolist()}, "
          f"differences {np.round(diff, 6).tolist()}, true {np.round(true, 6).tolist()}")
    need(np.allclose(diff, true, atol=1e-6) and np.allclose(plain, true), "the differences or the plain formula are wrong now")
    need(np.allclose(got[1:], true[1:]), "the gradient by the other weights is wrong now")
    need(got[0] == 0 if b[0] == 0 else np.isclose(got[0], true[0]), "the gradient by the first weight has changed")
logits = np.array([0.4, -0.9])
for labels in (np.array([1.0, 0.0]), np.array([0.999, 0.001])):
    got = np.asarray(jax.grad(lambda y: optax.losses.sigmoid_focal_loss(logits, y).sum())(labels))
    diff = differences(lambda y: float(optax.losses.sigmoid_focal_loss(logits, y).sum()), labels)
    print(f"focal loss by labels {labels.tolist()}: gradient {np.round(got, 6).tolist()}, differences {np.round(diff, 6).tolist()}")
    need(np.allclose(got, diff, atol=1e-5) == (labels[0] < 1), "the gradient by the labels has changed")
print("Seen as before.")
EOF
