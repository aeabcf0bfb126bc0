"""A network of any depth in matrix form, and its derivatives by the recursion of the deltas."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from manual_bp import _checks, checkpoint, in_place, training
from manual_bp._checks import Values
from manual_bp._draw import normal_
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
from manual_bp.training import DivergedError, History

# The rules with a name; each of them is in manual_bp/in_place.py, too.
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

    Samples and targets are tensors of the network's dtype, on its device; or NumPy arrays and nested lists of numbers,
    of any dtype, which are converted to it (class indices stay whole numbers).

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
            raise ValueError(f"biases: expected length {len(weights)} (one for each of weights), got {len(biases)}")
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
        with torch.inference_mode(False):  # else these could be written to in inference mode alone
            own = tuple(w.clone() for w in weights), tuple(b.clone() for b in biases)
        self._parameters: tuple[Tensors, Tensors] | None = own
        self._are_given = False  # to somebody, so that no step may change them
        self.labels = checkpoint.Labels([], [])  # names of the inputs and classes, where a file has them
        self.sizes = (first.shape[1], *(len(w) for w in weights))
        self.dtype, self.device = first.dtype, first.device
        self._in_place: in_place.Calls | in_place.Products | None = None
        self._described: object = None  # what the batches are that the steps in place are ready for
        self._eta = math.nan

    @property
    def weights(self) -> Tensors:
        """The weights as they are now, one [n_l, n_(l−1)] a layer: tensors that no training changes any more."""
        return self._now()[0]

    @property
    def biases(self) -> Tensors:
        """The biases as they are now, one [n_l] a layer: tensors that no training changes any more."""
        return self._now()[1]

    def _now(self) -> tuple[Tensors, Tensors]:
        """The parameters; after a step in place, copies of them."""
        if self._parameters is None:
            assert self._in_place is not None
            self._parameters = self._in_place.parameters()
        self._are_given = True
        return self._parameters

    def __repr__(self) -> str:
        sizes = "-".join(map(str, self.sizes))
        rules = ", ".join(rule.__name__ for rule in (*self.activations, self.cost_rule))
        return f"Network({sizes}, {rules}, {self.dtype} on {self.device})"

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

        The same seed gives the same numbers on every device, and in every dtype but for rounding. Raises TypeError or
        ValueError for sizes that are no whole numbers from 1, or fewer than two.
        """
        if len(sizes) < 2:
            raise ValueError(f"sizes: expected the inputs and at least one layer, as in [2, 2, 2], got {list(sizes)}")
        for i, size in enumerate(sizes):
            _checks.count(f"sizes[{i}]", size)
        generator = torch.Generator().manual_seed(seed)

        zero = torch.zeros((), dtype=dtype, device=device)
        weights = [zero.expand(outputs, inputs) for inputs, outputs in pairwise(sizes)]
        net = cls(weights, [zero.expand(outputs) for outputs in sizes[1:]], activation, cost)
        for of_kind in net._parameters or ():  # drawn where they stay: a large network is never there twice
            for inputs, p in zip(sizes, of_kind, strict=False):
                normal_(p, 1 / math.sqrt(inputs), generator)
        return net

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
                raise TypeError(f"module[{i}]: expected a Linear, or right after a Linear one of {known}, got {part}")
        return cls(weights, biases, activations, cost)

    def to_module(self) -> nn.Sequential:
        """The same network as a torch.nn.Sequential of Linear layers and activations, with copies of the weights.

        Raises TypeError for an activation that torch.nn has not.
        """
        parts: list[nn.Module] = []
        for rule, w, b in zip(self.activations, self.weights, self.biases, strict=True):
            if rule not in MODULES:
                known = ", ".join(known.__name__ for known in MODULES)
                raise TypeError(f"activation: expected one of {known}, which torch.nn has too, got {rule.__name__}")
            linear = nn.Linear(w.shape[1], w.shape[0], device="meta")  # without numbers to draw: the global state stays
            linear.weight, linear.bias = nn.Parameter(w.clone()), nn.Parameter(b.clone())
            parts += [linear] if rule is Identity else [linear, MODULES[rule]()]
        return nn.Sequential(*parts)

    def save(self, file: str | PathLike[str], *, labels: checkpoint.Labels | None = None) -> None:
        """Write the network to a file, for `load`: weights and biases in their dtype, activations and cost by name.

        The file is written whole or not at all, and nothing in it is executed when it is loaded. labels: names of the
        inputs and classes, kept beside the network; without them those that it was loaded with, `net.labels`. Raises
        ValueError for a rule that has no name in `ACTIVATIONS` or `COSTS`, and for classes that are not as many as the
        outputs; FileNotFoundError where the directory is missing.
        """
        if labels and labels.classes and len(labels.classes) != self.sizes[-1]:
            raise ValueError(
                f"labels.classes: expected length {self.sizes[-1]} (a name for each output), got {len(labels.classes)}"
            )
        labels = labels or self.labels
        network = {
            "weights": [w.cpu() for w in self.weights],
            "biases": [b.cpu() for b in self.biases],
            "activation": [_name(f"activation[{i}]", f, ACTIVATIONS) for i, f in enumerate(self.activations)],
            "cost": _name("cost", self.cost_rule, COSTS),
        }
        checkpoint.save_network(file, network, labels)

    @classmethod
    def load(cls, file: str | PathLike[str], *, device: torch.device | str = "cpu") -> "Network":
        """The network that `save` wrote, on this device.

        Raises CheckpointError, a ValueError, for a file that is damaged or holds something else; OSError for one that
        cannot be read.
        """

        def build(weights: Sequence[Tensor], biases: Sequence[Tensor], **rules: Any) -> "Network":
            return cls([w.to(device) for w in weights], [b.to(device) for b in biases], **rules)

        net, labels = checkpoint.load_network(file, build)
        net.labels = labels
        return net

    def __call__(self, x: Values) -> Tensor:
        """The network's outputs A^L, [N, n_L] or [n_L], as `to_module()` has them: `forward(x).n_out[-1]`.

        With "cross_entropy" they are probabilities, with "softmax_cross_entropy" logits, whose softmax is the
        probabilities of the classes.
        """
        return self.forward(x).n_out[-1]

    def predict(self, x: Values) -> Tensor:
        """What the network says of each sample: with "softmax_cross_entropy" the index of its class, [N] or [].

        With "cross_entropy" the probability of each output, with "squared_error" its value, [N, n_L] or [n_L]. Raises
        as `forward`, and ValueError for x that is not finite.
        """
        x = self._x("x", x)
        _checks.finite("x", x)
        return self(x).argmax(-1) if self.cost_rule.target == "class" else self(x)

    def forward(self, x: Values) -> Trace:
        """Run the forward phase on a batch x [N, n₀] or one sample [n₀]; the trace's tensors are [N, n_l] or [n_l].

        Here and below, x that is a tensor of another dtype, or of autograd, or holds no numbers raises TypeError, one
        of another shape or device ValueError; and so for z.
        """
        x = self._x("x", x)
        n_in: list[Tensor] = []
        n_out: list[Tensor] = []
        for f, w, b in zip(self.activations, self.weights, self.biases, strict=True):
            n_in.append(Affine.forward(n_out[-1] if n_out else x, w, b))
            n_out.append(f.forward(n_in[-1]))
        return Trace(x, tuple(n_in), tuple(n_out), self.weights, self.biases)

    def cost(self, x: Values, z: Values) -> Tensor:
        """The cost J of a batch, a 0-d tensor: summed over the outputs, averaged over the N samples.

        z: [N, n_L] for "cross_entropy" (from 0 to 1) and "squared_error", [N] of class indices for
        "softmax_cross_entropy"; without the N for one sample. Raises ValueError, too, for numbers that are not finite.
        """
        x, z = self._samples(x, z)
        return self._cost_of_samples(self.forward(x), z).mean()

    def evaluate(self, x: Values, z: Values) -> tuple[float, float | None]:
        """The cost J of a batch, and its accuracy: the share of samples that the network has right, from 0 to 1.

        With "softmax_cross_entropy" right is the class of the largest output, with "cross_entropy" all outputs on the
        targets' side of 0.5; of values, as with "squared_error", there is no accuracy. x, z as for `cost`.
        """
        x, z = self._samples(x, z)
        trace = self.forward(x)
        J = float(self._cost_of_samples(trace, z).mean())
        n_out = trace.n_out[-1]
        match self.cost_rule.target:
            case "class":
                right = n_out.argmax(-1) == z
            case "probability":
                right = ((n_out > 0.5) == (z > 0.5)).all(-1)
            case _:
                return J, None
        return J, int(right.sum()) / right.numel()

    def backward(self, trace: Trace, z: Values, ready: Callable[[Tensor, Tensor], object] | None = None) -> Gradients:
        """Run the backward phase: every delta and every gradient of J, from the weights of the forward phase.

        Δ^l(in) = Δ^l(out) ⊙ f′(Z^l);  Δ^(l−1)(out) = Δ^l(in) W^l
        ∂J/∂W^l = Δ^l(in)ᵀ A^(l−1);  ∂J/∂b^l = Σ_samples Δ^l(in)

        ready: called with ∂J/∂W^l and ∂J/∂b^l as soon as they are there, the last layer's first, before the layer below
        is computed: where gradients are sent to other processes.
        """
        if len(trace.weights) != len(self.activations):
            raise ValueError(
                f"trace: expected depth {len(self.activations)}, as this network has, got {len(trace.weights)}: "
                "pass what this network's forward has returned"
            )
        z = self._z("z", z, trace.x.shape[:-1])
        self._check_values("z", z)
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
            if ready:
                ready(dJ_dw, dJ_db)
            layers.insert(0, (delta_in, delta_out, dJ_dw, dJ_db))
            delta_out = delta_below
        deltas_in, deltas_out, weight, bias = zip(*layers, strict=True)
        return Gradients(J.mean(), deltas_in, deltas_out, weight, bias, x=delta_out)

    def update(self, grads: Gradients, eta: float) -> None:
        """Take one step of gradient descent, every weight at once: W ← W − η ∂J/∂W, b ← b − η ∂J/∂b.

        Traces made before keep the weights they were made with. Raises TypeError or ValueError for an eta that is no
        finite number, and for gradients of another network.
        """
        eta = _checks.number("eta", eta)
        self._check_like("grads.weight", grads.weight, self.weights)
        self._check_like("grads.bias", grads.bias, self.biases)
        weights = tuple(w - eta * dJ_dw for w, dJ_dw in zip(self.weights, grads.weight, strict=True))
        biases = tuple(b - eta * dJ_db for b, dJ_db in zip(self.biases, grads.bias, strict=True))
        self._take(weights, biases)

    def step(self, x: Values, z: Values, eta: float, *, cost: Tensor | None = None) -> None:
        """Train on one batch or sample: forward, backward and update in one, in place (manual_bp/in_place.py).

        x, z: as for `forward` and `cost`; but the values in z are not looked at, for which an accelerator would have to
        be waited for. cost: a 0-d tensor, to which the cost of the batch, summed over its samples, is added.

        The memory that a step needs is laid out at the first one on batches of a shape. The tensors that `weights` and
        `biases` have given out stay as they are.
        """
        if not (isinstance(x, Tensor) and isinstance(z, Tensor)):
            x = self._x("x", x)
            z = self._z("z", z, x.shape[:-1])
        described = (x.shape, x.dtype, x.device, x.requires_grad, z.shape, z.dtype, z.device, z.requires_grad)
        if described != self._described:
            self._get_ready(x, z)
            self._described = described
        if not isinstance(eta, float) or eta != self._eta:
            self._eta = _checks.number("eta", eta)
        if self._in_place is not None:
            try:
                self._in_place.step(x, z, self._eta, cost)
            except RuntimeError:  # where torch looks at class indices itself, before anything is updated
                self._check_values("z", z)
                raise
            self._parameters = None
            return
        grads = one_round(self, x, z, self._eta)[1]
        if cost is not None:
            cost += grads.J * (len(x) if x.dim() == 2 else 1)

    def fit(
        self,
        X: Values,
        Z: Values,
        *,
        eta: float,
        epochs: int,
        batch_size: int,
        seed: int = 0,
        held_out: tuple[Values, Values] | None = None,
        file: str | PathLike[str] | None = None,
        progress: bool = True,
    ) -> History:
        """Train on all samples, shuffled anew in each epoch; returns the costs of each epoch, as history.cost[-1].

        X [samples, n₀] and Z as z of `cost`. batch_size=1 trains online, as the article does. held_out: other samples
        X and Z, on which the network is evaluated after each epoch. progress: a bar, in a terminal or a notebook.

        file: a checkpoint, written after each epoch. If it is there, the training goes on from it, and ends with the
        same numbers as if it had not been interrupted; more epochs, or another eta, may be asked for, and those that it
        holds count. Raises CheckpointError, a ValueError, for a file that is damaged, no checkpoint, or that of another
        training or other data; FileNotFoundError where its directory is missing.

        Raises as `cost` for X and Z; DivergedError, an ArithmeticError, where after an epoch the cost or a weight is
        not finite, or the cost 10,000 times that before training: the network is then as it was before the epoch.
        """
        _checks.count("epochs", epochs)
        _checks.count("batch_size", batch_size)
        eta = _checks.number("eta", eta)
        X, Z = self._data_set(X, Z, ("X", "Z"))
        if held_out is not None:
            if not isinstance(held_out, tuple | list) or len(held_out) != 2:
                length = f" of length {len(held_out)}" if isinstance(held_out, tuple | list) else ""
                raise TypeError(f"held_out: expected a pair (X, Z), got {type(held_out).__name__}{length}")
            held_out = self._data_set(*held_out, ("held_out[0]", "held_out[1]"))
        history = History()
        if file is not None:
            run = self._run((X, Z), held_out, batch_size, seed)
            history = checkpoint.resume(file, run, self._take_checked)
        cost = torch.zeros((), dtype=torch.float32 if X.device.type == "mps" else torch.float64, device=X.device)
        step = self._step_on(X, Z, eta, batch_size, cost)
        untrained, before = float(self.cost(X[:batch_size], Z[:batch_size])), self._now()
        with training.threads_for(self.sizes, batch_size):
            for _ in training.epochs_of(
                step, len(X), cost, history, epochs=epochs, batch_size=batch_size, seed=seed, progress=progress
            ):
                try:
                    training.refuse_divergence(history.cost, untrained, (*self.weights, *self.biases), eta)
                except DivergedError:
                    self._take(*before)
                    raise
                before = self._now()
                if held_out is not None:
                    history.add_held_out(*self.evaluate(*held_out))
                if file is not None:
                    checkpoint.save(file, run, self.weights, self.biases, history)
        return history

    def _run(
        self, data: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor] | None, batch_size: int, seed: int
    ) -> checkpoint.Run:
        """What a training that a checkpoint takes up must have in common with this one."""
        return checkpoint.Run(
            sizes=list(self.sizes),
            activations=[rule.__name__ for rule in self.activations],
            cost=self.cost_rule.__name__,
            dtype=str(self.dtype),
            data=checkpoint.digest(*data),
            held_out=checkpoint.digest(*held_out) if held_out else "none",
            batch_size=batch_size,
            seed=seed,
        )

    def _step_on(self, X: Tensor, Z: Tensor, eta: float, batch_size: int, cost: Tensor) -> Callable[[Tensor], None]:
        """What trains on the samples of these indices, and adds their costs up."""
        replay: Callable[[Tensor, Tensor], None] | None = None

        def step(batch: Tensor) -> None:
            nonlocal replay
            batch = batch.to(X.device, non_blocking=True)
            x, z = X[batch], Z[batch]
            if X.device.type != "cuda" or len(batch) < batch_size:  # a graph is for batches of one shape
                self.step(x, z, eta, cost=cost)
            else:
                replay = replay or self._graph(x, z, eta, cost)
                replay(x, z)

        return step

    def _take_checked(self, weights: Sequence[Tensor], biases: Sequence[Tensor]) -> None:
        """Have these parameters from now on, from whatever device they are on; refuses what does not fit."""
        here = tuple(tuple(p.to(self.device) for p in of_kind) for of_kind in (weights, biases))
        self._check_like("weights", here[0], self.weights)
        self._check_like("biases", here[1], self.biases)
        self._take(*here)

    def _take(self, weights: Tensors, biases: Tensors) -> None:
        """Have these parameters from now on."""
        self._parameters, self._in_place, self._described = (weights, biases), None, None
        self._are_given = True

    def _get_ready(self, x: Tensor, z: Tensor) -> None:
        """Lay out the memory for steps in place on such batches; refuses what does not fit."""
        self._x("x", x)
        self._z("z", z, x.shape[:-1])
        if not {*ACTIVATIONS.values()}.issuperset(self.activations) or self.cost_rule not in COSTS.values():
            return  # those with a name have a form in place
        samples = len(x) if x.dim() == 2 else 1
        with torch.inference_mode(False):  # else this memory could be written to in inference mode alone
            form = in_place.form(samples, self.sizes, self.dtype, self.device)
            if not isinstance(self._in_place, form):
                own = self._parameters
                if own is None or self._are_given:
                    weights, biases = self._now()
                    own = tuple(w.clone() for w in weights), tuple(b.clone() for b in biases)
                self._in_place, self._parameters = form(own, self.activations, self.cost_rule), None
            self._in_place.lay_out(samples)

    def _graph(self, x: Tensor, z: Tensor, eta: float, cost: Tensor) -> Callable[[Tensor, Tensor], None]:
        """The step on such batches as one CUDA graph, where there is a form in place."""
        self._get_ready(x, z)
        if not isinstance(self._in_place, in_place.Products):
            return lambda x, z: self.step(x, z, eta, cost=cost)
        graph = in_place.Graph(self._in_place, x, z, eta, cost)

        def step(x: Tensor, z: Tensor) -> None:
            graph.step(x, z)
            self._parameters = None

        return step

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the parameters, without the memory of steps."""
        self._now()
        return vars(self) | {"_in_place": None, "_described": None}

    def _samples(self, x: Values, z: Values, names: tuple[str, str] = ("x", "z")) -> tuple[Tensor, Tensor]:
        """A batch and its targets as tensors; refuses everything that does not fit, their values, too."""
        x = self._x(names[0], x)
        z = self._z(names[1], z, x.shape[:-1])
        _checks.finite(names[0], x)
        self._check_values(names[1], z)
        if z.is_floating_point():
            _checks.finite(names[1], z)
        return x, z

    def _data_set(self, X: Values, Z: Values, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
        """The same of what is trained on or held out."""
        x, z = self._samples(X, Z, names)
        if x.dim() == 1:
            raise ValueError(
                f"{names[0]}: expected shape [samples, {self.sizes[0]}], got that of one sample, {list(x.shape)}"
            )
        return x, z

    def _check_like(self, what: str, tensors: Sequence[Tensor], params: Tensors) -> None:
        """One tensor for each of the parameters, in its shape."""
        if len(tensors) != len(params):
            raise ValueError(f"{what}: expected length {len(params)} (a tensor for each layer), got {len(tensors)}")
        for layer, (tensor, param) in enumerate(zip(tensors, params, strict=True)):
            _checks.like(f"{what}[{layer}]", tensor, self.dtype, self.device)
            _checks.shape(f"{what}[{layer}]", tensor, param.shape, f"that of the parameters of layer {layer}")

    def _x(self, what: str, values: Values) -> Tensor:
        """A batch or a sample as a tensor, which fits in dtype, device and shape."""
        x = _checks.tensor(what, values, self.dtype, self.device)
        _checks.like(what, x, self.dtype, self.device)
        if x.dim() not in (1, 2) or x.shape[-1] != self.sizes[0]:
            raise ValueError(f"{what}: expected shape [N, {self.sizes[0]}] or [{self.sizes[0]}], got {list(x.shape)}")
        if x.dim() == 2 and not len(x):
            raise ValueError(f"{what}: expected at least one sample, got an empty batch")
        return x

    def _z(self, what: str, values: Values, samples: torch.Size) -> Tensor:
        """Targets as a tensor, which fits in dtype, device and shape."""
        if self.cost_rule.target == "class":
            z = _checks.integers(what, _checks.tensor(what, values, None, self.device))
            _checks.on_device(what, z, self.device)
            _checks.shape(what, z, samples, "one class index a sample")
        else:
            z = _checks.tensor(what, values, self.dtype, self.device)
            _checks.like(what, z, self.dtype, self.device)
            _checks.shape(what, z, (*samples, self.sizes[-1]), "that of the network's outputs")
        return z

    def _check_values(self, what: str, z: Tensor) -> None:
        """The values of the targets."""
        if self.cost_rule.target == "class":
            _checks.classes(what, z, self.sizes[-1])
        elif self.cost_rule.target == "probability":
            _checks.probabilities(what, z)

    def _cost_of_samples(self, trace: Trace, z: Tensor) -> Tensor:
        return self.cost_rule.forward(trace.n_in[-1] if self.cost_rule.output else trace.n_out[-1], z)


def one_round(net: Network, x: Tensor, z: Tensor, eta: float) -> tuple[Trace, Gradients]:
    """One round of training: the forward phase, then every delta from the weights it used, then every weight once."""
    trace = net.forward(x)
    grads = net.backward(trace, z)
    net.update(grads, eta)
    return trace, grads


R = TypeVar("R", bound=Rule)


def _by_name(what: str, rule: object, known: dict[str, type[R]], kind: type[R]) -> type[R]:
    """The rule that a name stands for; a rule stands for itself."""
    if isinstance(rule, type) and issubclass(rule, kind):
        return rule
    if isinstance(rule, str) and rule in known:
        return known[rule]
    raise ValueError(f"{what}: expected one of {', '.join(known)}, or a {kind.__name__}, got {rule!r}")


def _name(what: str, rule: type[R], known: dict[str, type[R]]) -> str:
    """The name of a rule. Raises ValueError for one that has none."""
    names = {known_rule: name for name, known_rule in known.items()}
    if rule not in names:
        raise ValueError(f"{what}: expected one of {', '.join(known)}, to be saved by name, got {rule.__name__}")
    return names[rule]


def _activations(
    activation: str | type[Rule] | Sequence[str | type[Rule]], cost: type[Loss], depth: int
) -> tuple[type[Rule], ...]:
    """The activation of each layer."""
    if isinstance(activation, str | type):
        every = _by_name("activation", activation, ACTIVATIONS, Rule)
        return (every,) * (depth - 1) + (cost.output or every,)
    rules = tuple(_by_name(f"activation[{layer}]", rule, ACTIVATIONS, Rule) for layer, rule in enumerate(activation))
    if len(rules) != depth:
        raise ValueError(f"activation: expected length {depth} (a name or a rule for each layer), got {len(rules)}")
    if cost.output not in (None, rules[-1]):
        raise ValueError(
            f"activation[{depth - 1}]: expected {cost.output.__name__}, with which the cost {cost.__name__} is fused, "
            f"got {rules[-1].__name__}: choose another cost of {', '.join(COSTS)}"
        )
    return rules
