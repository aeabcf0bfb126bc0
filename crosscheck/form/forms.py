"""What is handed in, in every form, as functions of flat tensors: of the leaves of its inputs, parameters and options.

A function, an autograd.Function, an op, a module, NumPy's or JAX's functions: each becomes `function(*leaves) -> Outs`.
"""

import copy
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.func import functional_call

from crosscheck.form.arguments import Arguments, Outs, without_compiled
from crosscheck.form.kinds import JAX, TORCH, as_real, handed, is_complex, is_number, kind_of, refuse
from crosscheck.form.through_jax import in_precision_of, through_jax
from crosscheck.form.trees import Missing, aligned, holds, leaves, rebuilt
from crosscheck.verdict.precision import is_floating, rounded

Flat = Callable[..., Outs]


@dataclass(frozen=True)
class Form:
    """What was handed in, as functions of the leaves of its arguments.

    through: what autograd goes through by the candidate's own backward; without it `backward` is one by hand. truth: of
    the twin, or of `forward` itself. method: the one that is left where autograd can go through neither.
    """

    arguments: Arguments
    leaves: list[Any]
    judged: list[int]
    explicit: list[int]
    forward: Flat
    backward: Callable[..., list[Any]] | None
    through: Flat | None
    own: frozenset[Any]
    truth: Flat
    has_twin: bool
    title: str
    method: str | None
    is_jax: bool
    compiled: Callable[[], Flat] | None

    @property
    def device(self) -> torch.device:
        device: torch.device = self.leaves[self.judged[0]].device
        return device


def form_of(
    forward: Callable[..., Any] | type[Function],
    backward: Callable[..., Any] | type[Function] | None,
    inputs: Sequence[Any],
    twin: Callable[..., Any] | None,
    options: Mapping[str, Any],
    wrt: Sequence[str] | None,
    names: Sequence[str] | Mapping[str, str] | None,
    method: str | None,
) -> Form:
    """The form of what was handed in. Raises TypeError and ValueError for what is none, as `crosscheck` says."""
    _check(forward, backward, inputs, twin, options, wrt, names)
    forward, twin = bound_module(forward), bound_module(twin)
    op: Any = backward if is_function(backward) else forward if backward is None else None
    other = twin if twin is not None else forward if is_function(backward) else None
    if op is not None and (other is None or other is op) and method != "taylor":
        raise TypeError(
            f"twin: expected the same function in torch's operations, got none, and no backward: {name_of(op)} "
            f"would be judged by its own backward"
        )
    renamed = names if isinstance(names, Mapping) else {}
    positional = _names(len(inputs), forward, op, twin) if names is None or renamed else [*names]
    if len(positional) != len(inputs):
        raise ValueError(f"names: expected {len(inputs)}, one for each input, got {len(positional)}")
    callee = getattr(forward, "apply") if is_function(forward) else forward  # noqa: B009
    module = forward if isinstance(forward, nn.Module) else None
    kind = JAX if _is_of_jax(callee, backward, inputs, positional, options) else None
    arguments = Arguments(inputs, positional, module, options, kind)
    if len({"out", *arguments.names}) <= len(arguments.names):
        raise ValueError(
            f"names: expected a different one for each input, parameter and option, and none of them 'out', got "
            f"{', '.join(arguments.names)}"
        )
    judged, explicit = arguments.judged(wrt)
    for name, x in zip(arguments.names, arguments.given, strict=True):
        refuse(name, x)
    if not judged:
        raise TypeError("inputs: expected at least one tensor of floating-point or complex numbers, got none")
    flat_leaves = arguments.leaves(judged)
    takes("forward", callee, positional, options)
    if op is None:
        takes("backward", backward, ("grad_out", "out", *positional, *arguments.parameters), options)
    if twin is not None and not isinstance(twin, nn.Module):
        takes("twin", twin, [*positional, *arguments.parameters], options)
    if backward is None and not kind and arguments.has_numbers:
        raise TypeError("backward: expected a function, got none: NumPy's functions have no backward of their own")
    of_forward = through_jax(callee, arguments) if kind and backward is None else forward_of(callee, arguments)
    through = of_forward if backward is None else forward_of(op.apply, arguments) if is_function(op) else None
    if twin is None:
        truth = through_jax(callee, arguments) if kind else of_forward
    elif is_jax(twin) or (kind and not _runs(twin_of(twin, arguments, {}), flat_leaves)):
        truth = through_jax(twin, arguments)
    else:
        truth = twin_of(twin, arguments, _namesakes(renamed, arguments, twin))
    return Form(
        arguments, flat_leaves, judged, explicit, of_forward,
        None if op is not None or backward is None else backward_of(backward, arguments), through,
        frozenset([op] if is_function(op) else []), truth, twin is not None,
        name_of(backward if backward is not None else op),
        "taylor" if twin is None and arguments.has_numbers and not kind else None, bool(kind),
        None if through is None or kind else lambda: compiled_of(op.apply if is_function(op) else callee, arguments),
    )  # fmt: skip


