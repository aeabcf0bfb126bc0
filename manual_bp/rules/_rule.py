"""What a rule is: a forward and its hand-written backward beside each other, with the derivation between them."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor


class Rule:
    """A function and its derivative, as two static and pure functions of one class.

    forward(*inputs) -> out
    backward(grad_out, out, *inputs) -> (∂J/∂input for each input, None for one that has no derivative, ...)

    where grad_out = ∂J/∂out of some scalar J, in the shape of out. A subclass registers itself in `RULES`, and is
    refused without both functions, or without the sections "Derivation:" and "Shapes:" in its docstring. With
    `abstract=True` it is not a rule itself but what several rules have in common.
    """

    forward: ClassVar[Callable[..., Tensor]]
    backward: ClassVar[Callable[..., tuple[Any, ...]]]

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        if abstract:
            return
        missing = [name for name in ("forward", "backward") if not hasattr(cls, name)]
        missing += [section for section in ("Derivation:", "Shapes:") if section not in (inspect.getdoc(cls) or "")]
        if missing:
            raise TypeError(
                f"rule {cls.__name__}: expected forward, backward and a docstring with a derivation and shapes, "
                f"got no {', no '.join(missing)}"
            )
        RULES[cls.__name__] = cls


RULES: dict[str, type[Rule]] = {}
