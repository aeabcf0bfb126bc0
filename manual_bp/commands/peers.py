"""The same training step as others take it: what `manual-bp bench` measures, each in a process of its own."""

import ctypes
import importlib.util
import logging
import os
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from manual_bp._checks import first_line
from manual_bp.in_place import captured
from manual_bp.network import Network

ETA = 0.1

Run = Callable[[int], None]  # so many steps


class Peer(NamedTuple):
    """What makes steps on a model of these sizes with such batches: a network of sigmoids with the cross entropy."""

    make: Callable[[Any, int, torch.device], Run]
    needs: str = "torch"  # the package
    devices: tuple[str, ...] = ("cpu",)
    least: tuple[Any, int] = ([2, 2, 2], 1)  # sizes and samples, on which the libraries get ready


def batch(sizes: Sequence[int], samples: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs, and targets 0 or 1, for there are peers that take no others."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, sizes[0], generator=generator)
    z = torch.randint(2, (samples, sizes[-1]), generator=generator).float()
    return x.to(device), z.to(device)


def repeated(step: Callable[[], object], device: torch.device) -> Run:
    """Steps, and what waits for the last of them."""

    def run(steps: int) -> None:
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def by_hand(sizes: Sequence[int], samples: int, device: torch.device) -> Run:
    net = Network.random(sizes, device=device)
    x, z = batch(sizes, samples, device)
    return repeated(lambda: net.step(x, z, ETA), device)


def by_hand_in_a_graph(sizes: Sequence[int], samples: int, device: torch.device) -> Run:
    net = Network.random(sizes, device=device)
    x, z = batch(sizes, samples, device)
    step = net._graph(x, z, ETA, torch.zeros((), device=device))
    return repeated(lambda: step(x, z), device)


def _module(sizes: Sequence[int], samples: int, device: torch.device) -> tuple[nn.Sequential, Callable[..., Tensor]]:
    *parts, _ = (part for layer in pairwise(sizes) for part in (nn.Linear(*layer), nn.Sigmoid()))
    module = nn.Sequential(*parts).to(device)

    def cost(x: Tensor, z: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(module(x), z, reduction="sum") / samples

    return module, cost


def by_autograd(sizes: Sequence[int], samples: int, device: torch.device, compiled: bool = False) -> Run:
    module, cost = _module(sizes, samples, device)
    optimizer = torch.optim.SGD(module.parameters(), lr=ETA)
    x, z = batch(sizes, samples, device)
    update = optimizer.step
    if compiled:
        logging.getLogger("torch").setLevel(logging.ERROR)  # it tells what of the optimizer it does not compile
        cost, update = torch.compile(cost), torch.compile(update)

    def step() -> None:
        optimizer.zero_grad()
        cost(x, z).backward()
        update()

    return repeated(step, device)


def by_autograd_compiled(sizes: Sequence[int], samples: int, device: torch.device) -> Run:
    return by_autograd(sizes, samples, device, compiled=True)


def by_autograd_in_a_graph(sizes: Sequence[int], samples: int, device: torch.device) -> Run:
    module, cost = _module(sizes, samples, device)
    optimizer = torch.optim.SGD(module.parameters(), lr=ETA)
    x, z = batch(sizes, samples, device)
    static_x, static_z = x.clone(), z.clone()

    def step() -> None:
        optimizer.zero_grad()  # to None: so the gradients, too, lie in the graph's memory
        cost(static_x, static_z).backward()
        optimizer.step()

    graph = captured(step, device)

    def replay() -> None:
        static_x.copy_(x)
        static_z.copy_(z)
        graph.replay()

    return repeated(replay, device)


def _arrays(sizes: Sequence[int], samples: int) -> tuple[list[tuple[Any, Any]], Any, Any]:
    net = Network.random(sizes)
    x, z = batch(sizes, samples, torch.device("cpu"))
    params = [(w.numpy(), b.numpy()) for w, b in zip(net.weights, net.biases, strict=True)]
    return params, x.numpy(), z.numpy()


def by_jax(sizes: Sequence[int], samples: int, device: torch.device) -> Run:
    import jax
    import jax.numpy as jnp

    def cost(params: Any, x: Any, z: Any) -> Any:
        a = x
        for w, b in params:
            n_in = a @ w.T + b
            a = jax.nn.sigmoid(n_in)
        return (jax.nn.softplus(n_in) - z * n_in).sum() / samples

    def step(params: Any, x: Any, z: Any, eta: Any) -> Any:
        J, gradients = jax.value_and_grad(cost)(params, x, z)
        return jax.tree.map(lambda p, g: p - eta * g, params, gradients), J

    arrays, x, z = _arrays(sizes, samples)
    params: Any = [jax.tree.map(jnp.asarray, arrays.pop(0)) for _ in sizes[1:]]  # so they are never there twice
    x, z = jnp.asarray(x), jnp.asarray(z)
    eta = jnp.float32(ETA)
    compiled = jax.jit(step, donate_argnums=0)

    def run(steps: int) -> None:
        nonlocal params
        for _ in range(steps):
            params, _ = compiled(params, x, z, eta)
        jax.block_until_ready(params)

    return run


def by_numpy(sizes: Sequence[int], samples: int, device: torch.device) -> Run:
    params, x, z = _arrays(sizes, samples)
    rate = np.float32(ETA / samples)

    def step() -> None:
        a = [x]
        for w, b in params:
            a.append(1 / (1 + np.exp(-(a[-1] @ w.T + b))))
        delta = a.pop() - z
        for w, b in reversed(params):
            below = a.pop()
            gradient, delta_b = delta.T @ below, delta.sum(0)
            delta = delta @ w * below * (1 - below) if a else delta
            w -= rate * gradient
            b -= rate * delta_b

    def run(steps: int) -> None:
        with np.errstate(over="ignore"):  # of the exponential, where σ rounds to 0
            repeated(step, device)(steps)

    return run


def by_sklearn(sizes: Sequence[int], samples: int, device: torch.device) -> Run:
    from sklearn.neural_network import MLPClassifier

    _, x, z = _arrays(sizes, samples)
    net = MLPClassifier(
        sizes[1:-1], activation="logistic", solver="sgd", alpha=0, batch_size=samples, learning_rate_init=ETA,
        momentum=0, nesterovs_momentum=False,
    )  # fmt: skip
    classes = np.arange(sizes[-1])
    return repeated(lambda: net.partial_fit(x, z.astype(int), classes=classes), device)


def products_alone(sizes: Sequence[int], samples: int, device: torch.device) -> Run:
    """The floor: the matrix products of a step, and nothing else."""
    net = Network.random(sizes, device=device)
    x, _ = batch(sizes, samples, device)
    a = [x, *(torch.randn(samples, n, device=device) for n in sizes[1:])]
    out = [torch.empty_like(a_l) for a_l in a]
    weights, gradients = net.weights, [torch.empty_like(w) for w in net.weights]

    def step() -> None:
        for layer, w in enumerate(weights):
            torch.mm(a[layer], w.T, out=out[layer + 1])
        for layer in reversed(range(len(weights))):
            torch.mm(a[layer + 1].T, a[layer], out=gradients[layer])
            if layer:
                torch.mm(a[layer + 1], weights[layer], out=out[layer])

    return repeated(step, device)


PEERS: dict[str, Peer] = {
    "manual-bp": Peer(by_hand, devices=("cpu", "cuda")),
    "manual-bp, CUDA graph": Peer(by_hand_in_a_graph, devices=("cuda",)),
    "autograd + SGD": Peer(by_autograd, devices=("cpu", "cuda")),
    "autograd + SGD, compiled": Peer(by_autograd_compiled, devices=("cpu", "cuda")),
    "autograd + SGD, CUDA graph": Peer(by_autograd_in_a_graph, devices=("cuda",)),
    "JAX, jit": Peer(by_jax, needs="jax"),
    "scikit-learn": Peer(by_sklearn, needs="sklearn"),
    "NumPy by hand": Peer(by_numpy),
    "matrix products alone": Peer(products_alone, devices=("cpu", "cuda")),
}


def missing(peer: Peer, device: torch.device) -> str:
    """Why a peer cannot be measured, nothing where it can."""
    if device.type not in peer.devices:
        return f"it is for {' and '.join(peer.devices)}"
    return "" if importlib.util.find_spec(peer.needs) else f"{peer.needs} is not installed"


def work(connection: Connection, peer: Peer, device: torch.device) -> None:
    """A process of its own: answers each setting with its memory, and each number of steps with their seconds.

    The memory is the most that is held at once from the making of the model on, in five steps.

    Where a peer does not run here, the answer is why.
    """
    run: Run = _nothing
    while True:
        try:
            message = connection.recv()
        except EOFError:  # whom it worked for has gone
            return
        try:
            if isinstance(message, int):
                run(1 + message // 10)  # back from sleep
                started = time.perf_counter()
                run(message)
                connection.send(time.perf_counter() - started)
            else:
                run = _nothing
                peer.make(*peer.least, device)(3)  # what the libraries allocate for themselves, once
                _forget_peak(device)
                rest = _resident(device)
                sizes, samples = message
                run = peer.make(sizes, samples, device)
                run(5)
                connection.send(_peak(device) - rest)
        except Exception as error:
            connection.send(f"{type(error).__name__}: {first_line(error)}")


def _nothing(steps: int) -> None:
    """The steps of no setting."""


def _resident(device: torch.device) -> float:
    """The memory held now, in bytes."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.exists() else float("nan")


def _forget_peak(device: torch.device) -> None:
    """Have the peak counted anew, without what has been freed since and is kept for later."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (peak := Path("/proc/self/clear_refs")).exists():
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
        if trim:
            trim(0)
        peak.write_text("5")


def _peak(device: torch.device) -> float:
    """The most memory that was held at once since, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