def _check(forward: Any, backward: Any, inputs: Any, twin: Any, options: Any, wrt: Any, names: Any) -> None:
    """Raises TypeError and ValueError for what is not of the types that it should be."""
    if not isinstance(inputs, tuple | list):
        raise TypeError(f"inputs: expected a tuple, as in (x,), got {type(inputs).__name__}")
    if not isinstance(options, Mapping):
        raise TypeError(f"options: expected a dict by keyword, as {{'eps': 1e-5}}, got {type(options).__name__}")
    for what, function in (("forward", forward), ("backward", backward), ("twin", twin)):
        if not callable(function) and not (function is None and what != "forward"):
            raise TypeError(f"{what}: expected a function, got {type(function).__name__}")
    _are_names("names", names)
    _are_names("wrt", wrt)
    if isinstance(names, Mapping) and not isinstance(twin, nn.Module):
        raise ValueError("names: expected a list, one for each input, got a dict, which is for two modules")


def is_function(x: Any) -> bool:
    """Whether it is an autograd.Function."""
    return isinstance(x, type) and issubclass(x, Function)


def _is_of_jax(
    callee: Any, backward: Any, inputs: Sequence[Any], names: Sequence[str], options: Mapping[str, Any]
) -> bool:
    """Whether JAX's arrays are what it takes: it is one of JAX's, is given such, or takes nothing else."""
    given = [x for t in inputs for x in leaves(t, "", is_number).values()]
    if is_jax(callee) or any(kind_of(x) == JAX for x in given):
        return True
    if backward is not None or "jax" not in sys.modules or isinstance(callee, nn.Module):
        return False
    arguments = Arguments(inputs, names, None, options)
    xs = arguments.leaves(arguments.judged(None)[0])
    if not arguments.has_numbers and _runs(forward_of(callee, arguments), xs):
        return False
    return _runs(through_jax(callee, Arguments(inputs, names, None, options, JAX)), xs)


def _are_names(what: str, names: Any) -> None:
    """Raises TypeError for what are no names."""
    if names is None:
        return
    several = [*names, *names.values()] if isinstance(names, Mapping) else names
    if isinstance(several, Tensor) or not isinstance(several, Iterable):
        raise TypeError(f"{what}: expected names, as ['x', 'w'], got {type(names).__name__}")
    for name in several:
        if not isinstance(name, str):
            raise TypeError(f"{what}: expected names, as ['x', 'w'], got one of type {type(name).__name__}")
    if what == "wrt" and not names:
        raise ValueError("wrt: expected the name of at least one input, got none")


def _names(count: int, *functions: Any) -> tuple[str, ...]:
    """The names of the first parameters, and their places where nothing tells them."""
    found = next(filter(None, map(parameters_of, functions)), ())
    return tuple(found[i] if i < len(found) else f"input {i}" for i in range(count))


def _runs(flat: Flat, xs: Sequence[Any]) -> bool:
    try:
        with torch.no_grad():
            flat(*rounded(xs, torch.float32))
    except Exception:
        return False
    return True


def _namesakes(renamed: Mapping[str, str], arguments: Arguments, twin: Any) -> dict[str, str]:
    """By the twin's name of a parameter that of forward's. Raises ValueError for a name that neither has."""
    own = {*arguments.parameters, *arguments.buffers, *arguments.names}
    others = {without_compiled(name) for name, _ in twin.named_parameters()} if isinstance(twin, nn.Module) else set()
    if renamed.keys() <= others and set(renamed.values()) <= own:
        return dict(renamed)  # said the other way round
    for name, other in renamed.items():
        if name not in own or other not in others:
            raise ValueError(
                f"names: expected {{forward's name: the twin's}}, forward's of {', '.join(sorted(own))} and the twin's "
                f"of {', '.join(sorted(others))}, got {{{name!r}: {other!r}}}"
            )
    return {other: name for name, other in renamed.items()}


def name_of(function: Any) -> str:
    """What it is called."""
    if isinstance(function, nn.Module):
        return type(getattr(function, "_orig_mod", function)).__name__
    owner = getattr(function, "__self__", None)
    if isinstance(owner, type) and is_function(owner):
        return owner.__name__
    if schema := schema_of(function):
        return str(schema.name)
    name: str = getattr(getattr(function, "func", function), "__qualname__", "backward")
    return name.rpartition("<locals>.")[2].removesuffix(".backward")


