"""The weights that trials have kept."""

import torch
from safetensors.torch import load
from ssl_sweep.orchestrator.store.trial_folder import TrialStore


def assert_same_weights(a: TrialStore, b: TrialStore) -> None:
    """Bit for bit."""
    one, other = (load(folder.backbone() or b"") for folder in (a, b))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
