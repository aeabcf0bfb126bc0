"""What `manual-bp verify` judges, one thing at a time."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from crosscheck import Report


class NotJudged(Exception):  # noqa: N818 (no error: there is nothing to compare with)
    """A thing cannot be judged here; the text says why."""


class Subject(NamedTuple):
    """A thing with a name, and the verdict on it."""

    name: str
    judge: Callable[[torch.device, Sequence[torch.dtype], int], Report]
