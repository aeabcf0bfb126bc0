"""Every test that touches a tensor takes the plugin's `device`: it runs on the CPU and on each accelerator present."""

import os

import torch
from hypothesis import HealthCheck, settings

# Triton reads it when it is first imported, by whatever test: where there is no GPU its kernels run by its interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Examples derive from the test itself, so that a failure is there again at the next run; time is not what is tested.
# The fixture `device` is the same for all examples of a test: that it is not made anew for each is no fault.
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
settings.load_profile("repeatable")
