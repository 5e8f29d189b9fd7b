"""What follows when an attempt at a trial ends by a fault: one table, with a budget for each kind of fault."""

from collections import Counter, defaultdict
from enum import StrEnum
from typing import NamedTuple

from ..store.fault import Fault

ALIKE = 3
"""Trials of one method that may end by the same error of its code, before its other trials are not begun."""


class Action(StrEnum):
    RETRY = "retry"
    """From its checkpoint, before what waits."""
    ENLARGE = "enlarge"
    """Retry with more memory: a whole GPU instead of a part, or a whole machine. Never with another batch size."""
    FAIL = "fail"
    STOP_SWEEP = "stop the sweep"
    """All other trials would meet the same: they keep what they can."""


class Rule(NamedTuple):
    """What is done about a kind of fault."""

    action: Action
    budget: int | None = None
    """How often for one trial, after which it fails; None is the sweep's `resources.max_failures`."""


RULES: dict[Fault, Rule] = {
    Fault.WORKER_DIED: Rule(Action.RETRY),
    Fault.NODE_LOST: Rule(Action.RETRY),
    Fault.PREEMPTED: Rule(Action.RETRY, 100),  # no fault of the trial
    Fault.ENGINE_LOST: Rule(Action.RETRY, 100),  # the driver counts how often Ray itself is started again
    Fault.HUNG: Rule(Action.RETRY),
    Fault.OUT_OF_MEMORY: Rule(Action.ENLARGE, 1),
    Fault.OUT_OF_GPU_MEMORY: Rule(Action.ENLARGE, 1),
    Fault.DIVERGED: Rule(Action.FAIL),  # the same steps give the same numbers
    Fault.CODE_ERROR: Rule(Action.FAIL),
    Fault.EVALUATION: Rule(Action.FAIL),
    Fault.DATA_ERROR: Rule(Action.FAIL),
    Fault.STORE_ERROR: Rule(Action.RETRY),
    Fault.STORE_FULL: Rule(Action.STOP_SWEEP),
}


class FaultPolicy:
    """Applies `RULES` to the trials of one submission."""

    def __init__(self, max_failures: int):
        """`max_failures`: retries of a trial, for each kind of fault that has no budget of its own."""
        self.max_failures = max_failures
        self._met: Counter[tuple[str, Fault]] = Counter()
        self._alike: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def decide(self, trial_id: str, fault: Fault) -> Action:
        """What to do about another `fault` of a trial."""
        self._met[trial_id, fault] += 1
        action, budget = RULES[fault]
        allowed = self.max_failures if budget is None else budget
        retries = action in (Action.RETRY, Action.ENLARGE)
        return Action.FAIL if retries and self._met[trial_id, fault] > allowed else action

    def times(self, trial_id: str, fault: Fault) -> int:
        """How often the trial has met it."""
        return self._met[trial_id, fault]

    def breaks(self, method: str, trial_id: str, reason: str) -> bool:
        """Take note that a trial ended by an error of the method's code; whether this is the third that ended by the same."""
        trials = self._alike[method, reason]
        trials.add(trial_id)
        return len(trials) >= ALIKE
