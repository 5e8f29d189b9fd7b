"""A snapshot of many trials: what plan, status, report and tracking read instead of asking the store trial by trial."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .files import Store, parallel
from .lease import holder
from .trial_folder import TrialStore
from .trial_state import TrialState
from .trial_status import TrialStatus


class Catalog(NamedTuple):
    """The statuses of the trials that were asked for."""

    statuses: Mapping[str, TrialStatus]

    def status(self, trial_id: str) -> TrialStatus:
        """Of a trial without a folder, that of one that waits."""
        return self.statuses.get(trial_id, TrialStatus())


def read_catalog(store: Store, trial_ids: Iterable[str]) -> Catalog:
    """One read for each trial that has a `state.json`, all in parallel; nothing is written.

    A trial that runs by its own word, and that nobody holds, was interrupted.
    """
    ids = list(dict.fromkeys(trial_ids))
    statuses = parallel(lambda trial_id: TrialStore(store, trial_id).status(), ids)
    found = dict(zip(ids, statuses, strict=True))
    running = [trial_id for trial_id, status in found.items() if status.state is TrialState.RUNNING]
    holders = parallel(lambda trial_id: holder(store, TrialStore(store, trial_id).folder), running)
    for trial_id, held_by in zip(running, holders, strict=True):
        if held_by is None:
            found[trial_id] = found[trial_id].model_copy(update={"state": TrialState.INTERRUPTED})
    return Catalog(found)
