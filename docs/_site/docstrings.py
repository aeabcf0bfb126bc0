"""Docstrings as they are written here, in plain words and formulas, for Sphinx, which reads marks into them."""

import re
from typing import Any


def plain(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep a paragraph of formulas as it stands, and let no sign in the words be a mark. Tables are tables already."""
    text = "\n".join(lines).strip()
    lines[:] = [*"\n\n".join(map(_paragraph, re.split(r"\n\s*\n", text))).splitlines(), ""]


def _paragraph(text: str) -> str:
    if text.lstrip().startswith("=="):
        return text
    if all(re.search(r" (=|≤|←) ", line) for line in text.splitlines()) and not re.search(r"\.( |$)", text):
        return "::\n\n" + "\n".join(f"    {line}" for line in text.splitlines())
    return "".join(
        part if part.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", part) for part in re.split(r"(`[^`]*`)", text)
    )
