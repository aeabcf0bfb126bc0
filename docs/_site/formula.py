"""Formulas of the docstrings, as 'out = (x − μ) / √(var + eps)', in MathML.

A space between two factors multiplies. ' / ' divides all of a product by all of the next, '/' one factor by one.
"""

import re
from collections.abc import Sequence
from html import escape, unescape

TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<upper>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹ᵀ]+)"
    r"|(?P<number>\d+(?:\.\d+)?|[½¼])"
    r"|(?P<name>(?:(?![½ᵀ¹²³])[^\W\d_][̂̄]?)+[′*]?)"
    r"|(?P<sign>.)",
    re.DOTALL,
)
SUPERSCRIPT = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹ᵀ", "−0123456789T")
CLOSING = {"(": ")", "[": "]", "‖": "‖", "|": "|"}
BETWEEN = set("=+−,;:≤≥<>±→≈")  # what stands between two products
WORDS_OF_MATHEMATICS = re.compile(
    "log|exp|max|min|sin|cos|tanh|erf|det|sign|softmax|relu|mean"
    "|out|grad|mask|scale|stride|dilation|padding|eps|var|index|total|carried"
)


def as_mathml(text: str) -> str:
    """The formula, one element `math` for each part between commas, so that a line can break there.

    Raises ValueError where a bracket is not closed.
    """
    formula = _Formula(text)
    parts = [formula.sequence("")]
    while formula.peek()[1]:
        formula.take()
        parts.append(formula.sequence(""))
    words = (part.replace("&#160;</mtext><mtext>&#160;", "&#160;</mtext><mtext>") for part in parts)
    return ", ".join(f'<math displaystyle="true"><mrow>{part}</mrow></math>' for part in words)


class _Formula:
    """A reader of one formula, from left to right."""

    def __init__(self, text: str) -> None:
        self.tokens = [(match.lastgroup or "", match[0]) for match in TOKEN.finditer(text)]
        self.at = 0

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else ("end", "")

    def take(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1][1]

    def skip_space(self) -> bool:
        skipped = self.peek()[0] == "space"
        self.at += skipped
        return skipped

    def sequence(self, closing: str) -> str:
        """Products and the signs between them, up to a bracket that closes."""
        parts = []
        while True:
            self.skip_space()
            kind, token = self.peek()
            if kind == "end" or token == closing or (token == "," and not closing):
                if closing and kind == "end":
                    raise ValueError(f"formula: expected a closing {closing!r}")
                return "".join(parts)
            parts.append(f"<mo>{escape(self.take())}</mo>" if token in BETWEEN else self.quotient(closing))

    def quotient(self, closing: str) -> str:
        above = self.product(closing)
        self.skip_space()
        if self.peek()[1] == "/" and self.peek(1)[0] == "space":
            self.at += 2
            return _fraction(above, self.product(closing))
        return above

    def product(self, closing: str) -> str:
        """Factors side by side; words are text."""
        factors = []
        while True:
            before = self.at
            space = self.skip_space() and bool(factors)
            kind, token = self.peek()
            if kind == "end" or token == closing or token in BETWEEN or (token == "/" and self.peek(1)[0] == "space"):
                self.at = before if token == "/" else self.at
                return "".join(factors)
            factor = self.factor()
            thin = space and "<mtext>" not in factor and not (factors and "<mtext>" in factors[-1])
            factors.append('<mspace width="0.17em"/>' * thin + factor)

    def factor(self) -> str:
        above = self.powers(self.base())
        if self.peek()[1] == "/" and self.peek(1)[0] != "space":
            self.take()
            return _fraction(above, self.powers(self.base()))
        return above

    def powers(self, base: str) -> str:
        """What stands below and above on the right."""
        below = above = ""
        while True:
            kind, token = self.peek()
            if token == "_":
                self.take()
                below = self.script()
            elif token == "^":
                self.take()
                above = self.script()
            elif kind == "upper":
                above = f"<mtext>{self.take().translate(SUPERSCRIPT)}</mtext>"
            else:
                break
        if "Σ" in base:
            return f"<munder>{base}{below}</munder>" if below else base
        if below and above:
            return f"<msubsup>{base}{below}{above}</msubsup>"
        return f"<msub>{base}{below}</msub>" if below else f"<msup>{base}{above}</msup>" if above else base

    def script(self) -> str:
        if self.peek()[1] == "(":
            return self.group(brackets=False)
        if self.peek()[0] == "name":
            letters = self.take()
            while self.peek()[1] == "," and self.peek(1)[0] == "name":
                letters += self.take() + self.take()
            return f"<mtext>{letters}</mtext>" if len(letters) > 1 else f"<mi>{letters}</mi>"
        return self.base()

    def base(self) -> str:
        kind, token = self.peek()
        if token in CLOSING:
            return self.group()
        if token == "√":
            self.take()
            return f"<msqrt>{self.group(brackets=False) if self.peek()[1] == '(' else self.base()}</msqrt>"
        self.take()
        if kind == "number":
            return f"<mn>{token}</mn>"
        if token == "grad" and self.peek()[1] == "_":
            self.take()
            return f'<mrow><mi>grad</mi><mspace width="0.2em"/>{self.powers(self.base())}</mrow>'
        if token == "∂" and self.peek()[0] == "name":
            return f"<mrow><mo>∂</mo>{self.powers(self.base())}</mrow>"
        if kind == "name" and len(token) > 1 and token.isalpha() and not WORDS_OF_MATHEMATICS.fullmatch(token):
            while self.peek()[1] == "_":
                token += self.take() + self.take()
            if self.peek()[1] != "(":
                return f"<mtext>&#160;{token}&#160;</mtext>"
        if kind == "name":
            applied = self.group() if self.peek()[1] == "(" else ""
            return f"<mrow><mi>{token}</mi>{applied}</mrow>" if applied else f"<mi>{token}</mi>"
        return f"<mo>{escape(token)}</mo>"

    def group(self, *, brackets: bool = True) -> str:
        opening = self.take()
        inner = self.sequence(CLOSING[opening])
        self.take()
        if not brackets:
            return f"<mrow>{inner}</mrow>"
        return f"<mrow><mo>{opening}</mo><mrow>{inner}</mrow><mo>{CLOSING[opening]}</mo></mrow>"


