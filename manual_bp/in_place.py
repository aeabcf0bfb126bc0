"""A training step in place: `forward`, `backward` and `update` of a network, without a graph and without new memory.

The derivation is in manual_bp/network.py, and the tests hold each form of the step here to it. What is done otherwise:

- Gradient and update are one, W ← W − η/N · Δ(in)ᵀ A, or follow each other block by block: no gradient is kept.
  Therefore W carries the deltas down *before* it is updated.
- Deltas lie over activations: when A^l has served the update of the layer above, Δ^l takes its place.
- The 1/N of the mean and η wait until the update, for every delta is linear in them.
- The cost is computed only for who asks for it: no derivative needs its value.

Shapes are in brackets, [] that of a single number: N samples, n_l neurons in layer l, n₀ inputs, n_L outputs. "Each"
is every tensor of a list.

There are two forms, for the two things that a step's time is spent on: `Calls` and `Products`.
"""

from collections.abc import Callable, Sequence
from contextvars import copy_context
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d

from manual_bp.rules import (
    Identity,
    ReLU,
    Rule,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
    Tanh,
)
from manual_bp.rules.losses import Loss

# A product of up to so many multiplications NumPy computes on the thread that calls. With more its threads start, and
# they and torch's, each waiting busily for its own, take the cores from each other.
SMALL = 2**18

# A fused update adds sample after sample onto W, and every addition rounds W, by a roundoff at most, often to the same
# side. Up to so many samples it is as accurate as the judge demands, and there it also saves most.
FUSED = 16
BLOCK = 2**22  # elements of the gradient that are computed before they are subtracted

# Of so many multiplications oneDNN computes a product faster than MKL: on an AMD EPYC by a fifth. A product reaches it
# as a convolution of size 1, where the samples are the pixels of one picture, and what is known of each its channels.
LARGE = 2**28

Parameters = tuple[tuple[Tensor, ...], tuple[Tensor, ...]]  # [n_l, n_(l−1)] each, [n_l] each


def affine(a: Tensor, w: Tensor, b: Tensor, out: Tensor) -> None:
    """Z ← A Wᵀ + b: out [N, n_l] from a [N, n_(l−1)], w [n_l, n_(l−1)] and b [n_l]."""
    if by_onednn(a, w):
        out.copy_(from_pixels(conv2d(pixels(a), w[:, :, None, None], b)))  # w [n_l, n_(l−1), 1, 1]
    else:
        torch.addmm(b, a, w.T, out=out)


def product(a: Tensor, v: Tensor, out: Tensor) -> Tensor:
    """A V [m, n] of a [m, k] and v [k, n], in `out` [m, n] or in memory of its own."""
    if by_onednn(a, v):
        return from_pixels(conv_transpose2d(pixels(a.contiguous()), v[:, :, None, None]))  # v [k, n, 1, 1]
    return torch.mm(a, v, out=out)


def by_onednn(a: Tensor, w: Tensor) -> bool:
    """Whether the product of a [m, k] and w [n, k] or [k, n] is oneDNN's; on one thread torch convolves without it."""
    large = len(a) * w.numel() >= LARGE and a.dtype == torch.float32 and a.device.type == "cpu"
    return large and torch.backends.mkldnn.is_available() and torch.get_num_threads() > 1


def pixels(a: Tensor) -> Tensor:
    """[N, n] as a picture [1, n, 1, N], whose channels are next to each other in memory."""
    return a[None, None].movedim(-1, 1)


def from_pixels(picture: Tensor) -> Tensor:
    """[1, n, 1, N] as [N, n]."""
    return picture.movedim(1, -1)[0, 0]


def activation(f: type[Rule], a: Tensor) -> Callable[[], object]:
    """A ← f(A), a [N, n_l]."""
    return {Sigmoid: a.sigmoid_, Tanh: a.tanh_, ReLU: a.relu_, Identity: a.detach}[f]


def derivative(f: type[Rule], a: Tensor, delta_out: Tensor) -> Callable[[], object]:
    """A ← Δ(in) = f′(Z) ⊙ Δ(out), where A = f(Z); a and delta_out [N, n_l]."""
    one = a.new_ones(())  # []

    def sigmoid() -> None:
        a.addcmul_(a, a, value=-1).mul_(delta_out)  # a − a² = a (1 − a)

    def tanh() -> None:
        torch.addcmul(one, a, a, value=-1, out=a).mul_(delta_out)

    def relu() -> None:
        a.sign_().mul_(delta_out)  # a ≥ 0, so its sign is 1 where z > 0, else 0

    def identity() -> None:
        a.copy_(delta_out)

    return {Sigmoid: sigmoid, Tanh: tanh, ReLU: relu, Identity: identity}[f]


