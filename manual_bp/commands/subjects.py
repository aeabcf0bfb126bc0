"""What `manual-bp verify` judges: everything that is written by hand here."""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck import Report, crosscheck
from crosscheck.cause.diagnosis import Alternatives, Diagnosis
from crosscheck.row import Row, dtype_name
from crosscheck.verdict.judge import judge
from crosscheck.verdict.precision import dtypes_of
from manual_bp import article, data
from manual_bp import network as networks
from manual_bp.adamw import AdamW
from manual_bp.commands import CommandError
from manual_bp.commands._subject import NotJudged, Subject
from manual_bp.network import ACTIVATIONS, COSTS, Network
from manual_bp.rules import RULES, Sigmoid, Tanh
from manual_bp.transformer import IGNORED, Transformer
from reference import article as article_twin
from reference import network as network_twin
from reference import transformer as transformer_twin
from reference.rules import TWINS, Domain, index, normal, probability

ETA = 0.5
SAMPLES = 11


def subjects() -> Iterator[Subject]:
    """The article's two networks, every rule, networks of 1 to 6 layers, and one on real data."""
    for name in DOMAINS:
        yield Subject(f"article.{name}", partial(_random_article, name))
    for name in RULES:
        yield Subject(f"rule {name}", partial(rule, name))
    for depth, (activation, _) in enumerate(NETWORKS, start=1):
        name = f"network {depth} layer{'s' * (depth > 1)}, {activation}"
        yield Subject(name, lambda *how, depth=depth: _random_network(depth, *how))
    yield Subject("network on real digits", _digits)
    for form in TRANSFORMERS:
        yield Subject(f"transformer, {form}", partial(_random_transformer, form))


# Of the article's networks
DOMAINS: dict[str, dict[str, Domain]] = {
    "neuron": {"y": probability()} | dict.fromkeys(("x1", "x2", "w1", "w2", "wb"), normal()),
    "two_by_two": dict.fromkeys(("z_1", "z_2"), probability())
    | dict.fromkeys(("x", "y", *article_twin.WEIGHTS), normal()),
}

# The activation of every layer and the cost of the networks, of 1 layer, 2 layers, ...
NETWORKS = (
    ("sigmoid", "cross_entropy"),
    ("tanh", "softmax_cross_entropy"),
    ("relu", "squared_error"),
    ("sigmoid", "cross_entropy"),
    ("tanh", "squared_error"),
    ("sigmoid", "softmax_cross_entropy"),
)


def _random_article(name: str, device: torch.device, dtypes: Sequence[torch.dtype], seed: int) -> Report:
    generator = torch.Generator().manual_seed(seed)
    given = {quantity: domain(generator).to(device, dtypes_of(device)[0]) for quantity, domain in DOMAINS[name].items()}
    return article_network(name, given, ETA, dtypes, seed)


def article_network(
    name: str, given: Mapping[str, Tensor], eta: float, dtypes: Sequence[torch.dtype], seed: int = 0
) -> Report:
    """Judge a network of the article: its every quantity, from the inputs, targets and weights that are given."""
    # By name at the time of judging: a mistake may be planted by then.
    by_hand, by_autograd = getattr(article, name), getattr(article_twin, name)

    def by_name(values: Sequence[Tensor]) -> dict[str, Any]:
        return dict(zip(given, values, strict=True)) | {"eta": eta}

    def manual(*values: Tensor) -> Mapping[str, Tensor]:
        numbers = by_name(values)
        return {quantity: q for quantity, q in vars(by_hand(**numbers)).items() if quantity not in numbers}

    def autograd(*values: Tensor) -> Mapping[str, Tensor]:
        twin: Mapping[str, Tensor] = by_autograd(**by_name(values))
        return twin

    def gather(deep: bool, *values: Tensor) -> Mapping[str, Alternatives]:
        exact = autograd(*values)
        stale = article_twin.literal_order(**by_name(values)) if name == "two_by_two" else {}
        # An updated weight in the place of another quantity is that very order, and said to be.
        others = {quantity: value for quantity, value in exact.items() if not quantity.endswith("_new")}
        return _with_literal_order(exact, stale, eta, others=others)

    return judge(manual, autograd, list(given.values()), dtypes=dtypes, seed=seed, explained=partial(Diagnosis, gather))