def _fraction(above: str, below: str) -> str:
    """Without the brackets that a fraction does not need."""
    brackets = r"^<mrow><mo>\(</mo><mrow>((?:(?!<mo>\(</mo>).)*)</mrow><mo>\)</mo></mrow>$"
    bare = (re.sub(brackets, r"\1", part) for part in (above, below))
    return "<mfrac>" + "".join(f"<mrow>{part}</mrow>" for part in bare) + "</mfrac>"


LETTERS = {"n_in": "n", "n_out": "n", "angle": "θ"}  # of inputs that the formulas call otherwise
RESULT = re.compile(r"(?:grad_(\w+?)|∂(?:out|J)\w*/∂(\w+?))(?:_\w+)?(?:, [^=]+)?\s+= ")


def results(derivation: str, inputs: Sequence[str]) -> list[str]:
    """The lines of a derivation that give the gradients of these inputs, of each the last one.

    Where a gradient is one thing on one side of a point and another on the other, both.
    """
    letters = {LETTERS.get(name, name) for name in inputs}
    found: dict[str, str] = {}
    for line in derivation.splitlines():
        plain = line.rpartition("   so  ")[2].strip()
        plain = re.sub(r"\s+\(\d+\)(, \(\d+\))*$", "", plain)
        side = re.match(r"[^:=]* [<>≤] [^:=]*: (?:out = [^,]*, )?(?=∂)", plain)
        named = RESULT.match(plain, side.end() if side else 0)
        if plain.startswith("= ") and found:  # it goes on
            last = [*found][-1]
            found[last] = found[last].partition(" = ")[0] + " " + _without_remark(plain)
        elif named and (named[1] or named[2]) in letters:
            found[(named[1] or named[2]) + (side[0] if side else "")] = _without_remark(plain)
    return list(found.values())


def _without_remark(line: str) -> str:
    """A line up to what is said of it behind a gap."""
    name, equals, value = line.partition("= ")
    return re.sub(r" +", " ", name) + equals + re.split(r"(?<!,)\s{2,}", value)[0]


def is_drawn_alike(text: str) -> bool:
    """Whether all of a formula's letters stand in its MathML, in the same order."""
    letters = unescape(re.sub(r"<[^>]*>", "", as_mathml(text)))
    return _letters(letters) == _letters(text.translate(SUPERSCRIPT))


def _letters(text: str) -> str:
    return "".join(c for c in text if c.isalnum())
