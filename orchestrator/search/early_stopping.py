"""Early stopping by Ray Tune's schedulers, which are asked after each scored epoch and know nothing of a Tune run."""

import itertools
from typing import Any, NamedTuple, cast

from ..spec.search import EarlyStopping

BRACKETS = 3
"""Of HyperBand: its first rungs are this many."""


class _Trial(NamedTuple):
    """All that these schedulers look at."""

    trial_id: str


class _NoTune:
    """A Tune run without trials that wait."""

    def get_live_trials(self) -> list[Any]:
        return []


class Stopping:
    """Which trials end early. A fold over their scores: a search that is resumed repeats it."""

    def __init__(self, config: EarlyStopping, epochs: int):
        """`epochs`: of a whole training.

        asha: asynchronous successive halving (arXiv:1810.05934): of the trials that reach a rung, one in `reduction` goes on.
        hyperband: the same in brackets whose first rungs differ, among which trials take turns (arXiv:1603.06560).
        median: a trial whose best score is below the median of the others' means ends (Golovin et al., Vizier, 2017).
        """
        self._schedulers = _schedulers(config, max(1, epochs))
        self._turn = itertools.cycle(self._schedulers)
        self._of: dict[str, Any] = {}
        self._heard: dict[str, int] = {}
        """The last epoch of each trial: one that resumes repeats some."""
        self._ended: set[str] = set()
        """Trials that were to end; one that hears so late may score another epoch."""

    def stops(self, trial_id: str, epoch: int, score: float) -> bool:
        """Whether a trial that reached `score`, of which more is better, in `epoch` ends here."""
        trial, tune = cast(Any, _Trial(trial_id)), cast(Any, _NoTune())
        if trial_id not in self._of:
            self._of[trial_id] = next(self._turn)
            self._of[trial_id].on_trial_add(tune, trial)
        if trial_id not in self._ended and epoch > self._heard.get(trial_id, 0):
            self._heard[trial_id] = epoch
            scheduler = self._of[trial_id]
            if scheduler.on_trial_result(tune, trial, {"epoch": epoch, "value": score}) == scheduler.STOP:
                self._ended.add(trial_id)
        return trial_id in self._ended


def _schedulers(config: EarlyStopping, epochs: int) -> list[Any]:
    from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule

    if config.name == "median":
        return [MedianStoppingRule(time_attr="epoch", metric="value", mode="max", grace_period=config.grace_epochs)]
    graces = [config.grace_epochs * config.reduction**i for i in range(BRACKETS if config.name == "hyperband" else 1)]
    return [
        ASHAScheduler(
            time_attr="epoch",
            metric="value",
            mode="max",
            max_t=epochs,
            grace_period=grace,
            reduction_factor=config.reduction,
            stop_last_trials=False,
        )
        for grace in graces
        if grace <= epochs
    ]