def _with_literal_order(
    exact: Mapping[str, Tensor], stale: Mapping[str, Tensor], eta: float, **known: Any
) -> Mapping[str, Alternatives]:
    """For each quantity what is known, and what it would be in the article's literal order of steps."""
    cause = f"weights updated already, with eta = {eta}, carry the deltas back: the article's literal order of steps"
    return {name: Alternatives(mistaken=[(cause, stale[name])] if name in stale else (), **known) for name in exact}


def rule(name: str, device: torch.device, dtypes: Sequence[torch.dtype], seed: int) -> Report:
    """Judge a rule by each of its twins, in the dtypes in which torch has them; NotJudged where it is none of these."""
    if name not in TWINS:
        raise CommandError(f"rule {name} has no twin: add its line to reference/rules.py")
    rows: list[Row] = []
    for twin in TWINS[name]:
        forward, backward = (partial(f, **twin.options) for f in (RULES[name].forward, RULES[name].backward))
        shared = [t for t in dtypes if t in twin.dtypes(device, dtypes_of(device))]
        if shared:
            inputs = on(device, twin.draw(seed))
            report = crosscheck(forward, backward, inputs, twin=twin, dtypes=shared, seed=seed)
            rows += [replace(row, name=f"{row.name}, {twin}" if twin.options else row.name) for row in report.rows]
    if not rows:
        raise NotJudged(f"torch has no twin of it on {device} at {', '.join(map(dtype_name, dtypes))}")
    return Report(name, tuple(rows))


