"""The two networks of the article *Neural Networks Backward Propagation* (Mark Chang, 2015), line by line.

Every line of the bodies is an equation of the article, in its own symbols: a neuron n has an *in* side, the weighted
sum, and an *out* side, after the sigmoid; δ(in) = ∂J/∂n(in) and δ(out) = ∂J/∂n(out). Above the equations of a step
stands a comment: its name, and below that in words why they hold. `manual-bp article --html` sets both as a page.
"""

from collections.abc import Callable
from functools import wraps
from types import SimpleNamespace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, ones_like, sigmoid
from torch.nn.functional import logsigmoid

from manual_bp import _checks
from manual_bp._limits import exp, times_log


class Quantities(SimpleNamespace):
    """Every quantity of a worked network under the article's name, each a 0-d tensor; `vars()` gives the mapping."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Tensor: ...


def worked(*, targets: tuple[str, ...]) -> Callable[[Callable[..., Quantities]], Callable[..., Quantities]]:
    """Makes a function of 0-d tensors take floats too, and refuse what is neither: the body is left to the equations.

    The tensors are of one dtype and device: that of the tensors given, else float64 on the CPU.
    """

    def checked(equations: Callable[..., Quantities]) -> Callable[..., Quantities]:
        @wraps(equations)
        def network(*, eta: float | Tensor, **given: float | Tensor) -> Quantities:
            tensors = [_checks.floating(name, value) for name, value in given.items() if isinstance(value, Tensor)]
            like = tensors[0] if tensors else torch.zeros((), dtype=torch.float64)
            scalars = {name: _checks.scalar(name, value, like.dtype, like.device) for name, value in given.items()}
            for name in targets:
                if name in scalars:
                    _checks.probabilities(name, scalars[name])
            return equations(eta=_checks.number("eta", eta), **scalars)

        return network

    return checked


@worked(targets=("y",))
def neuron(*, x1: Tensor, x2: Tensor, y: Tensor, eta: float, w1: Tensor, w2: Tensor, wb: Tensor) -> Quantities:
    """Work through figure 1: one neuron n with inputs x1, x2, a bias and the target y.

    J = −y·log n(out) − (1−y)·log(1 − n(out)),  n(out) = σ(w1·x1 + w2·x2 + wb),  w ← w − η ∂J/∂w

    Takes floats (worked in float64) or 0-d tensors of one floating dtype and device; y from 0 to 1; eta finite.
    Returns n_in, n_out, J, the factors of the chain rule (2), delta_out, delta_in, dJ_dw1, ... and w1_new, w2_new,
    wb_new.

    A saturated neuron is no exception. J is computed from n(in), for log n(out) = log σ(n(in)) and log(1 − n(out)) =
    log σ(−n(in)): large where it is large, never nan. δ(in) = n(out) − y never divides. δ(out) grows as e^|n(in)|;
    where the dtype cannot hold that, its largest finite number stands there.

    Raises TypeError for tensors that differ in dtype, are not floating, or require grad; ValueError for shapes other
    than (), different devices, y outside of [0, 1], or an eta that is not finite.
    """
    # Forward
    # n(in) is the weighted sum of what comes to the neuron. A bias is the weight of one more input, which is always 1.
    n_in = w1 * x1 + w2 * x2 + wb
    n_out = sigmoid(n_in)  # 1 / (1 + e^(−n(in)))

    # Cost: −y·log n(out) − (1−y)·log(1 − n(out))
    # n(out) is the probability that the answer is 1, so the probability of the answer y is n(out) for y = 1, and
    # 1 − n(out) for y = 0. The cost is the negative logarithm of it: 0 for a neuron that is sure and right, without
    # bound for one that is sure and wrong. As 1 − σ(t) = σ(−t), both logarithms are taken of a sigmoid.
    J = -times_log(y, logsigmoid(n_in)) - times_log(1 - y, logsigmoid(-n_in))

    # First factor of (2): −y/n(out) + (1−y)/(1−n(out))
    # J depends on a weight only through n(in), and on n(in) only through n(out). So ∂J/∂w has three factors. The first
    # is the derivative of the two logarithms. With 1/n(out) = 1 + e^(−n(in)) and 1/(1−n(out)) = 1 + e^(n(in)), it
    # divides by nothing.
    dJ_dn_out = -y * (1 + exp(-n_in)) + (1 - y) * (1 + exp(n_in))

    # Second factor of (2)
    # The derivative of the sigmoid. With s = 1 + e^(−t), σ = 1/s and ds/dt = 1 − s, so dσ/dt = (s − 1)/s² = σ·(1 − σ).
    dn_out_dn_in = n_out * (1 - n_out)

    # Third factor of (2), for each weight
    # A weight counts as much as what it is multiplied by: its input, and 1 for the bias.
    dn_in_dw1 = x1
    dn_in_dw2 = x2
    dn_in_dwb = ones_like(n_in)

    # The deltas: at the neuron's output, and carried back through it
    # δ(in) is the first factor times the second. Each fraction loses its denominator, and what is left is
    # −y·(1 − n(out)) + (1−y)·n(out) = n(out) − y: exact however saturated the neuron is.
    delta_out = dJ_dn_out
    delta_in = n_out - y

    # (2) Chain rule: the product of the three factors
    # δ(in) is the same for every weight of the neuron. Only the third factor differs.
    dJ_dw1 = delta_in * dn_in_dw1
    dJ_dw2 = delta_in * dn_in_dw2
    dJ_dwb = delta_in * dn_in_dwb

    # (1) Descent
    # A small step against the derivative changes J by about −η·(∂J/∂w)²: down, whatever the sign.
    w1_new = w1 - eta * dJ_dw1
    w2_new = w2 - eta * dJ_dw2
    wb_new = wb - eta * dJ_dwb

    return Quantities(**locals())


@worked(targets=("z_1", "z_2"))
def two_by_two(
    *,
    x: Tensor,
    y: Tensor,
    z_1: Tensor,
    z_2: Tensor,
    eta: float,
    w_11_x: Tensor,
    w_11_y: Tensor,
    w_11_b: Tensor,
    w_12_x: Tensor,
    w_12_y: Tensor,
    w_12_b: Tensor,
    w_21_11: Tensor,
    w_21_12: Tensor,
    w_21_b: Tensor,
    w_22_11: Tensor,
    w_22_12: Tensor,
    w_22_b: Tensor,
) -> Quantities:
    """Work through figure 2, one round of training: inputs x, y; neurons n11, n12, then n21, n22; targets z1, z2.

    J = −Σk [ zk·log n2k(out) + (1−zk)·log(1 − n2k(out)) ]

    w_21_11 is the weight on the way from n11 into n21, w_11_b the bias weight of n11. In this figure y is an input,
    and z the target.

    Takes floats (worked in float64) or 0-d tensors of one floating dtype and device; z_1 and z_2 from 0 to 1; eta
    finite. Returns every n_.._in and n_.._out, J, every factor of the chain rules (2) and (5), every delta_.._out and
    delta_.._in, every dJ_dw_.. and each updated weight as w_.._new. Saturation, and errors, are as in `neuron`.

    Order of the steps: the article's backward phase updates the weights into layer 2 (its step 2) *before* it carries
    the deltas back over them (its step 3). Done literally, in place, δ11 and δ12 come from the *new* weights, and are
    not the derivatives that (5) derives: with standard-normal weights and inputs and targets 0 or 1, the median
    relative error of δ1 is about 5 % at η = 0.1, 24 % at η = 0.5 and 140 % at η = 3. Here, as in (5) and in autograd,
    all deltas come from the weights of the forward phase, and every weight changes once, after. `manual-bp verify
    --plant stale-weights` shows the literal order.
    """
    # Forward, layer 1
    # w11,x leads from x into n11: first where a weight leads to, then where it comes from. Here y is an input, and z
    # the target.
    n_11_in = w_11_x * x + w_11_y * y + w_11_b
    n_12_in = w_12_x * x + w_12_y * y + w_12_b
    n_11_out = sigmoid(n_11_in)
    n_12_out = sigmoid(n_12_in)

    # Forward, layer 2
    # The outputs of layer 1 are the inputs of layer 2.
    n_21_in = w_21_11 * n_11_out + w_21_12 * n_12_out + w_21_b
    n_22_in = w_22_11 * n_11_out + w_22_12 * n_12_out + w_22_b
    n_21_out = sigmoid(n_21_in)
    n_22_out = sigmoid(n_22_in)

    # Cost, summed over the outputs
    # Each output has a summand of its own, which is that of the neuron alone.
    J_1 = -times_log(z_1, logsigmoid(n_21_in)) - times_log(1 - z_1, logsigmoid(-n_21_in))
    J_2 = -times_log(z_2, logsigmoid(n_22_in)) - times_log(1 - z_2, logsigmoid(-n_22_in))
    J = J_1 + J_2

    # Step 1: the deltas at the outputs (3)
    # n21 is in J by the first summand alone, and there it is the neuron of figure 1, with n11(out) and n12(out) as
    # inputs. So δ21(in) is n21(out) − z1.
    dJ_dn_21_out = -z_1 * (1 + exp(-n_21_in)) + (1 - z_1) * (1 + exp(n_21_in))
    dJ_dn_22_out = -z_2 * (1 + exp(-n_22_in)) + (1 - z_2) * (1 + exp(n_22_in))
    dn_21_out_dn_21_in = n_21_out * (1 - n_21_out)
    dn_22_out_dn_22_in = n_22_out * (1 - n_22_out)
    delta_21_out = dJ_dn_21_out
    delta_22_out = dJ_dn_22_out
    delta_21_in = n_21_out - z_1
    delta_22_in = n_22_out - z_2

    # Step 2: the gradients of the weights into layer 2 (3); the weights themselves wait
    # A delta becomes the gradient of a weight by what that weight is multiplied by. The article puts the new weights in
    # place here. But step 3 needs the weights of the forward phase, so the new ones wait until all deltas are known.
    dn_21_in_dw_21_11 = n_11_out
    dn_21_in_dw_21_12 = n_12_out
    dn_21_in_dw_21_b = ones_like(n_21_in)
    dn_22_in_dw_22_11 = n_11_out
    dn_22_in_dw_22_12 = n_12_out
    dn_22_in_dw_22_b = ones_like(n_22_in)
    dJ_dw_21_11 = delta_21_in * dn_21_in_dw_21_11
    dJ_dw_21_12 = delta_21_in * dn_21_in_dw_21_12
    dJ_dw_21_b = delta_21_in * dn_21_in_dw_21_b
    dJ_dw_22_11 = delta_22_in * dn_22_in_dw_22_11
    dJ_dw_22_12 = delta_22_in * dn_22_in_dw_22_12
    dJ_dw_22_b = delta_22_in * dn_22_in_dw_22_b

    # Step 3: the deltas carried back over the weights (4), (5)
    # n11 is in J on two ways, through both outputs, and derivatives along different ways add up. Forward, n11 sends its
    # output over w21,11 and w22,11. Backward, it collects its delta over the same two weights, and the sigmoid's
    # derivative carries it through the neuron.
    dn_21_in_dn_11_out = w_21_11
    dn_21_in_dn_12_out = w_21_12
    dn_22_in_dn_11_out = w_22_11
    dn_22_in_dn_12_out = w_22_12
    dn_11_out_dn_11_in = n_11_out * (1 - n_11_out)
    dn_12_out_dn_12_in = n_12_out * (1 - n_12_out)
    delta_11_out = dn_21_in_dn_11_out * delta_21_in + dn_22_in_dn_11_out * delta_22_in
    delta_12_out = dn_21_in_dn_12_out * delta_21_in + dn_22_in_dn_12_out * delta_22_in
    delta_11_in = delta_11_out * dn_11_out_dn_11_in
    delta_12_in = delta_12_out * dn_12_out_dn_12_in

    # Step 4: the gradients of the weights into layer 1 (5)
    # As in step 2, with the inputs x and y in the place of the outputs of layer 1.
    dn_11_in_dw_11_x = x
    dn_11_in_dw_11_y = y
    dn_11_in_dw_11_b = ones_like(n_11_in)
    dn_12_in_dw_12_x = x
    dn_12_in_dw_12_y = y
    dn_12_in_dw_12_b = ones_like(n_12_in)
    dJ_dw_11_x = delta_11_in * dn_11_in_dw_11_x
    dJ_dw_11_y = delta_11_in * dn_11_in_dw_11_y
    dJ_dw_11_b = delta_11_in * dn_11_in_dw_11_b
    dJ_dw_12_x = delta_12_in * dn_12_in_dw_12_x
    dJ_dw_12_y = delta_12_in * dn_12_in_dw_12_y
    dJ_dw_12_b = delta_12_in * dn_12_in_dw_12_b

    # (1) Descent: every weight once, after all the deltas
    # This ends the round of training on the sample. The next one begins with the new weights.
    w_21_11_new = w_21_11 - eta * dJ_dw_21_11
    w_21_12_new = w_21_12 - eta * dJ_dw_21_12
    w_21_b_new = w_21_b - eta * dJ_dw_21_b
    w_22_11_new = w_22_11 - eta * dJ_dw_22_11
    w_22_12_new = w_22_12 - eta * dJ_dw_22_12
    w_22_b_new = w_22_b - eta * dJ_dw_22_b
    w_11_x_new = w_11_x - eta * dJ_dw_11_x
    w_11_y_new = w_11_y - eta * dJ_dw_11_y
    w_11_b_new = w_11_b - eta * dJ_dw_11_b
    w_12_x_new = w_12_x - eta * dJ_dw_12_x
    w_12_y_new = w_12_y - eta * dJ_dw_12_y
    w_12_b_new = w_12_b - eta * dJ_dw_12_b

    return Quantities(**locals())
