"""The judge never imports what it judges; what is by hand uses no derivative of torch's. Each check can fail."""

import ast
import itertools
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import manual_bp
from crosscheck.verdict.precision import dtypes_of, is_floating
from manual_bp import Network, article
from manual_bp.network import ACTIVATIONS, COSTS
from manual_bp.rules import RULES, Rule
from manual_bp.transformer import BLOCKS, Transformer, one_round
from reference.rules import TWINS

ROOT = Path(manual_bp.__file__).parents[1]
HAND = ROOT / "manual_bp"

# torch's own ways to a derivative; `.backward` is what rules and networks have themselves.
DERIVATIVES = {
    "autograd",
    "func",
    "grad",
    "grad_fn",
    "requires_grad_",
    "enable_grad",
    "set_grad_enabled",
    "ops",
    "jvp",
    "vjp",
}


def imported(source: str) -> set[str]:
    """The top-level packages that a source imports, by statement or by a string."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "import_module",
            "__import__",
        ):
            names |= {
                part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
            }
    return {name.partition(".")[0] for name in names}


def derivatives(source: str) -> set[str]:
    """The names in a source that lead to a derivative of torch's own."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {part for alias in node.names for part in alias.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            names |= {*(node.module or "").split("."), *(alias.name for alias in node.names)}
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return {name for name in names if name in DERIVATIVES or name.endswith("_backward")}


def private_parts(source: str) -> set[str]:
    """What a class of a source uses of another class and calls private, as Other._part."""
    return {
        f"{node.value.id}.{node.attr}"
        for owner in ast.walk(ast.parse(source))
        if isinstance(owner, ast.ClassDef)
        for node in ast.walk(owner)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.attr.startswith("_") and node.value.id not in (owner.name, "self", "cls")
    }