def bound_module(function: Any) -> Any:
    """The module whose own forward it is."""
    owner = getattr(function, "__self__", None)
    return owner if isinstance(owner, nn.Module) and getattr(function, "__name__", "") == "forward" else function


def takes(what: str, function: Any, names: Sequence[str], options: Mapping[str, Any]) -> None:
    """Raises TypeError for a function that cannot be called with so many arguments."""
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):  # a builtin that does not tell
        return
    try:
        signature.bind(*names, **options)
    except TypeError:
        at = inspect.unwrap(function)
        code = getattr(at, "__code__", None)
        where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
        expected = ", ".join((*names, *(f"{name}=" for name in options)))
        raise TypeError(f"{what}: expected to take ({expected}), got {what}{signature}{where}") from None


def forward_of(function: Callable[..., Any], arguments: Arguments) -> Flat:
    """A function, or a module with its parameters, as one of the leaves of what it was given."""
    of_module = (function.named_parameters, function.named_buffers) if isinstance(function, nn.Module) else ()
    real = {without_compiled(name): name for named in of_module for name, _ in named()}

    def flat(*xs: Any) -> Outs:
        with _precision(arguments.kinds, xs):
            to = arguments.handed(xs, None)
            if isinstance(function, nn.Module):
                own = {real[name]: x for name, x in {**to.parameters, **to.buffers}.items()}
                out = called(function, own, to.inputs, to.options)
            else:
                out = function(*to.inputs, **to.options)
            return Outs.of(out, numbers=arguments.has_numbers)

    return flat


def compiled_of(function: Any, arguments: Arguments) -> Flat:
    """The function compiled, as far as it can be traced."""
    torch._dynamo.reset()  # of one and the same code it compiles no more than eight
    return forward_of(torch.compile(function, backend="aot_eager"), arguments)


