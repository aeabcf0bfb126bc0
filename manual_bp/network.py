"""A network of any depth in matrix form, and its derivatives by the recursion of the deltas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn

from manual_bp import _checks, training
from manual_bp.rules import (
    Affine,
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

ACTIVATIONS: dict[str, type[Rule]] = {"sigmoid": Sigmoid, "tanh": Tanh, "relu": ReLU, "identity": Identity}
COSTS: dict[str, type[Loss]] = {
    "cross_entropy": SigmoidCrossEntropy,
    "softmax_cross_entropy": SoftmaxCrossEntropy,
    "squared_error": SquaredError,
}
MODULES: dict[type[Rule], type[nn.Module]] = {Sigmoid: nn.Sigmoid, Tanh: nn.Tanh, ReLU: nn.ReLU, Identity: nn.Identity}

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Trace:
    """The forward phase: the input x, both sides of each layer's neurons, and the weights they came from.

    The deltas belong to those weights. A trace keeps them, so that no order of calls can put newer ones in their place.
    Layer 0 is the first layer of neurons.
    """

    x: Tensor
    n_in: Tensors
    n_out: Tensors
    weights: Tensors
    biases: Tensors


@dataclass(frozen=True)
class Gradients:
    """The backward phase: the cost J and its derivatives, the 1/N of a batch included; layers as in `Trace`."""

    J: Tensor
    delta_in: Tensors
    delta_out: Tensors
    weight: Tensors
    bias: Tensors
    x: Tensor


class Network:
    """Layers of neurons, trained by hand-written backward propagation.

    A⁰ = x;  Z^l = A^(l−1) W^lᵀ + b^l;  A^l = f(Z^l);  J = mean over the samples of the cost of each

    weights: one [n_l, n_(l−1)] a layer, biases: one [n_l] a layer, as in torch.nn.Linear; all of one floating dtype
    and device. They are copied: what the caller holds never changes. activation: a name of `ACTIVATIONS` or a rule,
    for every layer, or a sequence with one for each. cost: a name of `COSTS` or a rule. A cost that is fused with the
    activation of the output layer brings it along: "cross_entropy" the sigmoid; "softmax_cross_entropy" the identity,
    so that the network's outputs are the logits. "squared_error" takes any.

    Raises TypeError for what is no floating tensor outside of autograd, or of another dtype; ValueError for shapes
    that do not fit, different devices, and names that do not exist.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        activation: str | type[Rule] | Sequence[str | type[Rule]] = "sigmoid",
        cost: str | type[Loss] = "cross_entropy",
    ) -> None:
        if len(weights) == 0:
            raise ValueError("weights: expected one tensor a layer, got none")
        if len(biases) != len(weights):
            raise ValueError(f"biases: expected {len(weights)}, one a layer as weights has, got {len(biases)}")
        first = _checks.floating("weights[0]", weights[0])
        for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
            _checks.like(f"weights[{layer}]", w, first.dtype, first.device)
            _checks.like(f"biases[{layer}]", b, first.dtype, first.device)
            if w.dim() != 2:
                raise ValueError(f"weights[{layer}]: expected shape [outputs, inputs], got {list(w.shape)}")
            if layer and w.shape[1] != weights[layer - 1].shape[0]:
                raise ValueError(
                    f"weights[{layer}]: expected shape [{w.shape[0]}, {weights[layer - 1].shape[0]}] "
                    f"(its inputs are the outputs of layer {layer - 1}), got {list(w.shape)}"
                )
            _checks.shape(f"biases[{layer}]", b, w.shape[:1], f"one for each output of weights[{layer}]")
        self.cost_rule = _by_name("cost", cost, COSTS, Loss)
        self.activations = _activations(activation, self.cost_rule, len(weights))
        self.weights: Tensors = tuple(w.clone() for w in weights)
        self.biases: Tensors = tuple(b.clone() for b in biases)

    def __repr__(self) -> str:
        sizes = "-".join(str(size) for size in (self.weights[0].shape[1], *(len(w) for w in self.weights)))
        rules = ", ".join(rule.__name__ for rule in (*self.activations, self.cost_rule))
        return f"Network({sizes}, {rules}, {self.weights[0].dtype} on {self.weights[0].device})"

    @classmethod
    def random(
        cls,
        sizes: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        seed: int = 0,
        activation: str | type[Rule] | Sequence[str | type[Rule]] = "sigmoid",
        cost: str | type[Loss] = "cross_entropy",
    ) -> "Network":
        """A network of these sizes, inputs first, with normal weights and biases of variance 1/inputs.

        The same seed gives the same numbers on every device, and in every dtype but for rounding.
        """
        if len(sizes) < 2:
            raise ValueError(f"sizes: expected the inputs and at least one layer, as in [2, 2, 2], got {list(sizes)}")
        for i, size in enumerate(sizes):
            _checks.count(f"sizes[{i}]", size)
        generator = torch.Generator().manual_seed(seed)

        def normal(inputs: int, *shape: int) -> Tensor:
            drawn = torch.randn(*shape, generator=generator, dtype=torch.float64)
            return (drawn / math.sqrt(inputs)).to(dtype).to(device)

        layers = list(pairwise(sizes))
        weights = [normal(inputs, outputs, inputs) for inputs, outputs in layers]
        biases = [normal(inputs, outputs) for inputs, outputs in layers]
        return cls(weights, biases, activation, cost)

    @classmethod
    def from_module(cls, module: nn.Sequential, cost: str | type[Loss] = "cross_entropy") -> "Network":
        """The network that a torch.nn.Sequential of Linear layers and activations is.

        A Linear that no activation follows has the identity.
        Raises TypeError for any other module, and ValueError where its last activation is not that of the cost.
        """
        if not isinstance(module, nn.Sequential):
            raise TypeError(f"module: expected a torch.nn.Sequential, got {type(module).__name__}")
        rules = {module_type: rule for rule, module_type in MODULES.items()}
        weights: list[Tensor] = []
        biases: list[Tensor] = []
        activations: list[type[Rule]] = []
        for i, part in enumerate(module):
            if isinstance(part, nn.Linear):
                if part.bias is None:
                    raise TypeError(f"module[{i}]: expected a Linear with a bias, got bias=False")
                weights.append(part.weight.detach())
                biases.append(part.bias.detach())
                activations.append(Identity)
            elif type(part) in rules and weights and activations[-1] is Identity:
                activations[-1] = rules[type(part)]
            else:
                known = ", ".join(module_type.__name__ for module_type in rules)
                raise TypeError(f"module[{i}]: expected a Linear, or after one of them one of {known}, got {part}")
        return cls(weights, biases, activations, cost)

    def to_module(self) -> nn.Sequential:
        """The same network as a torch.nn.Sequential of Linear layers and activations, with copies of the weights."""
        parts: list[nn.Module] = []
        for rule, w, b in zip(self.activations, self.weights, self.biases, strict=True):
            if rule not in MODULES:
                known = ", ".join(known.__name__ for known in MODULES)
                raise TypeError(f"activation: expected one of {known}, which torch.nn has too, got {rule.__name__}")
            linear = nn.Linear(w.shape[1], w.shape[0], dtype=w.dtype, device=w.device)
            linear.weight.detach().copy_(w)
            linear.bias.detach().copy_(b)
            parts += [linear] if rule is Identity else [linear, MODULES[rule]()]
        return nn.Sequential(*parts)

    def forward(self, x: Tensor) -> Trace:
        """Run the forward phase on a batch x [N, n₀] or one sample [n₀]; the trace's tensors are [N, n_l] or [n_l]."""
        self._check_x(x)
        n_in: list[Tensor] = []
        n_out: list[Tensor] = []
        for f, w, b in zip(self.activations, self.weights, self.biases, strict=True):
            n_in.append(Affine.forward(n_out[-1] if n_out else x, w, b))
            n_out.append(f.forward(n_in[-1]))
        return Trace(x, tuple(n_in), tuple(n_out), self.weights, self.biases)

    def cost(self, x: Tensor, z: Tensor) -> Tensor:
        """The cost J of a batch, a 0-d tensor: summed over the outputs, averaged over the N samples.

        z: [N, n_L] for "cross_entropy" (from 0 to 1) and "squared_error", [N] of class indices for
        "softmax_cross_entropy"; without the N for one sample.
        """
        trace = self.forward(x)
        self._check_z(trace, z)
        return self._cost_of_samples(trace, z).mean()

    def backward(self, trace: Trace, z: Tensor) -> Gradients:
        """Run the backward phase: every delta and every gradient of J, from the weights of the forward phase.

        Δ^l(in) = Δ^l(out) ⊙ f′(Z^l);  Δ^(l−1)(out) = Δ^l(in) W^l
        ∂J/∂W^l = Δ^l(in)ᵀ A^(l−1);  ∂J/∂b^l = Σ_samples Δ^l(in)
        """
        self._check_z(trace, z)
        J = self._cost_of_samples(trace, z)
        mean = torch.full_like(J, 1 / J.numel())  # ∂J/∂J_s, for J = 1/N Σ_s J_s
        n_in, n_out = trace.n_in[-1], trace.n_out[-1]
        if self.cost_rule.output:
            delta_out = self.cost_rule.delta_out(mean, n_in, z)
            delta_in = self.cost_rule.backward(mean, J, n_in, z)[0]
        else:
            delta_out = self.cost_rule.backward(mean, J, n_out, z)[0]
            delta_in = self.activations[-1].backward(delta_out, n_out, n_in)[0]

        below = (trace.x, *trace.n_out)
        layers: list[Tensors] = []
        for layer in reversed(range(len(trace.weights))):
            if layers:
                delta_in = self.activations[layer].backward(delta_out, trace.n_out[layer], trace.n_in[layer])[0]
            delta_below, dJ_dw, dJ_db = Affine.backward(
                delta_in, trace.n_in[layer], below[layer], trace.weights[layer], trace.biases[layer]
            )
            layers.insert(0, (delta_in, delta_out, dJ_dw, dJ_db))
            delta_out = delta_below
        deltas_in, deltas_out, weight, bias = zip(*layers, strict=True)
        return Gradients(J.mean(), deltas_in, deltas_out, weight, bias, x=delta_out)

    def update(self, grads: Gradients, eta: float) -> None:
        """Take one step of gradient descent, every weight at once: W ← W − η ∂J/∂W, b ← b − η ∂J/∂b.

        Traces made before keep the weights they were made with.
        """
        eta = _checks.eta(eta)
        for name, params, gradients in (("weight", self.weights, grads.weight), ("bias", self.biases, grads.bias)):
            if len(gradients) != len(params):
                raise ValueError(f"grads.{name}: expected {len(params)}, one a layer, got {len(gradients)}")
            for layer, (param, gradient) in enumerate(zip(params, gradients, strict=True)):
                _checks.like(f"grads.{name}[{layer}]", gradient, param.dtype, param.device)
                _checks.shape(f"grads.{name}[{layer}]", gradient, param.shape, f"that of the {name} of layer {layer}")
        self.weights = tuple(w - eta * dJ_dw for w, dJ_dw in zip(self.weights, grads.weight, strict=True))
        self.biases = tuple(b - eta * dJ_db for b, dJ_db in zip(self.biases, grads.bias, strict=True))

    def step(self, x: Tensor, z: Tensor, eta: float) -> Tensor:
        """Train on one batch or sample, forward, backward and update; returns its cost J from before the update."""
        return training.one_round(self, x, z, eta)[1].J

    def fit(self, X: Tensor, Z: Tensor, *, eta: float, epochs: int, batch_size: int, seed: int = 0) -> list[float]:
        """Train on all samples, shuffled anew in each epoch; returns the mean cost of the samples of each epoch."""
        return training.fit(self, X, Z, eta=eta, epochs=epochs, batch_size=batch_size, seed=seed)

    def _check_x(self, x: Tensor) -> None:
        w = self.weights[0]
        _checks.like("x", x, w.dtype, w.device)
        if x.dim() not in (1, 2) or x.shape[-1] != w.shape[1]:
            raise ValueError(f"x: expected shape [N, {w.shape[1]}] or [{w.shape[1]}], got {list(x.shape)}")
        if x.dim() == 2 and not len(x):
            raise ValueError("x: expected at least one sample, got an empty batch")

    def _check_z(self, trace: Trace, z: Tensor) -> None:
        n_out = trace.n_out[-1]
        if self.cost_rule.target == "class":
            _checks.classes("z", z, n_out.shape[-1])
            _checks.on_device("z", z, n_out.device)
            _checks.shape("z", z, n_out.shape[:-1], "one class index a sample")
        else:
            _checks.like("z", z, n_out.dtype, n_out.device)
            _checks.shape("z", z, n_out.shape, "that of the network's outputs")
            if self.cost_rule.target == "probability":
                _checks.probabilities("z", z)

    def _cost_of_samples(self, trace: Trace, z: Tensor) -> Tensor:
        return self.cost_rule.forward(trace.n_in[-1] if self.cost_rule.output else trace.n_out[-1], z)


