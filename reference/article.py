"""The autograd twins of the article's two networks, under the article's names.

Each names its quantities in a forward phase of its own; every derivative is autograd's.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from reference.network import descent

Quantities = dict[str, Tensor]


def neuron(*, x1: Tensor, x2: Tensor, y: Tensor, eta: float, w1: Tensor, w2: Tensor, wb: Tensor) -> Quantities:
    """Figure 1: every quantity of `manual_bp.article.neuron`, by autograd."""
    with torch.enable_grad():
        w1, w2, wb = (w.detach().requires_grad_() for w in (w1, w2, wb))
        n_in = w1 * x1 + w2 * x2 + wb
        n_out = torch.sigmoid(n_in)
        J = binary_cross_entropy_with_logits(n_in, y)
        J_of_n_out = -y * n_out.log() - (1 - y) * (1 - n_out).log()
        weights = {"w1": w1, "w2": w2, "wb": wb}
        quantities = {"n_in": n_in, "n_out": n_out, "J": J}
        quantities |= {"dJ_dn_out": _d(J_of_n_out, n_out), "dn_out_dn_in": _d(n_out, n_in)}
        quantities |= {"delta_out": quantities["dJ_dn_out"], "delta_in": _d(J, n_in)}
        quantities |= {f"dn_in_d{name}": _d(n_in, w) for name, w in weights.items()}
        quantities |= _descent(J, weights, eta)
    return {name: quantity.detach() for name, quantity in quantities.items()}


def two_by_two(*, x: Tensor, y: Tensor, z_1: Tensor, z_2: Tensor, eta: float, **w: Tensor) -> Quantities:
    """Figure 2: every quantity of `manual_bp.article.two_by_two`, by autograd; w has the names of `WEIGHTS`."""
    with torch.enable_grad():
        weights = {name: value.detach().requires_grad_() for name, value in w.items()}
        n: Quantities = {}
        for neuron in ("11", "12"):
            n[f"n_{neuron}_in"] = weights[f"w_{neuron}_x"] * x + weights[f"w_{neuron}_y"] * y + weights[f"w_{neuron}_b"]
            n[f"n_{neuron}_out"] = torch.sigmoid(n[f"n_{neuron}_in"])
        for neuron in ("21", "22"):
            from_11, from_12 = weights[f"w_{neuron}_11"] * n["n_11_out"], weights[f"w_{neuron}_12"] * n["n_12_out"]
            n[f"n_{neuron}_in"] = from_11 + from_12 + weights[f"w_{neuron}_b"]
            n[f"n_{neuron}_out"] = torch.sigmoid(n[f"n_{neuron}_in"])
        targets = {"1": z_1, "2": z_2}
        costs = {k: binary_cross_entropy_with_logits(n[f"n_2{k}_in"], z) for k, z in targets.items()}
        J = costs["1"] + costs["2"]

        quantities = n | {"J": J} | {f"J_{k}": cost for k, cost in costs.items()}
        for k, z in targets.items():
            n_out = n[f"n_2{k}_out"]
            J_of_n_out = -z * n_out.log() - (1 - z) * (1 - n_out).log()
            quantities[f"dJ_dn_2{k}_out"] = quantities[f"delta_2{k}_out"] = _d(J_of_n_out, n_out)
            for j in ("1", "2"):
                quantities[f"dn_2{k}_in_dn_1{j}_out"] = _d(n[f"n_2{k}_in"], n[f"n_1{j}_out"])
        for j in ("1", "2"):
            quantities[f"delta_1{j}_out"] = _d(J, n[f"n_1{j}_out"])
        for neuron in ("11", "12", "21", "22"):
            n_in, n_out = n[f"n_{neuron}_in"], n[f"n_{neuron}_out"]
            quantities[f"delta_{neuron}_in"] = _d(J, n_in)
            quantities[f"dn_{neuron}_out_dn_{neuron}_in"] = _d(n_out, n_in)
            into = {name: weight for name, weight in weights.items() if name.startswith(f"w_{neuron}_")}
            quantities |= {f"dn_{neuron}_in_d{name}": _d(n_in, weight) for name, weight in into.items()}
        quantities |= _descent(J, weights, eta)
    return {name: quantity.detach() for name, quantity in quantities.items()}


def literal_order(*, x: Tensor, y: Tensor, z_1: Tensor, z_2: Tensor, eta: float, **w: Tensor) -> Quantities:
    """What the article's literal order of steps gives: the weights into layer 2 are updated before they carry back.

    The quantities that differ from `two_by_two`, by the same names: δ1j(out) = Σk w2k,1j′ · δ2k(in), and what follows.
    """
    right = two_by_two(x=x, y=y, z_1=z_1, z_2=z_2, eta=eta, **w)
    found: Quantities = {}
    for j in ("1", "2"):
        carried = {k: right[f"w_2{k}_1{j}_new"] for k in ("1", "2")}
        found |= {f"dn_2{k}_in_dn_1{j}_out": w_new for k, w_new in carried.items()}
        delta_out = carried["1"] * right["delta_21_in"] + carried["2"] * right["delta_22_in"]
        delta_in = delta_out * right[f"dn_1{j}_out_dn_1{j}_in"]
        found |= {f"delta_1{j}_out": delta_out, f"delta_1{j}_in": delta_in}
        for weight in (f"w_1{j}_x", f"w_1{j}_y", f"w_1{j}_b"):
            gradient = delta_in * right[f"dn_1{j}_in_d{weight}"]
            found |= {f"dJ_d{weight}": gradient, f"{weight}_new": w[weight] - eta * gradient}
    return found


WEIGHTS = (
    *("w_11_x", "w_11_y", "w_11_b", "w_12_x", "w_12_y", "w_12_b"),
    *("w_21_11", "w_21_12", "w_21_b", "w_22_11", "w_22_12", "w_22_b"),
)


def _d(of: Tensor, wrt: Tensor) -> Tensor:
    """∂of/∂wrt."""
    return torch.autograd.grad(of, wrt, retain_graph=True)[0]


def _descent(J: Tensor, weights: Quantities, eta: float) -> Quantities:
    """∂J/∂w of each weight, and the weight after torch's own step of gradient descent."""
    gradients = {name: _d(J, w) for name, w in weights.items()}
    updated = descent(list(weights.values()), list(gradients.values()), eta)
    return {f"dJ_d{name}": g for name, g in gradients.items()} | {
        f"{name}_new": w for name, w in zip(weights, updated, strict=True)
    }
