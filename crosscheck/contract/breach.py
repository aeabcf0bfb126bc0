"""What was found of a contract: what is broken, what is refused, what was looked at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Breach:
    """A duty that is not kept: which, of which tensor, and what is seen, in a line with the smallest call for it."""

    check: str
    name: str
    text: str

    def __str__(self) -> str:
        return self.text if self.text.startswith(self.check) else f"{self.check}: {self.text}"

    def as_dict(self) -> dict[str, str]:
        """The breach in JSON's own types."""
        return dict(vars(self))


@dataclass(frozen=True)
class Contract:
    """What was looked at, what is broken, and what is refused: which the candidate says itself it does not take."""

    checked: tuple[str, ...] = ()
    breaches: tuple[Breach, ...] = ()
    refusals: tuple[str, ...] = ()
    told: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is refused, and what is to be known."""
        return (*(f"refused: {refusal}" for refusal in self.refusals), *self.told)
