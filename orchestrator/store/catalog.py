"""A snapshot of many trials: what plan, status, report and tracking read instead of asking the store trial by trial."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from .files import Store
from .trial_folder import TrialStore
from .trial_status import TrialStatus

READERS = 16


class Catalog(NamedTuple):
    """The statuses of the trials that were asked for."""

    statuses: Mapping[str, TrialStatus]

    def status(self, trial_id: str) -> TrialStatus:
        """Of a trial without a folder, that of one that waits."""
        return self.statuses.get(trial_id, TrialStatus())


def read_catalog(store: Store, trial_ids: Iterable[str]) -> Catalog:
    """One read for each trial that has a `state.json`, all in parallel; nothing is written."""
    ids = list(dict.fromkeys(trial_ids))
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(lambda trial_id: TrialStore(store, trial_id).status(), ids)
        return Catalog(dict(zip(ids, found, strict=True)))
