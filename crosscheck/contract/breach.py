"""What was found of a contract: what is broken, what is refused, what was looked at."""

from dataclasses import dataclass

BROKEN, KEPT = "broken", "kept"


@dataclass(frozen=True)
class Breach:
    """A duty that is not kept: which, of which tensor, and what is seen, in a line with the smallest call for it."""

    check: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.check}: {self.text}"

    def as_dict(self) -> dict[str, str]:
        """The breach in JSON's own types."""
        return dict(vars(self))


@dataclass(frozen=True)
class Contract:
    """The verdict on what a backward owes beside its numbers. refusals: what it says itself that it does not take."""

    checked: tuple[str, ...] = ()
    breaches: tuple[Breach, ...] = ()
    refusals: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.breaches:
            return f"{BROKEN}: " + "; ".join(map(str, self.breaches))
        return f"{KEPT}: {', '.join(self.checked)}"