def numpy_derivative(f: type[Rule], a_: Tensor, delta_out_: Tensor) -> Callable[[], object]:
    """The same by NumPy, a call of which costs less than half."""
    a, delta_out = a_.numpy(), delta_out_.numpy()  # [N, n_l]
    one = np.ones((), a.dtype)  # []; a Python number would be converted at each call

    def sigmoid() -> None:
        np.multiply(delta_out, a, delta_out)
        np.subtract(one, a, a)
        np.multiply(a, delta_out, a)

    def tanh() -> None:
        np.multiply(a, a, a)
        np.subtract(one, a, a)
        np.multiply(a, delta_out, a)

    def relu() -> None:
        np.greater(a, 0, a)
        np.multiply(a, delta_out, a)

    def identity() -> None:
        np.copyto(a, delta_out)

    return {Sigmoid: sigmoid, Tanh: tanh, ReLU: relu, Identity: identity}[f]


def output(cost: type[Loss], f: type[Rule], a: Tensor, memory: Tensor) -> Callable[[Tensor, Tensor | None], None]:
    """A ← N Δ(in) of the output layer, where A = Z; adds the cost of the batch, summed over its samples, to J.

    a, memory [N, n_L]; the result takes the targets z, [N, n_L] or class indices [N], and J [] or None. One sample's z
    comes without the N.
    """
    activate, derive, subtract = activation(f, a), derivative(f, a, memory), a.sub_
    minus_one = -a.new_ones(()).expand(len(a), 1)  # [N, 1]

    def add_cost(z: Tensor, J: Tensor) -> None:
        J.add_(cost.forward(a, z).sum(dtype=J.dtype))  # [N] → []

    def sigmoid_cross_entropy(z: Tensor, J: Tensor | None) -> None:
        if J is not None:
            add_cost(z, J)
        activate()
        subtract(z)

    def softmax_cross_entropy(z: Tensor, J: Tensor | None) -> None:
        z = z.long().view(-1)  # [N]; the class of one sample comes without a dimension
        if J is not None:
            add_cost(z, J)
        a.copy_(torch.softmax(a, 1, out=memory))
        a.scatter_add_(1, z[:, None], minus_one)  # at [N, 1] of [N, n_L]

    def squared_error(z: Tensor, J: Tensor | None) -> None:
        activate()
        if J is not None:
            add_cost(z, J)
        torch.sub(a, z, out=memory)
        derive()

    return {
        SigmoidCrossEntropy: sigmoid_cross_entropy,
        SoftmaxCrossEntropy: softmax_cross_entropy,
        SquaredError: squared_error,
    }[cost]


