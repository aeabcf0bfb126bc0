"""The autograd twin of a network, built from given weights with torch.nn, torch.autograd and torch.optim."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.sgd import sgd

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "identity": nn.Identity,
}


class Twin(nn.Module):
    """The network as torch's user would write it; activations: one name a layer."""

    def __init__(
        self, weights: Sequence[Tensor], biases: Sequence[Tensor], activations: Sequence[str], cost: str
    ) -> None:
        super().__init__()
        self.cost = cost
        self.linears = nn.ModuleList()
        for w, b in zip(weights, biases, strict=True):
            linear = nn.Linear(w.shape[1], w.shape[0], device="meta")  # without numbers to draw: the global state stays
            linear.weight = nn.Parameter(w.detach().clone())
            linear.bias = nn.Parameter(b.detach().clone())
            self.linears.append(linear)
        self.activations = nn.ModuleList(ACTIVATIONS[name]() for name in activations)

    def parameters_of(self, layer: int) -> tuple[Tensor, Tensor]:
        """The weight and the bias of a layer."""
        parameters = list(self.parameters())
        return parameters[2 * layer], parameters[2 * layer + 1]

    def forward(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Both sides of each layer's neurons."""
        n_in: list[Tensor] = []
        n_out: list[Tensor] = []
        for linear, activation in zip(self.linears, self.activations, strict=True):
            n_in.append(linear(n_out[-1] if n_out else x))
            n_out.append(activation(n_in[-1]))
        return n_in, n_out

    def J(self, n_in: Tensor, n_out: Tensor, z: Tensor) -> Tensor:
        """The cost, summed over the outputs and averaged over the samples, from the output layer's neurons."""
        samples = n_in.shape[0] if n_in.dim() == 2 else 1
        match self.cost:
            case "cross_entropy":
                return F.binary_cross_entropy_with_logits(n_in, z, reduction="sum") / samples
            case "softmax_cross_entropy":
                return F.cross_entropy(n_out, z, reduction="sum") / samples
            case "squared_error":
                return F.mse_loss(n_out, z, reduction="sum") / 2 / samples
        raise ValueError(f"cost: expected cross_entropy, softmax_cross_entropy or squared_error, got {self.cost!r}")

    def J_of_n_out(self, n_in: Tensor, n_out: Tensor, z: Tensor) -> Tensor:
        """The same cost as a function of n(out): where J takes n(in), as the article writes it."""
        if self.cost != "cross_entropy":
            return self.J(n_in, n_out, z)
        samples = n_in.shape[0] if n_in.dim() == 2 else 1
        return -(z * n_out.log() + (1 - z) * (1 - n_out).log()).sum() / samples


def one_round(
    x: Tensor,
    z: Tensor,
    eta: float,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activations: Sequence[str],
    cost: str,
) -> dict[str, Tensor]:
    """One round of training by autograd and torch's gradient descent: every quantity by its name.

    J; for each layer n_in, n_out, delta_in, delta_out, the gradients weight and bias, and the updated new weight and
    new bias; and x, the gradient of the input.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        twin = Twin(weights, biases, activations, cost)
        n_in, n_out = twin(x)
        J = twin.J(n_in[-1], n_out[-1], z)
        J_of_n_out = twin.J_of_n_out(n_in[-1], n_out[-1], z)
        delta_in = torch.autograd.grad(J, n_in, retain_graph=True)
        delta_out = torch.autograd.grad(J_of_n_out, n_out[-1:])
        if n_out[:-1]:
            delta_out = torch.autograd.grad(J, n_out[:-1], retain_graph=True) + delta_out
        parameters = list(twin.parameters())  # weight and bias of each layer in turn
        weight = torch.autograd.grad(J, parameters[::2], retain_graph=True)
        bias = torch.autograd.grad(J, parameters[1::2], retain_graph=True)
        gradient_of_x = torch.autograd.grad(J, x)[0]
    forward_phase = {"n_in": n_in, "n_out": n_out}
    backward_phase = {"delta_out": delta_out, "delta_in": delta_in, "weight": weight, "bias": bias}
    updates = {"new weight": descent(weights, weight, eta), "new bias": descent(biases, bias, eta)}
    # In the order of their computation, so that a table shows first where a mistake enters.
    layers = range(len(weights))
    in_order = [(layer, forward_phase) for layer in layers]
    in_order += [(layer, backward_phase) for layer in reversed(layers)]
    in_order += [(layer, updates) for layer in layers]
    quantities = {"J": J}
    for layer, phase in in_order:
        quantities |= {f"{name}[{layer}]": of_layers[layer] for name, of_layers in phase.items()}
    quantities["x"] = gradient_of_x
    return {name: quantity.detach() for name, quantity in quantities.items()}


def literal_order(
    x: Tensor, z: Tensor, eta: float, weights: Sequence[Tensor], biases: Sequence[Tensor], activations: Sequence[str],
    cost: str,
) -> dict[str, Tensor]:  # fmt: skip
    """What the article's literal order of steps gives: the weights into a layer are updated before they carry back.

    The deltas, gradients and updates that differ from `one_round`, by the same names.
    """
    with torch.enable_grad():
        twin = Twin(weights, biases, activations, cost)
        n_in, n_out = twin(x.detach())
        (delta_in,) = torch.autograd.grad(twin.J(n_in[-1], n_out[-1], z), n_in[-1:])
        found: dict[str, Tensor] = {}
        for layer in reversed(range(len(weights) - 1)):
            above, (w, b) = twin.parameters_of(layer + 1)[0], twin.parameters_of(layer)
            (gradient,) = torch.autograd.grad(n_in[layer + 1], [above], delta_in)
            delta_out = delta_in @ (above - eta * gradient)
            (delta_in,) = torch.autograd.grad(n_out[layer], n_in[layer : layer + 1], delta_out)
            weight, bias = torch.autograd.grad(n_in[layer], [w, b], delta_in, retain_graph=True)
            found |= {f"delta_out[{layer}]": delta_out, f"delta_in[{layer}]": delta_in}
            found |= {f"weight[{layer}]": weight, f"bias[{layer}]": bias}
            found |= {f"new weight[{layer}]": w - eta * weight, f"new bias[{layer}]": b - eta * bias}
        found["x"] = delta_in @ twin.parameters_of(0)[0]
    return {name: quantity.detach() for name, quantity in found.items()}


def descent(params: Sequence[Tensor], gradients: Sequence[Tensor], eta: float) -> list[Tensor]:
    """The parameters after one step of torch's gradient descent, by the function behind torch.optim.SGD.

    The class itself costs a second, for it loads torch's compiler at its first use.
    """
    updated = [param.detach().clone() for param in params]
    sgd(
        updated, list(gradients), [None] * len(updated),
        lr=eta, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False,
    )  # fmt: skip
    return updated
