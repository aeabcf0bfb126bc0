"""JAX: a custom_vjp, any function, and a backward by hand, beside a twin of JAX's or torch's."""

import pytest
import torch
from torch import Tensor

from crosscheck import crosscheck

jax = pytest.importorskip("jax")
jnp = jax.numpy

WRONG = 1.001


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, W = normal(5, 3), normal(3, 2, seed=1)


def as_jax(*xs):
    return tuple(jnp.asarray(x.numpy()) for x in xs)


def layer(x, w):
    return jnp.tanh(x @ w)


def twin(x, w):
    return torch.tanh(x @ w)


def custom(factor):
    own = jax.custom_vjp(layer)

    def forward(x, w):
        out = layer(x, w)
        return out, (x, w, out)

    def backward(kept, grad_out):
        x, w, out = kept
        delta = grad_out * (1 - out**2)
        return delta @ w.T, factor * x.T @ delta

    own.defvjp(forward, backward)
    return own


@pytest.mark.parametrize(
    ("inputs", "other"),
    [(as_jax(X, W), twin), ((X, W), layer), ((X.numpy(), W.numpy()), jax.jit(layer))],
    ids=["jax, torch", "torch, jax", "numpy, jit"],
)
def test_a_custom_vjp(inputs, other):
    right, wrong = (crosscheck(custom(f), inputs=inputs, twin=other) for f in (1.0, WRONG))
    assert right.ok, str(right)
    assert {row.name for row in wrong.mismatches} == {"w"}
    assert {row.name for row in right.rows} == {"out", "x", "w"}
    assert torch.float64 in {row.dtype for row in right.rows}
    assert not jax.config.jax_enable_x64


def test_what_is_compiled_or_plain():
    assert crosscheck(jax.jit(custom(1.0)), inputs=(X, W), twin=twin).ok
    assert not crosscheck(jax.jit(custom(WRONG)), inputs=(X, W), twin=twin).ok
    assert crosscheck(lambda x, w: custom(1.0)(x, w), inputs=as_jax(X, W), twin=twin).ok
    assert not crosscheck(lambda x, w: custom(WRONG)(x, w), inputs=as_jax(X, W), twin=twin).ok
    with pytest.raises(TypeError, match="judged by its own backward"):
        crosscheck(custom(1.0), inputs=(X, W))


def test_a_backward_by_hand():
    def backward(grad_out, out, x, w, by=1.0):
        delta = grad_out * (1 - out**2)
        return delta @ w.T, by * x.T @ delta

    for options in ({}, {"twin": twin}):
        assert crosscheck(layer, backward, as_jax(X, W), **options).ok
        wrong = crosscheck(layer, lambda *a: backward(*a, by=WRONG), as_jax(X, W), **options)
        assert {row.name for row in wrong.mismatches} == {"w"}


def test_complex_numbers_are_torchs():
    """JAX's own gradient is the conjugate of torch's."""
    z = torch.randn(4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    assert crosscheck(jax.jit(lambda z: (z * z).imag.sum()), inputs=(z,), twin=lambda z: (z * z).imag.sum()).ok


def test_trees_and_options():
    def forward(p, scale=1.0):
        return {"out": p["x"] @ p["w"] * scale}

    report = crosscheck(
        jax.jit(forward), inputs=({"x": X, "w": W},), twin=lambda p, scale: {"out": p["x"] @ p["w"] * scale},
        options={"scale": 2.0}, names=("p",),
    )  # fmt: skip
    assert report.ok, str(report)
    assert {row.name for row in report.rows} == {"out['out']", "p['x']", "p['w']"}


def test_without_jax_its_extra_is_named(monkeypatch):
    monkeypatch.setattr("crosscheck.form.through_jax.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"^jax is not installed: pip install 'manual-bp\[jax\]'$"):
        crosscheck(custom(1.0), inputs=(X, W), twin=twin)


def test_its_arrays_are_in_float64_by_hand_too():
    def backward(grad_out, out, x, w):
        assert grad_out.dtype == x.dtype == out.dtype
        delta = grad_out * (1 - out**2)
        return (1 + 1e-6) * delta @ w.T, x.T @ delta

    assert not crosscheck(layer, backward, as_jax(X, W)).ok


def test_a_plain_function_takes_whatever_it_is_given():
    for inputs in ((X, W), (X.numpy(), W.numpy())):
        assert crosscheck(lambda x, w: custom(1.0)(x, w), inputs=inputs, twin=twin).ok
        assert not crosscheck(lambda x, w: custom(WRONG)(x, w), inputs=inputs, twin=twin).ok


def test_a_number_in_every_precision():
    report = crosscheck(jax.jit(jnp.sin), inputs=(jnp.array(0.7),), twin=torch.sin, names=["x"])
    assert report.ok
    assert {row.dtype for row in report.rows} == {torch.float64, torch.float32, torch.bfloat16, torch.float16}
    assert report.notes == ()


def test_keys_of_random_numbers_are_handed_through():
    def forward(x, key):
        return x * jax.random.uniform(key, x.shape, jnp.float32).astype(x.dtype)

    key = jax.random.key(0)
    draw = torch.from_dlpack(jax.random.uniform(key, (5, 3), jnp.float32)).clone()
    assert crosscheck(jax.jit(forward), inputs=(X, key), twin=lambda x, key: x * draw.to(x.dtype)).ok
