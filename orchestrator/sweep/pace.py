"""How long the rest of a sweep takes, from what its own trials have taken so far."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import NamedTuple

from ..spec.models import TrialSpec
from ..store.planned import StoredTrial
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus


class Rest(NamedTuple):
    """The time that a sweep has still to run."""

    seconds: float
    at_least: bool
    """An evaluation that has not been made yet is not in it."""


class _Known(NamedTuple):
    epoch: Mapping[str, float]
    """Seconds of an epoch, by method."""
    evaluation: Mapping[str, float]
    """Seconds, by id."""


def rest_of(trials: Iterable[tuple[StoredTrial, TrialStatus]]) -> Rest | None:
    """Of the trials that are not over; None if none is left, nothing is known yet, or a search will add others.

    Those that wait go on as many at once as run now.
    """
    listed = list(trials)
    left = [(item, status) for item, status in listed if not status.state.is_over]
    if not left or any(item.trial.split == "holdout" for item, _ in left):
        return None
    known = _known(listed)
    found = [_seconds(item, status, known) for item, status in left]
    seconds = [rest.seconds for rest in found if rest is not None]
    if len(seconds) < len(found):
        return None
    at_once = max(1, sum(status.state is TrialState.RUNNING for _, status in left))
    return Rest(max(max(seconds), sum(seconds) / at_once), any(rest.at_least for rest in found if rest))


def _known(trials: Iterable[tuple[StoredTrial, TrialStatus]]) -> _Known:
    epochs: dict[str, list[float]] = {}
    evaluations: dict[str, list[float]] = {}
    for item, status in trials:
        done = status.pretrain
        if done is not None and done.epochs and item.trial.method.trains:
            epochs.setdefault(item.trial.method.name, []).append(done.cost.seconds / done.epochs)
        elif (progress := status.progress).stage == "pretrain" and progress.epoch:
            epochs.setdefault(item.trial.method.name, []).append(progress.seconds / progress.epoch)
        for name, record in status.evaluations.items():
            evaluations.setdefault(name, []).append(record.cost.seconds)
    return _Known(
        {name: median(taken) for name, taken in epochs.items()},
        {name: median(taken) for name, taken in evaluations.items()},
    )


def _seconds(item: StoredTrial, status: TrialStatus, known: _Known) -> Rest | None:
    """Of one trial; None if no epoch like its own has been timed."""
    seconds, at_least = 0.0, False
    progress = status.progress
    if status.pretrain is None and item.trial.method.trains:
        epoch = _of_epoch(item.trial, known)
        if epoch is None:
            return None
        done = progress.epoch if progress.stage == "pretrain" else 0
        seconds += epoch * max(0, item.trial.pretrain.epochs - done)
    for config, name in zip(item.trial.evaluate, item.evaluation_ids, strict=True):
        if name in status.evaluations:
            continue
        if progress.stage == config.known_as and progress.seconds_left is not None:
            seconds += progress.seconds_left
        else:
            seconds += known.evaluation.get(name, 0.0)
            at_least |= name not in known.evaluation
    return Rest(seconds, at_least)


def _of_epoch(trial: TrialSpec, known: _Known) -> float | None:
    """Of the same method, else of all others."""
    return known.epoch.get(trial.method.name, median(known.epoch.values()) if known.epoch else None)
