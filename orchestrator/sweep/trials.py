"""One trial of a store, as a user names it: its log, its weights."""

from typing import NamedTuple

from ...methods.quantities import plural
from ..spec.errors import UserError
from ..store.catalog import read_catalog
from ..store.files import Store
from ..store.trial_folder import BACKBONE, TrialStore
from ..store.trial_names import find_trial, trial_names
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus


class NamedTrial(NamedTuple):
    """A trial that was found by its name."""

    folder: TrialStore
    label: str
    status: TrialStatus

    @property
    def name(self) -> str:
        """For a sentence."""
        return f"trial {self.folder.trial_id} ({self.label})"

    @property
    def where(self) -> str:
        """How far it has come, in words: ``running (pretrain, epoch 3 of 200)``."""
        progress, state = self.status.progress, self.status.state
        if state is TrialState.FAILED and self.status.reason:
            return f"{state.words}: {self.status.reason}"
        if not progress.stage or state in (TrialState.WAITING, TrialState.FINISHED):
            return state.words
        epochs = f", {progress.epoch} of {plural(progress.epochs, 'epoch')} done" if progress.epochs else ""
        return f"{state.words} ({progress.stage}{epochs})"


def open_trial(text: str, storage: str) -> NamedTrial:
    """The trial of the store at `storage` that `text` names.

    Raises:
        UserError: none, or several.
    """
    store = Store(storage)
    found = find_trial(text, trial_names(store), store.location)
    status = read_catalog(store, [found.trial_id]).status(found.trial_id)
    return NamedTrial(TrialStore(store, found.trial_id), found.label, status)


def weights_of(trial: NamedTrial) -> str:
    """Where the trial's backbone is.

    Raises:
        UserError: it has none yet.
    """
    if trial.folder.pretrained() is None:
        raise UserError(f"{trial.name} has no weights yet; it is {trial.where}")
    return trial.folder.store.path(trial.folder.name(BACKBONE))
