"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft beside the file, that takes its place at once when it is done; until then, the one before stays.

    An interruption, a full disk or an exception leaves no trace. What is no regular file, as /dev/stdout, is written
    to directly. Raises OSError where the draft cannot be written.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
