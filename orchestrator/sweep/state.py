"""A sweep as a fold over the events of its trials."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from immutables import Map

from ..store.catalog import Catalog
from ..store.events import Event
from ..store.planned import StoredTrial
from ..store.trial_status import TrialStatus


@dataclass(frozen=True)
class SweepState:
    """The statuses of a sweep's trials. Pure: what changes makes a new state, which shares the rest with the old one."""

    trials: Map[str, TrialStatus] = field(default_factory=Map)

    def add(self, trials: Iterable[StoredTrial], catalog: Catalog) -> "SweepState":
        """The state with `trials` as the store has them: what a sweep starts from, the first time or after a crash."""
        changed = self.trials.mutate()
        for item in trials:
            status = catalog.status(item.trial_id)
            changed[item.trial_id] = status.model_copy(update={"state": item.state(status)})
        return replace(self, trials=changed.finish())

    def apply(self, trial_id: str, event: Event) -> "SweepState":
        """The state after an event of a trial."""
        return replace(self, trials=self.trials.set(trial_id, self.trials[trial_id].apply(event)))
