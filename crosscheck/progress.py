"""A line on a terminal that says what is going on, where it takes long."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

PATIENCE = 2.0  # seconds until there is a line
CLEAR = "\r\x1b[2K"


@contextmanager
def told(title: str, now: Callable[[], str], patience: float = PATIENCE) -> Iterator[None]:
    """Say on stderr, from so many seconds on and every second anew, what is going on; at the end the line is gone.

    Only on a terminal that shows no other progress.
    """
    stream = sys.stderr
    if not _is_free(stream):
        yield
        return
    done = threading.Event()

    def tell() -> None:
        start = time.monotonic()
        if done.wait(patience):
            return
        while True:
            stream.write(f"{CLEAR}{title}: {now()}, {time.monotonic() - start:.0f} s")
            stream.flush()
            if done.wait(1.0):
                break
        stream.write(CLEAR)
        stream.flush()

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _is_free(stream: TextIO | None) -> bool:
    """Whether it is a terminal, and no bar of rich's is drawn there."""
    return stream is not None and stream.isatty() and not type(stream).__module__.startswith("rich")
