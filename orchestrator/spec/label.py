"""What a trial is called beside its id: method, axes, seed, as a user tells it from its neighbours."""

from collections.abc import Mapping

from .models import TrialSpec

WEIGHTS = "backbone.weights"
"""The axis over given weights."""
SHORT = 10
"""Digits of the hash that ends a trial's id."""


def label_of(trial: TrialSpec) -> str:
    """``simclr temperature=0.2 seed 0``."""
    return label(trial.method.name, trial.axes, trial.seed, _weights_of(trial))


def title_of(trial: TrialSpec) -> str:
    """What tables call the trial's method: ``BYOL``, or ``BYOL from vits16`` with given weights, which alone are ``vits16``."""
    name, title = _weights_of(trial), trial.method.title
    if not name:
        return title
    return f"{title} from {name}" if trial.method.trains else name


def _weights_of(trial: TrialSpec) -> str:
    """The name of its weights, unless they are an axis, which is named beside it."""
    weights = trial.backbone.weights
    return "" if weights is None or WEIGHTS in trial.axes else weights.name


def label(method: str, axes: Mapping[str, object], seed: int, weights: str = "") -> str:
    """As `label_of`, of a trial's values as the store has them."""
    method = f"{method} from {weights}" if weights else method
    words = " ".join(f"{key.split('.')[-1]}={_short(value)}" for key, value in axes.items())
    return " ".join(part for part in (method, words, f"seed {seed}") if part)


def short_id(trial_id: str) -> str:
    """The end of a trial's id, which tells it from all others: ``1f2e3d4c5b``."""
    return trial_id[-SHORT:]


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
