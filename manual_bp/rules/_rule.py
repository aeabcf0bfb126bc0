"""What a rule is: a forward and its hand-written backward beside each other, with the derivation between them."""

from collections.abc import Callable
from typing import Any, ClassVar

SECTIONS = ("Derivation:", "Often wrong:", "Shapes:", "Source:")


class Rule:
    """A function and its derivative, as two static and pure functions of one class.

    forward(*inputs, **options) -> out
    backward(grad_out, out, *inputs, **options) -> (∂J/∂input for each input, None for one that has no derivative, ...)

    where grad_out = ∂J/∂out of some scalar J, in the shape of out; where out is a tuple, so is grad_out. The inputs are
    tensors, None for an optional one that is left out; what else it depends on, as a stride, is a keyword-only
    option. A subclass registers itself in `RULES`, and is refused without both functions, or when its docstring lacks
    the formula in its first line or one of the `SECTIONS`. With `abstract=True` it is not a rule itself but what
    several rules have in common.
    """

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., tuple[Any, ...]]]

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        if abstract:
            return
        missing = [name for name in ("forward", "backward") if not hasattr(cls, name)]
        if __doc__:  # python -OO leaves out every docstring
            text = cls.__doc__ or ""
            missing += [] if " = " in text.partition("\n")[0] else ["formula in its first line"]
            missing += [section for section in SECTIONS if section not in text]
        if missing:
            raise TypeError(
                f"rule {cls.__name__}: expected forward, backward and a docstring with the formula in its first line "
                f"and the sections {' '.join(SECTIONS)}, got no {', no '.join(missing)}"
            )
        RULES[cls.__name__] = cls


RULES: dict[str, type[Rule]] = {}