def sources(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*.py")):
        yield str(path.relative_to(folder.parent)), path.read_text(encoding="utf-8")


PACKAGES = {"manual_bp", "reference", "crosscheck"}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_package_imports_another_but_for_the_commands(package):
    files = dict(sources(ROOT / package))
    assert len(files) > 3
    others = {name for name, source in files.items() if imported(source) & (PACKAGES - {package})}
    assert {name for name in others if "commands" not in Path(name).parts} == set()
    assert bool(others) == (package == "manual_bp")


def modules(folder: Path) -> dict[str, str]:
    """The sources of a package, by the names of the modules."""
    paths = sorted(folder.rglob("*.py"))
    names = (".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in paths)
    return {n.removesuffix(".__init__"): p.read_text(encoding="utf-8") for n, p in zip(names, paths, strict=True)}


def import_graph(modules: dict[str, str]) -> dict[str, set[str]]:
    """Which module imports which of the same package, late or for the types alone, too."""
    graph: dict[str, set[str]] = {}
    for name, source in modules.items():
        found = set[str]()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                parts = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {part if part in modules else str(node.module) for part in parts}
        graph[name] = found & modules.keys() - {name}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, if any do."""
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


# A package that loads its names late stands above all that it offers.
ROOMS = {
    "manual_bp.rules": {"manual_bp._limits"},
    "crosscheck.form": {"crosscheck.verdict.precision"},
    "crosscheck.verdict": {"crosscheck.candidate", "crosscheck.devices", "crosscheck.report", "crosscheck.row"},
    "crosscheck.cause": {
        "crosscheck.candidate",
        "crosscheck.devices",
        "crosscheck.row",
        "crosscheck.verdict.precision",
    },
}


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_no_modules_import_each_other(package):
    assert circle(import_graph(modules(ROOT / package))) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_is_below_it(room):
    graph = import_graph(modules(ROOT / room.partition(".")[0]))
    inside = {name for name in graph if name.partition(room)[1] and not name.partition(room)[0]}
    assert inside
    assert set().union(*(graph[name] for name in inside)) - inside <= ROOMS[room]


def test_a_circle_is_seen():
    """Late imports, and those for the types alone, are imports."""
    graph = import_graph({"p.a": "from p import b", "p.b": "def f():\n from p.c import g", "p.c": "import p.a"})
    assert graph == {"p.a": {"p.b"}, "p.b": {"p.c"}, "p.c": {"p.a"}}
    assert set(circle(graph)) == {"p.a", "p.b", "p.c"}
    assert circle(import_graph({"p.a": "from p.b import x", "p.b": "import torch"})) == []


def test_nothing_by_hand_names_a_derivative_of_torchs():
    for name, source in sources(HAND):
        if "commands" not in Path(name).parts:
            assert derivatives(source) == set(), name


def test_matplotlib_is_for_the_pictures_alone():
    """Nothing else asks for the extra, nor waits for its import."""
    files = [*sources(HAND), *sources(ROOT / "crosscheck")]
    # Under TYPE_CHECKING the report names what its picture is.
    pictures = {"manual_bp/figures.py", "manual_bp/commands/plots.py", "crosscheck/plots.py", "crosscheck/report.py"}
    assert {name for name, source in files if "matplotlib" in imported(source)} == pictures
    modules = "manual_bp.network, manual_bp.commands.train, manual_bp.commands.bench, reference, crosscheck.report"
    code = f"import sys, {modules}; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=HAND.parent)


def test_hugging_face_is_for_its_models_alone():
    assert {name for name, source in sources(HAND) if "transformers" in imported(source)} == {
        "manual_bp/hugging_face.py"
    }
    code = "import sys, manual_bp.transformer; assert 'transformers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=HAND.parent)


@pytest.mark.parametrize(
    "source",
    [
        "import reference",
        "from crosscheck.verdict.judge import judge",
        "import_module('reference.network')",
        "__import__('reference')",
    ],
)
def test_an_import_is_seen(source):
    assert imported(source) & PACKAGES


@pytest.mark.parametrize(
    "source",
    [
        "import torch.autograd",
        "from torch.func import grad",
        "torch.autograd.grad(J, w)",
        "w.requires_grad_()",
        "w -= eta * w.grad",
        "torch.ops.aten.sigmoid_backward(g, out)",
        "from torch._C._nn import gelu_backward",
    ],
)
def test_a_derivative_of_torchs_is_seen(source):
    assert derivatives(source)


def test_no_rule_uses_the_private_parts_of_another():
    for name, source in sources(HAND / "rules"):
        assert private_parts(source) == set(), name


def test_the_use_of_private_parts_is_seen():
    source = "class A:\n def f(x): return B._g(A._g(x))"
    assert private_parts(source) == {"B._g"}


class Watch(TorchDispatchMode):
    """Refuses the operations that autograd's derivatives are made of."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert "backward" not in func.name(), f"{func.name()} is torch's own derivative"
        return func(*args, **(kwargs or {}))


Cases = list[tuple[type[Rule], dict[str, object], list[torch.Tensor | None]]]


def every_rule(device: torch.device) -> Cases:
    """Each with the options and inputs of its cases, on every dtype: found by trying autograd, so before the watch."""
    return [
        (rule, twin.options, [x if x is None else x.to(device, t if is_floating(x) else x.dtype) for x in twin.draw(0)])
        for name, rule in RULES.items()
        for twin in TWINS[name]
        for t in twin.dtypes(device, dtypes_of(device))
    ]


def everything_by_hand(device: torch.device, cases: Cases) -> None:
    article.neuron(x1=1, x2=2, y=0.5, eta=0.1, w1=0.1, w2=0.2, wb=0.3)
    article.two_by_two(
        **dict.fromkeys(("x", "y", "z_1", "z_2"), 0.5), eta=0.1,
        **dict.fromkeys(("w_11_x", "w_11_y", "w_11_b", "w_12_x", "w_12_y", "w_12_b"), 0.5),
        **dict.fromkeys(("w_21_11", "w_21_12", "w_21_b", "w_22_11", "w_22_12", "w_22_b"), 0.5),
    )  # fmt: skip
    for rule, options, inputs in cases:
        out = rule.forward(*inputs, **options)
        rule.backward(out, out, *inputs, **options)
    for activation in ACTIVATIONS:
        for cost in COSTS:
            net = Network.random([3, 4, 2], activation=activation, cost=cost, device=device)
            z = torch.zeros(5, dtype=torch.long) if cost == "softmax_cross_entropy" else torch.zeros(5, 2)
            net.fit(torch.ones(5, 3, device=device), z.to(device), eta=0.1, epochs=1, batch_size=2)
    for form, lean in itertools.product(BLOCKS, (False, True)):
        decoder = Transformer.random(
            vocabulary=5, context=4, width=8, heads=2, layers=2, form=form, device=device, lean=lean
        )
        decoder.fit([0, 1, 2, 3, 4, 0], rate=0.1, steps=2, batch_size=3, held_out=[4, 3, 2, 1, 0], every=1)
        decoder.generate([0, 1], 2)
        tokens = torch.arange(4, device=device)[None]
        one_round(decoder, tokens, tokens + 1, 0.1)


def test_everything_by_hand_runs_without_autograd(device):
    cases = every_rule(device)
    assert {rule.__name__ for rule, *_ in cases} == RULES.keys()
    with torch.inference_mode(), Watch():
        everything_by_hand(device, cases)


def test_everything_by_hand_records_no_graph(device):
    """Where grad mode is on, as in a user's program."""
    net = Network.random([3, 4, 2], device=device)
    trace = net.forward(torch.ones(5, 3, device=device))
    grads = net.backward(trace, torch.zeros(5, 2, device=device))
    tensors = (*trace.n_in, *trace.n_out, *grads.weight, *grads.bias, *grads.delta_in, grads.J)
    assert all(tensor.grad_fn is None and not tensor.requires_grad for tensor in tensors)


def test_autograd_would_be_caught():
    with torch.inference_mode(), pytest.raises(RuntimeError):
        torch.ones(3).requires_grad_().sigmoid().sum().backward()
    out = torch.ones(3).sigmoid()
    with Watch(), pytest.raises(AssertionError, match="aten::sigmoid_backward is torch's own derivative"):
        torch.ops.aten.sigmoid_backward(out, out)