class Case(NamedTuple):
    """A forward, its hand-written backward, and a draw of their inputs by a seed."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    draw: Callable[[int], tuple[Any, ...]]


def cases(owner: str) -> Iterator[Case]:
    """The cases of a rule, one for each twin, or of the Network; autograd goes through the forward."""
    if owner == "Network":
        yield Case(_cost, _gradients, _weighted)
        return
    rule = RULES[owner]
    for twin in TWINS[owner]:
        yield Case(partial(rule.forward, **twin.options), partial(rule.backward, **twin.options), twin.draw)


def _cost(x: Tensor, z: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor) -> Tensor:
    """The cross entropy of a network of three layers, as one writes it down."""
    a1 = torch.tanh(x @ w1.T + b1)
    a2 = torch.sigmoid(a1 @ w2.T + b2)
    n_in = a2 @ w3.T + b3
    return (F.softplus(n_in) - z * n_in).sum(-1).mean()


def _gradients(grad_out: Tensor, out: Tensor, x: Tensor, z: Tensor, *params: Tensor) -> Sequence[Tensor | None]:
    net = Network(params[::2], params[1::2], activation=(Tanh, Sigmoid, Sigmoid), cost="cross_entropy")
    grads = net.backward(net.forward(x), z)
    by_layer = [g for of_layer in zip(grads.weight, grads.bias, strict=True) for g in of_layer]
    return grad_out * grads.x, None, *(grad_out * g for g in by_layer)


def _weighted(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((SAMPLES, 4), (SAMPLES, 2), (5, 4), (5,), (3, 5), (3,), (2, 3), (2,))
    x, z, *params = (normal(*shape)(generator) for shape in shapes)
    return x.requires_grad_(), z.sigmoid(), *(param.requires_grad_() for param in params)


def _random_network(depth: int, device: torch.device, dtypes: Sequence[torch.dtype], seed: int) -> Report:
    activation, cost = NETWORKS[depth - 1]
    draws = random.Random(seed)
    while True:
        # Widths pairwise different, and other than the number of samples: a transposed square would pass.
        sizes = draws.sample(range(2, SAMPLES), depth + 1)
        net = Network.random(sizes, seed=draws.getrandbits(32), dtype=torch.float64, activation=activation, cost=cost)
        generator = torch.Generator().manual_seed(draws.getrandbits(32))
        x = normal(SAMPLES, sizes[0])(generator)
        if activation != "relu" or min(float(n_in.abs().min()) for n_in in net.forward(x).n_in) > KINK:
            break
    targets = {
        "cross_entropy": probability(SAMPLES, sizes[-1]),
        "softmax_cross_entropy": index(sizes[-1], SAMPLES),
        "squared_error": normal(SAMPLES, sizes[-1]),
    }
    return network(net, x, targets[cost](generator), ETA, device, dtypes, seed)


KINK = 0.03  # no neuron so near to the kink of a relu that rounding in bfloat16 carries it to the other side


def _digits(device: torch.device, dtypes: Sequence[torch.dtype], seed: int) -> Report:
    try:
        X, Z = data.digits()
    except data.DataError as error:
        raise NotJudged(error) from None
    batch = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))[:SAMPLES]
    net = Network.random([64, 32, 10], seed=seed, dtype=torch.float64, activation="tanh", cost="softmax_cross_entropy")
    return network(net, X[batch], Z[batch], ETA, device, dtypes, seed)


def network(
    net: Network, x: Tensor, z: Tensor, eta: float, device: torch.device, dtypes: Sequence[torch.dtype], seed: int
) -> Report:
    """Judge one round of training of such a network: its every quantity, and the weights of a step in place."""
    activations, cost = twin_names(net)
    depth = len(net.weights)

    def with_steps(quantities: dict[str, Tensor]) -> dict[str, Tensor]:
        """The step in place ends with the same weights as the round."""
        new = {name: q for name, q in quantities.items() if name.startswith("new")}
        return quantities | {name.replace("new", "stepped"): q for name, q in new.items()}

    def manual(x: Tensor, z: Tensor, *params: Tensor) -> Mapping[str, Tensor]:
        fresh, stepped = (Network(params[:depth], params[depth:], net.activations, net.cost_rule) for _ in range(2))
        trace, grads = networks.one_round(fresh, x, z, eta)
        stepped.step(x, z, eta)
        by_layer = {
            "n_in": trace.n_in,
            "n_out": trace.n_out,
            "delta_in": grads.delta_in,
            "delta_out": grads.delta_out,
            "weight": grads.weight,
            "bias": grads.bias,
            "new weight": fresh.weights,
            "new bias": fresh.biases,
            "stepped weight": stepped.weights,
            "stepped bias": stepped.biases,
        }
        quantities = {f"{name}[{layer}]": q for name, layers in by_layer.items() for layer, q in enumerate(layers)}
        return {"J": grads.J, "x": grads.x} | quantities

    def autograd(x: Tensor, z: Tensor, *params: Tensor) -> Mapping[str, Tensor]:
        return with_steps(network_twin.one_round(x, z, eta, params[:depth], params[depth:], activations, cost))

    def gather(deep: bool, x: Tensor, z: Tensor, *params: Tensor) -> Mapping[str, Alternatives]:
        twin = (x, z, eta, params[:depth], params[depth:], activations, cost)
        exact, stale = with_steps(network_twin.one_round(*twin)), with_steps(network_twin.literal_order(*twin))
        return _with_literal_order(exact, stale, eta, sizes={"samples": len(x)} if x.dim() == 2 else {})

    inputs = on(device, (x, z, *net.weights, *net.biases))
    return judge(manual, autograd, inputs, dtypes=dtypes, seed=seed, explained=partial(Diagnosis, gather))


# Sizes that no two things share: width 12, 7 places of a context of 8, 5 sequences, 11 tokens
TRANSFORMERS: dict[str, dict[str, Any]] = {
    "gpt2": {"form": "gpt2", "heads": 3},
    "llama": {"form": "llama", "heads": 6, "key_heads": 2},
    "llama, tied": {"form": "llama", "heads": 2, "key_heads": 1, "tied": True},
}


def _random_transformer(form: str, device: torch.device, dtypes: Sequence[torch.dtype], seed: int) -> Report:
    generator = torch.Generator().manual_seed(seed)
    net = Transformer.random(
        vocabulary=11, context=8, width=12, layers=2, seed=seed, dtype=torch.float64, **TRANSFORMERS[form]
    )
    parameters = {name: p + 0.15 * normal(*p.shape)(generator) for name, p in net.parameters.items()}
    tokens, targets = index(11, 5, 7)(generator), index(11, 5, 7)(generator)
    targets[0, :2] = IGNORED
    # With an eps of the size of the gradients: else the step is their sign, which is a jump where one is zero.
    optimizer = AdamW(betas=(0.8, 0.5), eps=0.05, decay=0.1, clip=2.0)
    return transformer(
        Transformer(net.configuration, parameters, optimizer), tokens, targets, ETA, device, dtypes, seed
    )


def transformer(
    net: Transformer, tokens: Tensor, targets: Tensor, rate: float, device: torch.device,
    dtypes: Sequence[torch.dtype], seed: int,
) -> Report:  # fmt: skip
    """Judge one round of training of such a transformer: deltas at the borders of the blocks, gradients, parameters.

    The step is the optimizer's next one, from the moments that it has.
    """
    c, names, settings = net.configuration, list(net.parameters), net.optimizer
    made_of = {name: getattr(c, name) for name in ("form", "layers", "heads", "key_heads", "eps", "base")}

    def by_name(values: Sequence[Tensor]) -> list[dict[str, Tensor]]:
        """Parameters, and both moments."""
        return [dict(zip(names, values[i::3], strict=True)) for i in range(3)]

    def manual(tokens: Tensor, targets: Tensor, *values: Tensor) -> Mapping[str, Tensor]:
        parameters, m, v = by_name(values)
        moments = {name: (m[name], v[name]) for name in names}
        optimizer = AdamW(settings.betas, settings.eps, settings.decay, settings.clip, settings.steps, moments)
        fresh = Transformer(c, parameters, optimizer)
        grads = fresh.backward(fresh.forward(tokens), targets)
        found = {"J": grads.J, "grad logits": grads.logits} | {f"delta[{i}]": d for i, d in enumerate(grads.delta)}
        found |= {f"grad {name}": grad for name, grad in grads.parameters.items()}
        fresh.step(tokens, targets, rate)
        for name, (m_w, v_w) in optimizer.moments.items():
            found |= {f"new {name}": fresh.parameters[name], f"m {name}": m_w, f"v {name}": v_w}
        return found

    def autograd(tokens: Tensor, targets: Tensor, *values: Tensor) -> Mapping[str, Tensor]:
        parameters, m, v = by_name(values)
        return transformer_twin.one_round(
            tokens, targets, parameters, rate, betas=settings.betas, adam_eps=settings.eps, decay=settings.decay,
            clip=settings.clip, m=m, v=v, steps=settings.steps, **made_of,
        )  # fmt: skip

    def gather(deep: bool, *values: Tensor) -> Mapping[str, Alternatives]:
        exact = autograd(*values)
        return {name: Alternatives(others=exact) for name in exact}

    zeros = {name: (torch.zeros_like(p), torch.zeros_like(p)) for name, p in net.parameters.items()}
    moments = settings.moments or zeros
    inputs = on(device, (tokens, targets, *(x for name, p in net.parameters.items() for x in (p, *moments[name]))))
    return judge(manual, autograd, inputs, dtypes=dtypes, seed=seed, explained=partial(Diagnosis, gather))


def twin_names(net: Network) -> tuple[list[str], str]:
    """The activation of each layer and the cost by their names, as the autograd twin takes them."""
    names = {rule: name for name, rule in (ACTIVATIONS | COSTS).items()}
    return [names[rule] for rule in net.activations], names[net.cost_rule]


def on(device: torch.device, inputs: Iterable[Tensor | None]) -> list[Tensor | None]:
    """The inputs on a device, in float32 where it has no float64."""
    widest = dtypes_of(device)[0]
    return [
        x
        if x is None
        else x.detach().to(device, widest if x.is_floating_point() else x.dtype).requires_grad_(x.requires_grad)
        for x in inputs
    ]