class Products:
    """Large layers, large batches, accelerators, half precision: the time is that of the matrix products."""

    def __init__(self, params: Parameters, activations: Sequence[type[Rule]], cost: type[Loss]) -> None:
        """From now on the parameters are its own, and change."""
        self.activations, self.cost = activations, cost
        self.weights, self.biases = params  # [n_l, n_(l−1)], [n_l] each
        self.memory: list[Tensor] = []

    def parameters(self) -> Parameters:
        """Copies of the weights [n_l, n_(l−1)] and biases [n_l] as they are now."""
        return tuple(w.clone() for w in self.weights), tuple(b.clone() for b in self.biases)

    def lay_out(self, samples: int) -> None:
        """Get ready for batches of this many samples; smaller ones use the memory of the largest."""
        widths = [len(w) for w in self.weights]
        if not self.memory or len(self.memory[0]) < samples:
            like = self.weights[0]  # [n₁, n₀]
            self.memory = [like.new_empty(samples, width) for width in widths]  # [N, n_l] each
            self.memory.append(like.new_empty(samples, max(widths)))  # [N, max n_l]
        self.samples = samples
        self.a = [a[:samples] for a in self.memory[:-1]]  # [N, n_l] each
        # Δ(out) [N, n_l] of each layer in turn is in the same memory.
        self.delta_out = [self.memory[-1].view(-1)[: samples * width].view(samples, width) for width in widths]
        self.activate = [activation(f, a) for f, a in zip(self.activations, self.a, strict=True)]
        self.derive = [
            derivative(f, a, delta_out)
            for f, a, delta_out in zip(self.activations, self.a, self.delta_out, strict=True)
        ]
        self.output = output(self.cost, self.activations[-1], self.a[-1], self.delta_out[-1])
        blocks = [w.split(max(1, BLOCK // w.shape[1])) for w in self.weights]  # [rows, n_(l−1)] each
        largest = max(of_layer[0].numel() for of_layer in blocks)
        gradient = self.weights[0].new_empty(largest if samples > FUSED else 0)  # [largest], or [0]
        self.blocks = [
            [
                (w, delta, gradient[: w.numel()].view(-1, w.shape[1]))  # [rows, n_(l−1)], [rows, N], [rows, n_(l−1)]
                for w, delta in zip(of_layer, a.T.split(len(of_layer[0])), strict=True)
            ]
            for of_layer, a in zip(blocks, self.a, strict=True)
        ]

    def step(self, x: Tensor, z: Tensor, eta: float, J: Tensor | None = None) -> None:
        """W ← W − η ∂J/∂W, b ← b − η ∂J/∂b; adds the cost of the batch, summed over its samples, to J.

        x [N, n₀] or one sample [n₀], z as `output` takes it, J [] or None.
        """
        x = x if x.dim() == 2 else x[None]  # [N, n₀]
        minus_rate = -eta / self.samples
        top = len(self.a) - 1

        for layer, (w, b, a) in enumerate(zip(self.weights, self.biases, self.a, strict=True)):
            # w [n_l, n_(l−1)], b [n_l], a [N, n_l] from [N, n_(l−1)]
            affine(self.a[layer - 1] if layer else x, w, b, out=a)
            if layer < top:
                self.activate[layer]()
        self.output(z, J)

        for layer in range(top, -1, -1):
            delta, w, b = self.a[layer], self.weights[layer], self.biases[layer]  # [N, n_l], [n_l, n_(l−1)], [n_l]
            below = self.a[layer - 1] if layer else x  # [N, n_(l−1)]
            if layer:
                delta_out = self.delta_out[layer - 1]  # [N, n_(l−1)]
                delta_out.copy_(product(delta, w, out=delta_out))  # which is nothing where it is there already
            if self.samples <= FUSED:
                w.addmm_(delta.T, below, alpha=minus_rate)  # [n_l, N] times [N, n_(l−1)]
            else:
                for w_rows, delta_rows, gradient in self.blocks[layer]:  # [rows, n_(l−1)], [rows, N], [rows, n_(l−1)]
                    w_rows.add_(product(delta_rows, below, out=gradient), alpha=minus_rate)
            b.add_(delta.sum(0), alpha=minus_rate)  # [n_l]
            if layer:
                self.derive[layer - 1]()


class Calls:
    """Few and small numbers on a CPU: the time is that of the calls, so there are few of them, and of the cheapest.

    Every bias is the weight of the figures' node with output 1, one more column. So that this node, too, comes out of
    the product, V has one more row: V^l = [[W^l, b^l], [0, 1]] and [Z^l, 1] = [A^(l−1), 1] V^lᵀ. The V of all layers,
    [n_l + 1, n_(l−1) + 1] each, lie in one piece of memory [P], their gradients in another, and one subtraction updates
    all.

    It is NumPy that computes on torch's memory, for a call of it costs half. Where a number overflows it would warn,
    and torch is silent: so it is told to be, in a context of its own, entered in a fifth of np.errstate's time.
    """

    def __init__(self, params: Parameters, activations: Sequence[type[Rule]], cost: type[Loss]) -> None:
        self.activations, self.cost = activations, cost
        like = params[0][0]  # [n₁, n₀]
        shapes = [(outputs + 1, inputs + 1) for outputs, inputs in (w.shape for w in params[0])]
        lengths = [rows * columns for rows, columns in shapes]

        def layers(memory: Tensor) -> list[Tensor]:  # [P] → [n_l + 1, n_(l−1) + 1] each
            return [part.view(shape) for part, shape in zip(memory.split(lengths), shapes, strict=True)]

        params_memory, gradients_memory = like.new_zeros(sum(lengths)), like.new_zeros(sum(lengths))  # [P]
        self.params, self.gradients = params_memory.numpy(), gradients_memory.numpy()  # [P]
        self.v, self.dJ_dv = layers(params_memory), layers(gradients_memory)  # [n_l + 1, n_(l−1) + 1] each
        for v, w, b in zip(self.v, *params, strict=True):
            v[:-1, :-1], v[:-1, -1], v[-1, -1] = w, b, 1  # [n_l, n_(l−1)], [n_l], []
        self.eta, self.rate = 0.0, like.new_zeros(()).numpy()  # rate []
        self.context = copy_context()
        self.context.run(np.seterr, all="ignore")

    def parameters(self) -> Parameters:
        """Copies of the weights [n_l, n_(l−1)] and biases [n_l] as they are now."""
        return tuple(v[:-1, :-1].clone() for v in self.v), tuple(v[:-1, -1].clone() for v in self.v)

    def lay_out(self, samples: int) -> None:
        """Get ready for batches of this many samples: the arguments of every call."""
        self.samples, self.eta = samples, 0.0
        self.rate.fill(0)
        like = self.v[0]  # [n₁ + 1, n₀ + 1]
        a1 = [like.new_ones(samples, width) for width in (like.shape[1], *map(len, self.v))]  # [A, 1]: [N, n_l + 1]
        a = [of_layer[:, :-1] for of_layer in a1]  # [N, n_l] each
        delta_out1 = [torch.empty_like(of_layer) for of_layer in a1]  # [N, n_l + 1] each
        delta_out = [of_layer[:, :-1] for of_layer in delta_out1]  # [N, n_l] each
        self.x, self.delta = a[0], a[-1].numpy()  # [N, n₀], [N, n_L]
        self.output = output(self.cost, self.activations[-1], a[-1], delta_out[-1])
        products = [  # [N, n_(l−1) + 1], [n_(l−1) + 1, n_l + 1], [N, n_l + 1]
            (below.numpy(), v.T.numpy(), above.numpy()) for below, v, above in zip(a1, self.v, a1[1:], strict=False)
        ]
        activate = [activation(f, above) for f, above in zip(self.activations, a[1:], strict=True)]
        self.hidden, self.top = list(zip(products, activate, strict=True))[:-1], products[-1]
        gradient = [  # [n_l, N], [N, n_(l−1) + 1], [n_l, n_(l−1) + 1]
            (delta.T.numpy(), below.numpy(), dJ_dv[:-1].numpy())
            for delta, below, dJ_dv in zip(a[1:], a1, self.dJ_dv, strict=False)
        ]
        carry = [  # [N, n_l], [n_l, n_(l−1) + 1], [N, n_(l−1) + 1]
            (delta.numpy(), v[:-1].numpy(), delta_below.numpy())
            for delta, v, delta_below in zip(a[2:], self.v[1:], delta_out1[1:], strict=False)
        ]
        derive = [numpy_derivative(*below) for below in zip(self.activations, a[1:-1], delta_out[1:], strict=False)]
        self.back = list(zip(gradient[1:], carry, derive, strict=True))[::-1]
        self.bottom = gradient[0]

    def step(self, x: Tensor, z: Tensor, eta: float, J: Tensor | None = None) -> None:
        """W ← W − η ∂J/∂W, b ← b − η ∂J/∂b; adds the cost of the batch, summed over its samples, to J.

        x [N, n₀] or one sample [n₀], z as `output` takes it, J [] or None.
        """
        if eta != self.eta:
            self.eta = eta
            self.rate.fill(eta / self.samples)
        self.context.run(self._step, x, z, J)

    def _step(self, x: Tensor, z: Tensor, J: Tensor | None) -> None:
        dot = np.dot
        self.x.copy_(x)  # [N, n₀]
        for product, activate in self.hidden:
            dot(*product)  # [Z^l, 1]: [N, n_l + 1]
            activate()
        dot(*self.top)  # [Z^L, 1]: [N, n_L + 1]
        self.output(z, J)
        np.multiply(self.delta, self.rate, self.delta)  # [N, n_L]; so every gradient comes out as η/N times itself
        for gradient, carry, derive in self.back:
            dot(*gradient)  # [n_l, n_(l−1) + 1]
            dot(*carry)  # [N, n_(l−1) + 1]
            derive()  # [N, n_(l−1)]
        dot(*self.bottom)  # [n₁, n₀ + 1]
        np.subtract(self.params, self.gradients, self.params)  # [P]


def captured(step: Callable[[], object], device: torch.device) -> torch.cuda.CUDAGraph:
    """A step as a CUDA graph, after three of it: cuBLAS takes its working memory then, which none may in a graph."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device), torch.cuda.graph(graph):
        step()
    return graph


class Graph:
    """The step on CUDA as one graph: its kernels are launched all at once, on batches of one shape.

    x [N, n₀], z [N, n_L] or class indices [N], cost [].
    """

    def __init__(self, step: Products, x: Tensor, z: Tensor, eta: float, cost: Tensor) -> None:
        self.x, self.z = x.clone(), z.clone()
        changed = (*step.weights, *step.biases, cost)  # [n_l, n_(l−1)] each, [n_l] each, []
        kept = [p.clone() for p in changed]  # as changed
        self.graph = captured(lambda: step.step(self.x, self.z, eta, cost), x.device)
        self.memory = dict(vars(step))  # the graph knows addresses: what lay there stays, whatever is laid out next
        for p, before in zip(changed, kept, strict=True):
            p.copy_(before)

    def step(self, x: Tensor, z: Tensor) -> None:
        self.x.copy_(x)
        self.z.copy_(z)
        self.graph.replay()


def form(samples: int, sizes: Sequence[int], dtype: torch.dtype, device: torch.device) -> type[Calls | Products]:
    """The form of the step for such a network and batches of so many samples."""
    if device.type != "cpu" or dtype not in (torch.float32, torch.float64):
        return Products
    largest = samples * max((inputs + 1) * (outputs + 1) for inputs, outputs in pairwise(sizes))
    return Calls if largest <= SMALL else Products
