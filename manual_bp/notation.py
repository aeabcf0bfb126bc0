"""The article's notation: its symbols, and the equations that `manual_bp.article` consists of, as text and MathML.

The equations, and the words between them, are read from the source, so that what is shown is what is computed.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple


class Section(NamedTuple):
    """A comment of the source: its first line, and the others, which say why."""

    title: str
    prose: str


class Equation(NamedTuple):
    """A line of the source: name = value, under the last comment above it."""

    section: Section
    name: str
    value: ast.expr


def equations(function: Callable[..., object]) -> Iterator[Equation]:
    """The assignments of a function, in their order."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    assignments = {line.lineno: line for line in body if isinstance(line, ast.Assign)}
    comment: list[str] = []
    above = ""
    for number, line in enumerate(map(str.strip, source.splitlines()), start=1):
        if line.startswith("# "):
            comment = [*comment, line[2:]] if above.startswith("# ") else [line[2:]]
        elif number in assignments and isinstance(name := assignments[number].targets[0], ast.Name):
            yield Equation(Section(comment[0], " ".join(comment[1:])), name.id, assignments[number].value)
        above = line


class Symbol(NamedTuple):
    """A quantity: its letter, what stands below, and its side, as δ, "21", "in"."""

    letter: str
    below: str = ""
    side: str = ""
    prime: str = ""


LETTERS = {"delta": "δ", "eta": "η"}


def symbol(name: str) -> Symbol | tuple[Symbol, Symbol]:
    """What a name stands for; a derivative is two."""
    derivative = re.fullmatch(r"d(J|n\w*?)_d(\w+)", name)
    if derivative:
        return _quantity(derivative[1]), _quantity(derivative[2])
    return _quantity(name)


def _quantity(name: str) -> Symbol:
    prime = "′" if name.endswith("_new") else ""
    letter, *rest = name.removesuffix("_new").split("_")
    if not rest and len(letter) == 2:  # x1, w1, wb
        letter, rest = letter[0], [letter[1]]
    side = rest.pop() if rest and rest[-1] in ("in", "out") else ""
    return Symbol(LETTERS.get(letter, letter), ",".join(rest), side, prime)


def text(name: str) -> str:
    """A quantity in a line of text: δ21(in), w21,11, ∂J/∂w21,11."""

    def one(s: Symbol) -> str:
        return s.letter + s.below + s.prime + f"({s.side})" * bool(s.side)

    meant = symbol(name)
    return one(meant) if isinstance(meant, Symbol) else f"∂{one(meant[0])}/∂{one(meant[1])}"


def mathml(name: str) -> str:
    """A quantity in MathML."""

    def one(s: Symbol) -> str:
        letter = f"<mi>{s.letter}</mi>"
        if s.below:
            letter += f"<mtext>{s.below}</mtext>"
            letter = f"<msubsup>{letter}<mo>{s.prime}</mo></msubsup>" if s.prime else f"<msub>{letter}</msub>"
        return f"<mrow>{letter}{f'<mtext>({s.side})</mtext>' * bool(s.side)}</mrow>"

    meant = symbol(name)
    if isinstance(meant, Symbol):
        return one(meant)
    above, below = (f"<mrow><mo>∂</mo>{one(part)}</mrow>" for part in meant)
    return f"<mfrac>{above}{below}</mfrac>"


def as_text(value: ast.expr, leaf: Callable[[str], str] = text) -> str:
    """A formula in a line of text, each name as `leaf` has it."""
    return _formula(value, leaf, _TEXT)


def as_mathml(value: ast.expr) -> str:
    """A formula in MathML."""
    return _formula(value, mathml, _MATHML)


def terms_in_mathml(value: ast.expr) -> list[str]:
    """A formula in MathML, term by term: a line may break between them."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add | ast.Sub):
        last = as_mathml(value).removeprefix(as_mathml(value.left))
        return [*terms_in_mathml(value.left), last.replace("<mo>", '<mo form="infix">', 1)]
    return [as_mathml(value)]


def in_numbers(value: ast.expr, numbers: Mapping[str, float]) -> str:
    """The formula with the numbers put in for the names."""

    def leaf(name: str) -> str:
        shown = number(numbers[name])
        return f"({shown})" if shown.startswith("−") else shown

    return re.sub(r"\((\(−[^()]*\))\)", r"\1", as_text(value, leaf))  # σ(−1), not σ((−1))


def number(value: float) -> str:
    """A number for people, of six digits."""
    return f"{value:.6g}".replace("-", "−")


class _Style(NamedTuple):
    operator: str
    brackets: str
    functions: dict[str, str]


_TEXT = _Style(
    " {} ",
    "({})",
    {"sigmoid": "σ({})", "logsigmoid": "log σ({})", "exp": "e^({})", "times_log": "{}·{}", "ones_like": "1"},
)
_MATHML = _Style(
    "<mo>{}</mo>",
    "<mrow><mo>(</mo>{}<mo>)</mo></mrow>",
    {
        "sigmoid": "<mi>σ</mi><mrow><mo>(</mo>{}<mo>)</mo></mrow>",
        "logsigmoid": "<mi>log</mi><mspace width='.2em'/><mi>σ</mi><mrow><mo>(</mo>{}<mo>)</mo></mrow>",
        "exp": "<msup><mi>e</mi><mrow>{}</mrow></msup>",
        "times_log": "{}<mo>·</mo>{}",
        "ones_like": "<mn>1</mn>",
    },
)


def _formula(value: ast.expr, leaf: Callable[[str], str], style: _Style) -> str:
    def operator(sign: str) -> str:
        return (style.operator if sign in "+−" else style.operator.strip()).format(sign)

    def factor(part: ast.expr) -> str:
        shown = formula(part)
        return (
            style.brackets.format(shown) if isinstance(part, ast.BinOp) and not isinstance(part.op, ast.Mult) else shown
        )

    def formula(part: ast.expr) -> str:
        match part:
            case ast.Name(id=name):
                return leaf(name)
            case ast.Constant(value=int(constant)):
                return f"<mn>{constant}</mn>" if style is _MATHML else str(constant)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return f"{operator('−').strip()}{factor(operand)}"
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return f"{factor(left)}{operator('·')}{factor(right)}"
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return f"{formula(left)}{operator('+')}{formula(right)}"
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return f"{formula(left)}{operator('−')}{factor(right)}"
            case ast.Call(func=ast.Name(id=function), args=arguments):
                inner = [factor(argument) if function == "times_log" else formula(argument) for argument in arguments]
                return style.functions[function].format(*inner)
        raise ValueError(f"no notation for {ast.unparse(part)!r}")

    return formula(value)
