"""Who watches a sweep: the live table, MLflow."""

from collections.abc import Sequence
from typing import Protocol

from ..store.events import Event
from ..store.planned import PlannedTrial
from ..store.trial_status import TrialStatus


class Observer(Protocol):
    """Hears what happens, in order; changes nothing."""

    def on_trials(self, trials: Sequence[PlannedTrial], statuses: Sequence[TrialStatus]) -> None:
        """These trials belong to the sweep, with these statuses."""
        ...

    def on_event(self, item: PlannedTrial, event: Event, status: TrialStatus) -> None:
        """An event, and the trial's status after it."""
        ...

    def on_message(self, text: str) -> None:
        """A sentence about the sweep as a whole."""
        ...
