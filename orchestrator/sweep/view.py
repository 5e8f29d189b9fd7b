"""A sweep as anyone sees it who reaches its store, also without its data set: for `status`, here or elsewhere."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..spec.errors import UserError
from ..spec.label import label_of
from ..spec.models import TrialSpec
from ..store.advice import advice
from ..store.catalog import read_catalog
from ..store.files import Store
from ..store.planned import StoredTrial
from ..store.records import SearchRecord
from ..store.trial_list import TrialList
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .place import Place, locate
from .state import SweepState
from .status import NotPreparedError, StatusRow, stored_sweep

log = logging.getLogger(__name__)


class SweepView(NamedTuple):
    """A sweep's trials and their states."""

    place: Place
    trials: Sequence[StoredTrial]
    state: SweepState
    searches: Sequence[SearchRecord] = ()

    def again(self) -> "SweepView":
        """What it is now, with trials that a search has added since."""
        known = {item.trial_id: item for item in self.trials}
        known |= {item.trial_id: item for item in listed_trials(self.place) if item.trial_id not in known}
        return self._replace(trials=list(known.values()), state=_state(self.place.store, list(known.values())))


def view_sweep(sweep: str, storage: str, overrides: Sequence[str] = ()) -> SweepView:
    """The trials that the sweep's file asks for; those that it listed when it was submitted, if there is no such file or no data.

    Raises:
        UserError: there is no such sweep, or nothing of it has run.
    """
    if not Path(sweep).exists():
        return _listed_view(locate(sweep, storage, overrides))
    try:
        stored = stored_sweep(Path(sweep), overrides)
    except NotPreparedError as error:
        place = Place(error.store, error.name)
        if not listed_trials(place):
            raise
        log.warning("%s", error.reason)
        return _listed_view(place)
    place = Place(stored.store, stored.spec.name)
    return SweepView(place, stored.planned, stored.state, stored.searches())


def status_rows(sweep: str | Path, storage: str = "runs", overrides: Sequence[str] = ()) -> list[StatusRow]:
    """The state of each trial of a sweep, by its file or its name in the store at `storage`."""
    view = view_sweep(str(sweep), storage, overrides)
    rows = [_status_row(item, view.state.trials[item.trial_id]) for item in view.trials]
    return rows + [_failed_search(search) for search in view.searches if search.reason is not None]


def listed_trials(place: Place) -> list[StoredTrial]:
    """The trials of a sweep as it listed them.

    Raises:
        UserError: a plug-in that they take is not installed here.
    """
    listed = place.store.read_record(f"{place.folder}/trials.json", TrialList)
    try:
        return [
            StoredTrial(item.id, TrialSpec.model_validate(item.trial)) for item in (listed.trials if listed else ())
        ]
    except ValueError:
        raise UserError(
            f"the trials of sweep '{place.name}' take a method or evaluation that is not installed here"
        ) from None


def _listed_view(place: Place) -> SweepView:
    trials = listed_trials(place)
    if not trials:
        raise UserError(f"sweep '{place.name}' in {place.store.location} has no trials yet")
    return SweepView(place, trials, _state(place.store, trials))


def _state(store: Store, trials: Sequence[StoredTrial]) -> SweepState:
    return SweepState().add(trials, read_catalog(store, [item.trial_id for item in trials]))


def _failed_search(search: SearchRecord) -> StatusRow:
    return StatusRow(f"search of {search.label}", TrialState.FAILED, "", 0, 0, [], search.reason, is_trial=False)


def _status_row(item: StoredTrial, status: TrialStatus) -> StatusRow:
    progress = status.progress
    epochs = progress.epochs or item.trial.pretrain.epochs
    reason = status.reason if status.state is TrialState.FAILED else None
    missing = item.missing(status)
    label = label_of(item.trial)
    last = status.restarts[-1].reason if status.restarts else None
    ids = zip(item.trial.evaluate, item.evaluation_ids, strict=True)
    return StatusRow(
        item.trial_id,
        status.state,
        progress.stage,
        progress.epoch,
        epochs,
        missing,
        reason,
        label=label,
        restarts=len(status.restarts),
        last_restart=last,
        failed={config.known_as: status.failed[name].reason for config, name in ids if name in status.failed},
        learning=_learning(item.trial, status),
        advice="" if status.state is TrialState.FAILED else advice(item.trial, status),
    )


def _learning(trial: TrialSpec, status: TrialStatus) -> str:
    if status.learning is None or status.state is TrialState.FAILED:  # whose reason says more
        return ""
    return status.learning.word(trial.pretrain.epochs, status.chance)
