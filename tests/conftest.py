"""Every test that touches a tensor takes the plugin's `device`: it runs on the CPU and on each accelerator present."""

import os
import sys
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock

import pytest
import torch

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # a machine without a network: property tests are skipped there, and say so
    absent = MagicMock(name="hypothesis", __spec__=ModuleSpec("hypothesis", None))
    absent.given = lambda *strategies, **named: pytest.mark.skip(reason="hypothesis is not installed")
    sys.modules |= dict.fromkeys(("hypothesis", "hypothesis.strategies", "hypothesis.extra.numpy"), absent)
else:
    # Examples derive from the test itself, so that a failure is there again at the next run; time is not what is
    # tested; and the fixture `device` is the same for all examples of a test.
    same = [HealthCheck.function_scoped_fixture]
    settings.register_profile(
        "repeatable", derandomize=True, deadline=None, max_examples=25, suppress_health_check=same
    )
    settings.register_profile("fuzz", deadline=None, max_examples=10_000, suppress_health_check=[*HealthCheck])
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

# Triton reads it when it is first imported, by whatever test: where there is no GPU its kernels run by its interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture
def digits() -> None:
    """For a test of the handwritten digits."""
    pytest.importorskip("sklearn", reason="the digits ship with scikit-learn, which is not installed")


@pytest.fixture(autouse=True)
def _time_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cause is searched as long as it takes: what is found does not depend on how fast the machine is."""
    monkeypatch.setattr("crosscheck.cause.paths.SECONDS", 60.0)
