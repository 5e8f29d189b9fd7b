"""What a trial is called beside its id: method, axes, seed, as a user tells it from its neighbours."""

from collections.abc import Mapping

from .models import TrialSpec

SHORT = 10
"""Digits of the hash that ends a trial's id."""


def label_of(trial: TrialSpec) -> str:
    """``simclr temperature=0.2 seed 0``."""
    return label(trial.method.name, trial.axes, trial.seed)


def label(method: str, axes: Mapping[str, object], seed: int) -> str:
    """As `label_of`, of a trial's values as the store has them."""
    words = " ".join(f"{key.split('.')[-1]}={_short(value)}" for key, value in axes.items())
    return " ".join(part for part in (method, words, f"seed {seed}") if part)


def short_id(trial_id: str) -> str:
    """The end of a trial's id, which tells it from all others: ``1f2e3d4c5b``."""
    return trial_id[-SHORT:]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