R = TypeVar("R", bound=Rule)


def _by_name(what: str, rule: object, known: dict[str, type[R]], kind: type[R]) -> type[R]:
    """The rule that a name stands for; a rule stands for itself."""
    if isinstance(rule, type) and issubclass(rule, kind):
        return rule
    if isinstance(rule, str) and rule in known:
        return known[rule]
    raise ValueError(f"{what}: expected one of {', '.join(known)}, or a {kind.__name__}, got {rule!r}")


def _activations(
    activation: str | type[Rule] | Sequence[str | type[Rule]], cost: type[Loss], depth: int
) -> tuple[type[Rule], ...]:
    """The activation of each layer."""
    if isinstance(activation, str | type):
        every = _by_name("activation", activation, ACTIVATIONS, Rule)
        return (every,) * (depth - 1) + (cost.output or every,)
    rules = tuple(_by_name(f"activation[{layer}]", rule, ACTIVATIONS, Rule) for layer, rule in enumerate(activation))
    if len(rules) != depth:
        raise ValueError(f"activation: expected {depth}, one a layer, got {len(rules)}")
    if cost.output not in (None, rules[-1]):
        raise ValueError(
            f"activation[{depth - 1}]: expected {cost.output.__name__}, with which the cost {cost.__name__} is fused, "
            f"got {rules[-1].__name__}: choose another cost of {', '.join(COSTS)}"
        )
    return rules
