"""The list of a search's trials, kept while the search makes them: others see them, and nobody takes them for unused."""

import time
from collections.abc import Callable, Sequence

from ..store.checked import sealed_record
from ..store.events import Event
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.trial_list import ListedTrial, TrialList
from ..store.trial_status import TrialStatus

WRITE_SECONDS = 2.0
"""Between two writes; a list that takes long to write is written less often."""


class TrialLister:
    """An observer that adds trials to `trials.json`; those of earlier submissions stay until the sweep has ended."""

    def __init__(self, store: Store, sweep: str, clock: Callable[[], float] = time.monotonic):
        self.store, self.clock = store, clock
        self.name = f"sweeps/{sweep}/trials.json"
        before = store.read_record(self.name, TrialList)
        self.listed = {item.id: item for item in (before.trials if before else ())}
        self._changed = False
        self._due = 0.0

    def on_trials(self, trials: Sequence[PlannedTrial], statuses: Sequence[TrialStatus]) -> None:
        """List them."""
        new = [item for item in trials if item.trial_id not in self.listed]
        self.listed |= {
            item.trial_id: ListedTrial(id=item.trial_id, trial=item.trial.model_dump(mode="json")) for item in new
        }
        self._changed |= bool(new)
        self._write()

    def on_event(self, item: PlannedTrial, event: Event, status: TrialStatus) -> None:
        """An occasion to write."""
        self._write()

    def on_message(self, text: str) -> None:
        """Not for the list."""

    def _write(self) -> None:
        began = self.clock()
        if not self._changed or began < self._due:
            return
        self.store.write(self.name, sealed_record(TrialList(trials=tuple(self.listed.values()))))
        self._changed = False
        self._due = self.clock() + max(WRITE_SECONDS, 20 * (self.clock() - began))
