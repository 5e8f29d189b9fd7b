"""Masks are drawn by seed, step and image, so that the parts of a batch add up to its gradient."""

from typing import Any

import pytest
import torch
from ssl_sweep.methods.base import Method, Progress
from ssl_sweep.orchestrator.trial.learner import parts_of
from tiny import VIT, progress, tiny_batch, tiny_method


def gradient(method: Method[Any], parts: int, at: Progress) -> torch.Tensor:
    method.zero_grad(set_to_none=True)
    for i, part in enumerate(parts_of(tiny_batch(method, 8, dtype=torch.float64), parts)):
        (method(part, at._replace(part=i, parts=parts)).loss / parts).backward()
    return torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None])


@pytest.mark.parametrize("name", ["mae", "simmim", "ijepa"])
def test_parts_have_the_gradient_of_the_whole(name: str) -> None:
    method = tiny_method(name, VIT).double().train()
    whole = gradient(method, 1, progress(3))
    assert whole.norm() > 0
    torch.testing.assert_close(gradient(method, 4, progress(3)), whole, rtol=1e-5, atol=1e-7)
