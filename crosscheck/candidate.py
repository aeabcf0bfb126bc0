"""What is judged, as the judge takes it: two functions from (*grad_outs, *inputs) to tensors by name."""

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from crosscheck.devices import set_seed
from crosscheck.form.arguments import Outs
from crosscheck.form.kinds import refuse
from crosscheck.form.trees import Missing
from crosscheck.verdict.precision import DTYPES, distance, is_floating, norm, rounded, widened


@dataclass
class Candidate:
    """A backward and the truth that it is judged by: each from (*grad_outs, *inputs) to tensors by name."""

    forward: Callable[..., Any]
    backward: Any
    truth: Callable[..., Any]
    names: Sequence[str]
    judged: Sequence[int]
    values: bool  # whether those of out are judged too
    seed: int
    through: Callable[..., Any] | None = None  # what autograd goes through by the candidate's own backward
    own: set[Any] = field(default_factory=set)  # the autograd.Functions which have that
    outs: int = 1
    out_names: tuple[str, ...] = ()  # those of the truth
    watched: set[torch.dtype] = field(default_factory=set)  # in which it was looked at what it changes
    given: int = 0  # how many of the inputs were handed in, or are parameters; the rest are buffers and options
    with_graph: bool = False  # whether backward goes by the graph of out, as out.backward(grad_out) does
    changed: dict[str, str] = field(default_factory=dict)
    without_numbers: tuple[str, ...] = ()  # outs that are not floating
    by_design: set[str] = field(default_factory=set)  # inputs that the truth changes, too, or that may be changed
    may_change: frozenset[str] = frozenset()  # the latter: then they are no leaves of autograd's
    are_complex: Sequence[bool] = ()  # of the inputs
    compiled: Callable[[], Callable[..., Any]] | None = None  # makes what `through` is after torch.compile
    complex_outs: set[str] = field(default_factory=set)
    floating_outs: set[str] = field(default_factory=set)
    is_random: bool = False  # whether the truth is another one from another random state
    accumulates: bool = False  # whether its backward leaves gradients in .grad that autograd has none of
    materialize: bool = False  # whether a gradient of its own that is None is a zero
    explicit: Collection[int] | None = None  # of which judged inputs it was said; for others None stands for a constant
    left_out: set[str] = field(default_factory=set)  # inputs for which backward has None, and may
    constant: set[int] = field(default_factory=set)  # outs of the truth through which no gradient goes
    fixed: set[int] = field(default_factory=set)  # outs of an autograd.Function that it does not differentiate
    trusted: set[str] | None = None  # names of autograd.Functions in the truth, once it was looked for them
    now: torch.dtype | None = None  # in which it runs
    stops: bool = True  # whether the truth hides some of its steps from autograd, once it was looked for them

    @property
    def what(self) -> str:
        """What the truth is called."""
        return "forward" if self.truth is self.forward else "twin"

    @property
    def places(self) -> dict[str, int]:
        """The places of the judged inputs behind those of grad_out."""
        return {self.names[i]: self.outs + i for i in self.judged}

    @property
    def grads_out_names(self) -> list[str]:
        return [f"grad_{name}" for name in self.names_of_outs]

    @property
    def names_of_outs(self) -> Sequence[str]:
        """Those of the truth."""
        return self.out_names or _numbered(self.outs)

    def named(self, outs: Any) -> dict[str, Any]:
        """The floating-point outs by name; the others have no error to measure."""
        pairs = zip(self._names_in(outs), as_tuple(outs), strict=True)
        return {name: x for name, x in pairs if is_floating(x) or name in self.floating_outs}

    def _names_in(self, outs: Any) -> Sequence[str]:
        """The truth's names of outs: where the two have not the same, by their places; but a dict is by its keys."""
        flat = as_tuple(outs)
        own: Sequence[str] = getattr(outs, "names", ()) or _numbered(len(flat), isinstance(outs, tuple | list))
        are_keys = any("['" in name for name in (*own, *self.out_names))
        places = [i for i, x in enumerate(flat) if x is not None or len(self.out_names) == len(own)]
        if are_keys or len(self.out_names) != len(places):
            return own
        names = list(own)
        for i, name in zip(places, self.out_names, strict=True):
            names[i] = name
        return names

    def _in_order_of(self, outs: Any, grads_out: Sequence[Any]) -> list[Any]:
        """grad_out for each of the outs, by their names."""
        by_name = dict(zip(self.names_of_outs, grads_out, strict=True))
        return [by_name.get(name) for name in self._names_in(outs)]

    def tried(self, inputs: Sequence[Any], dtypes: Sequence[torch.dtype]) -> tuple[Any, ...]:
        """What the truth returns. Raises TypeError unless autograd can go through it in float64, from any state."""
        what = self.what
        xs = widened(inputs)
        try:
            outs = self.outs_of(self.truth, xs)
        except Exception as error:
            if "out of bounds for storage" in str(error):
                raise TypeError(
                    f"{what}: expected to read nothing but its inputs, got a read of the memory around them: hand in "
                    f"the whole tensor, and slice it inside"
                ) from error
            # What raises in any dtype is the caller's to see.
            self.outs_of(self.truth, rounded(inputs, dtype_of(inputs)))
            raise TypeError(
                f"{what}: expected to run in float64, for the oracle, got {type(error).__name__}: {error}: give a twin "
                f"in torch's own operations that does"
            ) from error
        self.by_design |= {n for n, x, y in zip(self.names, widened(inputs), xs, strict=True) if _has_changed(x, y)}
        stay = [i for i in self.judged if self._is_explicit(i) or self.names[i] not in self.by_design]
        self.judged = stay or self.judged
        self.check(outs)
        self.outs = len(outs)
        numbered = zip(self.names_of_outs, outs, strict=True)
        self.without_numbers = tuple(name for name, x in numbered if isinstance(x, Tensor) and not is_floating(x))
        self.is_random = not _are_about(outs, self._outs_watched(inputs, self.seed + 1), 1e-6)
        if self.is_random:
            self._draws_alike(what, inputs, outs, dtypes)
        if self.through:
            self.fixed = self._not_differentiable(inputs, self.through)
        return outs

    def _is_explicit(self, i: int) -> bool:
        return self.explicit is None or i in self.explicit

    def _outs_watched(self, inputs: Sequence[Any], seed: int) -> tuple[Any, ...]:
        """What the truth returns; remembers what it changes, and whether it hides steps from autograd."""
        before, xs = widened(inputs), widened(inputs)

        def traced() -> tuple[Any, ...]:
            for i in self.judged:
                xs[i].requires_grad_()
            set_seed(device_of(xs), seed)
            with torch.enable_grad():
                return as_tuple(self.truth(*xs))

        try:
            outs = traced()
        except Exception:  # it is no way for autograd, which says so
            return self.outs_of(self.truth, before, seed)
        self.constant = {i for i, out in enumerate(outs) if is_floating(out) and not out.requires_grad}
        changed = [x.detach() if isinstance(x, Tensor) else x for x in xs]
        self.by_design |= {n for n, x, y in zip(self.names, before, changed, strict=True) if _has_changed(x, y)}
        if not _functions_in(outs, ())[0]:  # what is compiled is another function where it is watched
            xs = widened(inputs)
            with suppress(Exception), _Stops() as stops:  # what compiles itself may not run while it is watched
                traced()
                self.stops = stops.found
        return tuple(out.detach() if isinstance(out, Tensor) else out for out in outs)

    def _not_differentiable(self, inputs: Sequence[Any], through: Callable[..., Any]) -> set[int]:
        """The outs that it marks so, in the first dtype in which it runs; and by whose backward it goes."""
        for dtype in (dtype_of(inputs), *DTYPES):
            xs = rounded(inputs, dtype)
            for i in self.judged:
                xs[i].requires_grad_()
            with suppress(Exception), torch.enable_grad():
                set_seed(device_of(xs), self.seed)
                outs = as_tuple(through(*xs))
                self.own |= _functions_in(outs, ())[0]
                return {i for i, out in enumerate(outs) if is_floating(out) and not out.requires_grad}
        return set()

    def truth_of(self, *given: Any) -> tuple[Any, ...]:
        """What the truth returns, from the same as `by_autograd`; None for what no gradient goes through, as a mask."""
        outs = self.outs_of(self.truth, rounded(given[self.outs :], torch.float64))
        return tuple(None if i in self.constant else out for i, out in enumerate(outs))

    def check(self, outs: Sequence[Any]) -> None:
        """Raises TypeError for what the truth may not return."""
        for out in outs:
            refuse(f"{self.what}'s result", out)
        if not _tensors(outs):
            kinds = ", ".join(sorted({type(out).__name__ for out in outs}))
            raise TypeError(
                f"{self.what}: expected to return a tensor, or a list, tuple, dict or dataclass of tensors, "
                f"got {kinds or 'an empty one'}"
            )
        if not any(map(is_floating, outs)):
            dtypes = ", ".join(dict.fromkeys(str(out.dtype) for out in _tensors(outs)))
            raise TypeError(f"{self.what}: expected to return a floating-point tensor, got {dtypes}")

    def _draws_alike(self, what: str, inputs: Sequence[Any], outs: Sequence[Tensor], dtypes: Sequence[Any]) -> None:
        """Raises TypeError for random numbers that are others in each dtype: no two dtypes would judge the same."""
        for dtype in dtypes:
            try:
                found = self.outs_of(self.truth, rounded(inputs, dtype))
            except Exception:
                continue  # a dtype that the truth lacks is left out, and said to be
            if not _are_about(found, outs, 0.1):
                raise TypeError(
                    f"{what}: expected the same random numbers in every dtype, got others in {dtype} than in "
                    f"torch.float64: draw them outside, and hand them in as one more input"
                )

    @staticmethod
    def same(outs: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
        return all(
            x is y or torch.equal(x, y) or (is_floating(x) and torch.equal(x.nan_to_num(), y.nan_to_num()))
            for x, y in zip(outs, others, strict=True)
        )

    def outs_of(self, function: Callable[..., Any], xs: Sequence[Any], seed: int | None = None) -> tuple[Any, ...]:
        set_seed(device_of(xs), self.seed if seed is None else seed)
        with torch.no_grad():
            outs = function(*xs)
            if function is self.truth and isinstance(outs, Outs):
                self.out_names = outs.names
                self.complex_outs = {name for name, z in zip(outs.names, outs.are_complex, strict=True) if z}
                self.floating_outs = {name for name, x in zip(outs.names, outs, strict=True) if is_floating(x)}
            return as_tuple(outs)

    def by_hand(self, *given: Any) -> dict[str, Any]:
        grads_out, xs = given[: self.outs], list(given[self.outs :])
        self.now = dtype_of(xs)
        if self.through:
            return self._through(self.through, grads_out, xs)
        is_new = dtype_of(xs) not in self.watched
        before = [list(map(_copied, given))] if is_new else []
        try:
            values, gradients = self._by_backward(before, given)
        except RuntimeError as error:
            if self.with_graph or not before or "does not require grad" not in str(error):
                raise
            self.with_graph = True
            return self.by_hand(*before[0])
        self.watched.add(dtype_of(xs))
        # What is missing, or of no use, is the judge's to say; what is too many has no input to be the gradient of.
        given_back = list(map(_kept, gradients))
        none = "None: if it is a constant, leave it out of wrt="
        nones = [i for i in self.judged if given_back[i] is None]
        if len(nones) < len(self.judged):
            self.left_out |= {self.names[i] for i in nones if not self._is_explicit(i)}
        for i in self.judged:
            if self.names[i] not in self.left_out:
                values[self.names[i]] = Missing(none) if given_back[i] is None else given_back[i]
        values |= {f"gradient {i}, of no input": given_back[i] for i in range(len(xs), len(given_back))}
        return values

    def _by_backward(
        self, before: Sequence[Sequence[Any]], given: Sequence[Any]
    ) -> tuple[dict[str, Any], Sequence[Any]]:
        """The values of what forward returns, and what backward returns."""
        values: dict[str, Any] = {}

        def keep(out: Any) -> None:  # before backward changes it
            values.update({n: _kept(_detached(x)) for n, x in self.named(out).items()} if self.values else {})

        for i in self.judged if self.with_graph else ():
            given[self.outs + i].requires_grad_()
        with torch.set_grad_enabled(self.with_graph):
            _, gradients = self._run(before, given, keep=keep)
        return values, [_detached(g) if self.with_graph else g for g in gradients]

    def _run(
        self, before: Sequence[Sequence[Any]], given: Sequence[Any], between: Callable[[], Any] | None = None,
        keep: Callable[[Any], None] = lambda out: None,
    ) -> tuple[Any, Sequence[Any]]:  # fmt: skip
        """What forward returns, and what backward does."""
        grads_out, xs = given[: self.outs], given[self.outs :]
        device = device_of(xs)
        with _without_tritons_bfloat16(dtype_of(xs)):
            set_seed(device, self.seed)
            out = self.forward(*xs)
            self._watch(before, given, "forward")
            if between:
                between()
            keep(out)
            out_before = self._copies_of(out) if before else []
            set_seed(device, self.seed)
            gradients = self.backward(tuple(map(_like, self._in_order_of(out, grads_out), out)), out, *xs)
            self._watch(before, given, "backward")
            self._watch_outs(out_before, out)
        return out, gradients

    def _through(self, through: Callable[..., Any], grads_out: Sequence[Any], xs: list[Any]) -> dict[str, Tensor]:
        """By autograd through the candidate's own backward, as torch itself calls it."""
        given = (*grads_out, *xs)
        before = [list(map(_copied, given))] if dtype_of(xs) not in self.watched else []
        out = self.forward_through(xs)
        self._watch(before, given, "forward")
        # Before backward changes it
        values = {name: _kept(_detached(x)) for name, x in self.named(out).items()}
        out_before = self._copies_of(out) if before else []
        gradients = self.gradients(out, grads_out, xs)
        self._watch(before, given, "backward")
        self._watch_outs(out_before, out)
        self.watched.add(dtype_of(xs))
        if any(gradient is None for gradient in gradients):
            gradients = self._by_accumulation(through, grads_out, xs, gradients)
        return values | {self.names[i]: _kept(gradient) for i, gradient in zip(self.judged, gradients, strict=True)}

    def forward_through(self, xs: Sequence[Any]) -> Any:
        """What autograd goes through, from leaves that require grad where they are judged."""
        assert self.through is not None
        for i in self.judged:
            xs[i].requires_grad_()
        set_seed(device_of(xs), self.seed)
        with torch.enable_grad(), _without_tritons_bfloat16(dtype_of(xs)):
            # What may be changed in place is no leaf.
            inner = [x.clone() if name in self.may_change else x for name, x in zip(self.names, xs, strict=True)]
            return self.through(*inner)

    def gradients(self, out: Any, grads_out: Sequence[Any], xs: Sequence[Any], **options: bool) -> list[Any]:
        """Autograd's gradients of what it went through, by the leaves."""
        wanted = [xs[i] for i in self.judged]
        grads = self._in_order_of(out, grads_out)
        try:
            with _without_tritons_bfloat16(dtype_of(xs)):
                return gradients_of(out, grads, wanted, materialize_grads=self.materialize, **options)
        except RuntimeError as error:
            if "returned an invalid gradient" in str(error):
                return [Missing(str(error).partition("\n")[0]) for _ in wanted]
            if "compatible with .grad()" in str(error):
                return [None for _ in wanted]
            raise

    def raw(
        self, grads_out: Sequence[Any], xs: Sequence[Any], between: Callable[[], Any] | None = None
    ) -> dict[str, Any]:
        """The outs and gradients themselves, no copies; between: what runs between forward and backward."""
        if self.through:
            out = self.forward_through(xs)
            if between:
                between()
            gradients = self.gradients(out, grads_out, xs)
        else:
            for i in self.judged if self.with_graph else ():
                xs[i].requires_grad_()
            with torch.set_grad_enabled(self.with_graph):
                out, given_back = self._run([], (*grads_out, *xs), between)
            gradients = [given_back[i] for i in self.judged]
        values = {name: _detached(x) for name, x in self.named(out).items()}
        return values | {self.names[i]: gradient for i, gradient in zip(self.judged, gradients, strict=True)}

    def _by_accumulation(
        self, through: Callable[..., Any], grads_out: Sequence[Any], xs: Sequence[Any], gradients: Sequence[Any]
    ) -> list[Any]:
        """What is in `.grad` after out.backward(), for those that autograd has no gradient of.

        So it is where a backward calls backward() itself. What that leaves in other tensors is taken away again.
        """
        if any(_is_freed(x) for x in xs):
            return list(gradients)
        fresh = [_copied(x) for x in xs]
        for i in self.judged:
            fresh[i].requires_grad_()
        set_seed(device_of(xs), self.seed)
        with torch.enable_grad():
            out = through(*fresh)
            pairs = [(o, g) for o, g in zip(out, self._in_order_of(out, grads_out), strict=True) if g is not None]
            pairs = [(o, g.to(o.dtype)) for o, g in pairs if isinstance(o, Tensor) and o.requires_grad]
            leaves = {node.variable for node in nodes(out) if hasattr(node, "variable")}
            before = [(leaf, leaf.grad) for leaf in leaves if not any(leaf is x for x in fresh)]
            try:
                if pairs:
                    torch.autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
            except RuntimeError:
                return list(gradients)
            finally:
                for leaf, grad in before:
                    leaf.grad = grad
        found = [fresh[i].grad for i in self.judged]
        self.accumulates = any(one is None and other is not None for one, other in zip(gradients, found, strict=True))
        return [one if one is not None else other for one, other in zip(gradients, found, strict=True)]

    def _watch(self, before: Sequence[Sequence[Any]], after: Sequence[Any], by: str) -> None:
        """Remember what is no longer as it was."""
        for copies in before:
            for name, x, y in zip((*self.grads_out_names, *self.names), copies, after, strict=True):
                if name not in self.by_design | self.may_change and _has_changed(x, y):
                    self.changed.setdefault(name, by)

    def _copies_of(self, out: Any) -> list[Any]:
        return [_copied(_detached(x)) for x in as_tuple(out)]

    def _watch_outs(self, before: Sequence[Any], out: Any) -> None:
        """Remember which outs backward has changed."""
        for name, x, y in zip(self._names_in(out), before, as_tuple(out), strict=False):
            if name not in self.may_change and _has_changed(x, _detached(y)):
                self.changed.setdefault(name, "backward")

    def by_autograd(self, *given: Any) -> dict[str, Tensor]:
        grads_out, xs = given[: self.outs], list(given[self.outs :])
        for i in self.judged:
            xs[i].requires_grad_()
        leaves = [xs[i] for i in self.judged]
        set_seed(device_of(xs), self.seed)
        try:
            with torch.enable_grad():
                out = self.truth(*xs)
            if not any(value.requires_grad for value in _tensors(as_tuple(out))):
                raise self._opaque("got a result that depends on no input")
            self._see_through(as_tuple(out), leaves)
            kept = [None if i in self.fixed else g for i, g in enumerate(grads_out)]
            gradients = gradients_of(out, kept, leaves, materialize_grads=True)
        except RuntimeError as error:
            raise self._opaque(f"got {type(error).__name__} in {dtype_of(xs)}: {error}") from error
        values = {name: _detached(value) for name, value in self.named(out).items()} if self.values else {}
        of_inputs = {self.names[i]: gradient for i, gradient in zip(self.judged, gradients, strict=True)}
        return values | {name: gradient for name, gradient in of_inputs.items() if name not in self.left_out}

    def _opaque(self, why: str) -> TypeError:
        return TypeError(
            f"{self.what}: expected torch's operations, which autograd can go through, {why}: "
            f"give the same function in these as twin, or method='taylor'"
        )

    def _see_through(self, outs: Sequence[Any], leaves: Sequence[Tensor]) -> None:
        """Remember whose backward autograd trusts. Raises TypeError where nothing but such a one would be the truth."""
        if self.trusted is not None:
            return
        functions, is_reached = _functions_in(outs, leaves)
        transparent = {function for function in functions if function.__module__ == "torch.utils.checkpoint"}
        transparent |= {function for function in functions if function.__module__ == "crosscheck.form.through_jax"}
        is_own = bool(functions & self.own - transparent)
        if is_own or (self.what == "forward" and functions - transparent and not is_reached):
            names = " and ".join(sorted(function.__name__ for function in (functions & self.own or functions)))
            raise TypeError(
                f"{self.what}: expected torch's operations, got {names}, which would be judged by its own backward: "
                f"give the same function in torch's operations, as forward or as twin"
            )
        self.trusted = {function.__name__ for function in functions - transparent}


class _Stops(TorchFunctionMode):
    """Looks whether a value that depends on what is judged goes on without autograd, as behind `detach`."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        # Of these it is the first argument alone whose values go on, if any do.
        takes_a_form = name.endswith(("_like", "_as")) or name.startswith("new_") or name == "to"
        given = args[:1] if takes_a_form else [*args, *(kwargs or {}).values()]
        if any(x.requires_grad for x in _tensors(given)) and not name.endswith("_like") and not name.startswith("new_"):
            self.found |= is_floating(out) and not out.requires_grad
            self.found |= name in ("item", "tolist", "numpy", "__float__", "__array__", "register_hook")
            self.found |= "fake_quantize" in name  # whose derivative is another one on purpose
        return out


@contextmanager
def _without_tritons_bfloat16(dtype: torch.dtype) -> Iterator[None]:
    """Triton's interpreter multiplies the bits of a bfloat16: refuses to have it compute in that dtype."""
    interpreter = sys.modules.get("triton.runtime.interpreter")
    if interpreter is None or dtype != torch.bfloat16:
        yield
        return
    executor = interpreter.GridExecutor
    call = executor.__call__

    def refuse_to(self: Any, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("Triton's interpreter computes wrongly in bfloat16: judge it on a GPU")

    executor.__call__ = refuse_to
    try:
        yield
    finally:
        executor.__call__ = call


def _are_about(ones: Sequence[Any], others: Sequence[Any], share: float) -> bool:
    """Whether they are the same but for rounding, up to this share of them."""
    pairs = [(x.double(), y.double()) for x, y in zip(ones, others, strict=True) if isinstance(x, Tensor)]
    return all(distance(x, y) <= share * norm(y) for x, y in pairs)  # double: a mask has no difference


def _kept(x: Any) -> Any:
    """A copy: what is returned may be a buffer that the next call writes to."""
    return x.clone() if is_floating(x) and not x.requires_grad and not x.is_meta else x


def _is_freed(x: Any) -> bool:
    """Whether its memory was given back, as a reversible layer does: nobody may look at it."""
    return isinstance(x, Tensor) and bool(x.numel()) and not x.untyped_storage().nbytes()


def _has_changed(x: Any, y: Any) -> bool:
    if _is_freed(y):
        return True
    return isinstance(x, Tensor) and not (x.shape == y.shape and Candidate.same((x,), (y,)))


def _like(g: Any, out: Any) -> Any:
    """grad_out in the dtype of out."""
    return g.to(out.dtype) if is_floating(g) and is_floating(out) else g


def _functions_in(outs: Sequence[Any], leaves: Sequence[Tensor]) -> tuple[set[Any], bool]:
    """The autograd.Functions that results were computed by, whose backward somebody wrote.

    And whether some leaf is reached by a way that goes through none of them.
    """
    nodes = [out.grad_fn for out in _tensors(outs) if out.grad_fn is not None]
    found, seen, free = set[Any](), set(nodes), set(nodes)
    while nodes:
        node = nodes.pop()
        if isinstance(node, BackwardCFunction):
            found.add(node._forward_cls)
            free.discard(node)
        for before, _ in node.next_functions:
            if before is not None:
                is_new = before not in seen or (node in free and before not in free)
                seen.add(before)
                if node in free:
                    free.add(before)
                nodes += [before] * is_new
    return found, any(getattr(node, "variable", None) is leaf for node in free for leaf in leaves)


def nodes(outs: Sequence[Any]) -> Iterator[Any]:
    """Of the graph behind these."""
    nodes = [out.grad_fn for out in _tensors(outs) if out.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        yield node
        fresh = {before for before, _ in node.next_functions if before is not None} - seen
        seen |= fresh
        nodes += fresh


def device_of(inputs: Sequence[Any]) -> torch.device:
    return next(x.device for x in inputs if is_floating(x))


def dtype_of(inputs: Sequence[Any]) -> torch.dtype:
    return next(x.dtype for x in inputs if is_floating(x))


def gradients_of(out: Any, grads_out: Sequence[Any], xs: Sequence[Tensor], **options: bool) -> list[Tensor]:
    """Autograd's, of the outs that depend on some x; an out of another shape than expected has no gradient."""
    pairs = [
        (o, g.to(o.dtype))
        for o, g in zip(as_tuple(out), grads_out, strict=False)
        if isinstance(o, Tensor) and o.requires_grad and g is not None and g.shape == o.shape
    ]
    if not pairs:
        return [torch.zeros_like(x) for x in xs]
    outs, grads = zip(*pairs, strict=True)
    gradients = torch.autograd.grad(outs, xs, grads, allow_unused=True, **options)
    return [gradient if gradient is None else gradient.detach() for gradient in gradients]


def as_tuple(out: Any) -> tuple[Any, ...]:
    return tuple(out) if isinstance(out, tuple | list) else (out,)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    return [value for value in values if isinstance(value, Tensor)]


def _numbered(count: int, is_several: bool = False) -> tuple[str, ...]:
    return tuple(f"out[{i}]" for i in range(count)) if is_several or count > 1 else ("out",)


def _copied(x: Any) -> Any:
    return rounded([x], x.dtype)[0] if isinstance(x, Tensor) else x


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x