def called(module: nn.Module, tensors: Mapping[str, Tensor], inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """What a copy of the module returns, which has these tensors for its own, also where its backward runs it again."""
    here = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    try:
        twin = copy.deepcopy(module, {id(here[name]): x for name, x in tensors.items()})
    except Exception:  # what cannot be copied has them while it is called
        return functional_call(module, dict(tensors), tuple(inputs), dict(options), tie_weights=True)
    return twin(*inputs, **options)


def backward_of(function: Callable[..., Any], arguments: Arguments) -> Callable[..., list[Any]]:
    """`backward(grad_out, out, *inputs, *parameters, **options)` as one of leaves, a gradient for each of them."""
    trees = [*arguments.inputs, *arguments.parameters.values()]
    names = [*arguments.input_names, *arguments.parameters]

    def flat(grads_out: Sequence[Any], outs: Outs, *xs: Any) -> list[Any]:
        with _precision(arguments.kinds, xs):
            to = arguments.handed(xs, None)
            named = leaves(outs.returned, "out", is_number).values()
            grads = iter([_like(g, out) for g, out in zip(grads_out, named, strict=True)])
            grad_out = rebuilt(outs.returned, grads, is_number)
            found = function(grad_out, outs.returned, *to.inputs, *to.parameters.values(), **to.options)
            found = _each(found, trees)
            gradients: list[Any] = []
            for tree, gradient, name in zip(trees, found, names, strict=False):
                gradients += aligned(tree, gradient, name, is_number)
            rest = list(range(len(gradients), len(xs)))
            if len(found) < len(trees):
                few = f"{len(found)} gradient{'s' * (len(found) != 1)} for {len(trees)} inputs"
                gradients += [Missing(few) for _ in rest]
            else:
                gradients += [None for _ in rest]
            surplus = list(found[len(trees) :])
            kinds = zip(gradients, arguments.kinds, arguments.are_complex, arguments.names, strict=True)
            return [_as_gradient(*of) for of in kinds] + surplus

    return flat


def _each(found: Any, trees: Sequence[Any]) -> Sequence[Any]:
    """A gradient for each of the inputs; that of a single one may come bare, a list of its own too."""
    if found is None and len(trees) > 1:
        return [Missing("None in place of a gradient for each")] * len(trees)
    if not isinstance(found, tuple | list):
        return (found,)
    own = trees[0] if len(trees) == 1 else None
    is_bare = isinstance(own, tuple | list) and holds(own, is_number) and len(found) == len(own)
    if is_bare and not (len(found) == 1 and isinstance(found[0], tuple | list)):
        return (found,)
    return found


def _like(g: Any, out: Any) -> Any:
    """grad_out as what out is, a number, an array or a tensor."""
    return handed(g, kind_of(out), is_complex(out)) if isinstance(g, Tensor) else g


def _as_gradient(gradient: Any, kind: str | None, is_complex_one: bool, name: str) -> Any:
    """The real tensor of it; for a tensor that is one of torch's, of nothing else."""
    if gradient is None or isinstance(gradient, Missing) or (kind == TORCH and not isinstance(gradient, Tensor)):
        return gradient
    if kind_of(gradient) is not None and is_complex(gradient) != is_complex_one:
        return Missing(f"real numbers, where {name} is complex") if is_complex_one else gradient
    return as_real(gradient, f"gradient of {name}")


def twin_of(twin: Callable[..., Any], arguments: Arguments, renamed: Mapping[str, str]) -> Flat:
    """The twin in torch's operations as a function of the same leaves; of a module the parameters are set by name."""
    by_name = dict(zip(arguments.input_names, range(len(arguments.inputs)), strict=True))

    def flat(*xs: Any) -> Outs:
        to = arguments.handed(xs, TORCH)
        own = {**to.parameters, **to.buffers}
        if not isinstance(twin, nn.Module):
            more = [x for name, x in own.items() if name in arguments.parameters]
            names = [name.replace(".", "_") for name in arguments.parameters]
            if more and set(names) <= set(parameters_of(twin)):
                return Outs.of(twin(*to.inputs, **dict(zip(names, more, strict=True)), **to.options), numbers=False)
            return Outs.of(twin(*to.inputs, *more, **to.options), numbers=False)
        found, positional = {}, dict(enumerate(to.inputs))
        for name, parameter in (*twin.named_parameters(), *twin.named_buffers()):
            other = renamed.get(without_compiled(name), without_compiled(name))
            if other in own:
                found[name] = own.pop(other)
            elif other in by_name:
                found[name] = positional.pop(by_name[other])
            elif isinstance(parameter, nn.Parameter) and parameter.requires_grad:
                raise _no_namesake("twin", name, parameter, "forward", own)
            else:
                found[name] = parameter.detach().to(_dtype(xs, parameter))
        if left := [name for name in own if name in arguments.parameters]:
            raise _no_namesake("forward", left[0], own[left[0]], "twin", dict(twin.named_parameters()))
        return Outs.of(called(twin, found, list(positional.values()), to.options), numbers=False)

    return flat


def _dtype(xs: Sequence[Any], of: Tensor) -> torch.dtype:
    """That of the leaves, for what is floating."""
    return next((x.dtype for x in xs if is_floating(x)), of.dtype) if is_floating(of) else of.dtype


def _no_namesake(of: str, name: str, parameter: Tensor, other: str, its: Mapping[str, Any]) -> ValueError:
    there = ", ".join(f"{name} {list(x.shape)}" for name, x in its.items()) or "none"
    return ValueError(
        f"{of}: expected {other} to have a parameter for its {name} {list(parameter.shape)}, got {there}: "
        f"names={{'weight': 'gamma'}} says that forward's weight is the twin's gamma"
    )


def _precision(kinds: Sequence[str | None], xs: Sequence[Any]) -> AbstractContextManager[Any]:
    return in_precision_of(xs) if JAX in kinds else nullcontext()


def parameters_of(function: Any) -> tuple[str, ...]:
    """The names of the positional parameters, of an op, a Function or a module those that it is called with."""
    if isinstance(function, nn.Module):
        function = function.forward
    if schema := schema_of(function):
        return tuple(argument.name for argument in schema.arguments if not argument.kwarg_only)
    owner: Any = function if isinstance(function, type) else getattr(function, "__self__", None)
    try:
        signature = inspect.signature(owner.forward if is_function(owner) else function)
    except (TypeError, ValueError):  # a builtin that does not tell
        return ()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = tuple(p.name for p in signature.parameters.values() if p.kind in positional)
    has_context = is_function(owner) and owner.setup_context is Function.setup_context
    return names[1:] if has_context else names


def schema_of(function: Any) -> Any:
    """Of an op of torch.library its schema: of the decorated object, its overload, and the packet of that."""
    for at in (function, getattr(function, "_opoverload", None), getattr(function, "default", None)):
        if isinstance(schema := getattr(at, "_schema", None), torch._C.FunctionSchema):
            return schema
    return None


def is_jax(function: Any) -> bool:
    """Whether it is one of JAX's own, as a custom_vjp or what jit returns."""
    return type(function).__module__.partition(".")[0] in ("jax", "jaxlib")
