"""Files that are written whole or not at all, and why one cannot be read."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft beside the file, that takes its place at once when it is done; until then, the one before stays.

    An interruption, a full disk or an exception leaves no trace. A symbolic link stays one, and a file keeps its mode.
    What is no regular file, or a name of one that is open, as /dev/stdout, is written to directly. Raises OSError where
    the draft cannot be written.
    """
    if str(path).startswith(("/dev/", "/proc/")) or (path.exists() and not path.is_file()):
        yield path
        return
    path = Path(os.path.realpath(path))
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        if path.exists():  # what is not for everyone's eyes is not while it is written either
            draft.touch(mode=0o600)
            shutil.copymode(path, draft)
        yield draft
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


UNREAD: dict[type[OSError], str] = {
    FileNotFoundError: "no file of that name",
    IsADirectoryError: "a directory",
    PermissionError: "one that may not be read",
}


def unread(error: OSError) -> str:
    """What is there in place of a file that can be read."""
    return UNREAD.get(type(error)) or error.strerror or str(error)
