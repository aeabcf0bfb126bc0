"""Loads the fixtures of `reference.pytest_plugin`, unless a file of the user's own is called reference, too."""

from importlib.util import find_spec
from pathlib import Path

spec = find_spec("reference")  # which imports nothing
places = (spec and spec.submodule_search_locations) or ()
is_ours = any(Path(place, "pytest_plugin.py").is_file() for place in places)
pytest_plugins = ["reference.pytest_plugin"] if is_ours else []


def pytest_report_header() -> str | None:
    """What is missing, and why."""
    hidden = f"manual-bp: its fixtures are not here, for {spec and spec.origin} hides its package reference"
    return None if is_ours else hidden
