"""Early stopping by Ray Tune's schedulers, which are asked after each scored epoch and know nothing of a Tune run."""

from typing import Any, NamedTuple, cast

from ..spec.models import EarlyStopping


class _Trial(NamedTuple):
    """All that an asynchronous scheduler looks at."""

    trial_id: str


class SuccessiveHalving:
    """ASHA (arXiv:1810.05934): of the trials that reach a rung, one in `reduction` continues."""

    def __init__(self, config: EarlyStopping, epochs: int):
        """`epochs`: of a whole training."""
        from ray.tune.schedulers import ASHAScheduler

        self._scheduler = ASHAScheduler(
            time_attr="epoch",
            metric="value",
            mode="max",
            max_t=max(1, epochs),
            grace_period=config.grace_epochs,
            reduction_factor=config.reduction,
            stop_last_trials=False,
        )
        self._known: set[str] = set()

    def stops(self, trial_id: str, epoch: int, score: float) -> bool:
        """Whether a trial that reached `score` in `epoch` ends here."""
        trial, nobody = cast(Any, _Trial(trial_id)), cast(Any, None)
        if trial_id not in self._known:
            self._known.add(trial_id)
            self._scheduler.on_trial_add(nobody, trial)
        result = {"epoch": epoch, "value": score}
        return self._scheduler.on_trial_result(nobody, trial, result) == self._scheduler.STOP
