"""Every test that touches a tensor takes `device`, and runs on the CPU and on each accelerator present."""

import os

import pytest
import torch
from hypothesis import settings

from reference import devices

# Triton reads it when it is first imported, by whatever test: where there is no GPU its kernels run by its interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Examples derive from the test itself, so that a failure is there again at the next run; time is not what is tested.
settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=25)
settings.load_profile("repeatable")


@pytest.fixture(params=devices.available(), ids=str)
def device(request: pytest.FixtureRequest) -> torch.device:
    """The CPU, and every accelerator present, one after the other."""
    place: torch.device = request.param
    return place
