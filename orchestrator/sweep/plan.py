"""What a sweep needs and what of it is done already, read from the store."""

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Literal, NamedTuple

from ...datasets.config import DatasetConfig
from ...datasets.errors import DataError
from ...datasets.prepared import Prepared, find_prepared
from ...evaluation.registry import EVALUATIONS
from ..engine.board import Job
from ..spec.errors import UserError
from ..spec.identity import trial_id
from ..spec.models import TrialSpec
from ..store.files import Store
from ..store.trial_folder import TrialStore


class Planned(NamedTuple):
    """One trial of a sweep, and its folder in the store."""

    trial: TrialSpec
    prepared: Prepared
    folder: TrialStore

    @property
    def trial_id(self) -> str:
        return self.folder.trial_id

    def missing(self) -> list[str]:
        """Stages that are still to run."""
        return self.folder.missing(self.trial)

    def job(self) -> Job:
        return Job(self.trial_id, self.trial.model_dump(mode="json"), self.prepared.fingerprint)

    def status(self) -> Literal["finished", "running", "failed", "missing"]:
        """finished, running, failed, or missing (not started, or stopped on the way)."""
        if not self.missing():
            return "finished"
        if self.folder.started() and self.is_held():
            return "running"
        return "failed" if self.folder.failure() else "missing"

    def is_held(self) -> bool:
        """Whether a sweep that lives holds the trial."""
        with self.folder.store.lock(self.folder.name("lock")) as free:
            return not free


def plan_trials(trials: list[TrialSpec], store: Store, datasets: dict[DatasetConfig, Prepared]) -> list[Planned]:
    """The trials with their identities; two with the same one are one trial.

    Raises:
        UserError: a trial does not fit its data set.
    """
    planned: dict[str, Planned] = {}
    for trial in trials:
        prepared = datasets[trial.dataset]
        if not prepared.classes:
            trial = _without_labels(trial)
        _refuse_misfit(trial, prepared)
        identity = trial_id(trial, prepared.fingerprint)
        planned.setdefault(identity, Planned(trial, prepared, TrialStore(store, identity)))
    return list(planned.values())


def prepared_datasets(trials: list[TrialSpec], root: Path) -> dict[DatasetConfig, Prepared]:
    """Those of the trials' data sets that have been prepared."""
    found: dict[DatasetConfig, Prepared] = {}
    for dataset in dict.fromkeys(trial.dataset for trial in trials):  # to look at a source may be to list a bucket
        with data_errors():
            prepared = find_prepared(dataset, root)
        if prepared is not None:
            found[dataset] = prepared
    return found


@contextlib.contextmanager
def data_errors() -> Generator[None]:
    """Errors in the user's data are the user's to read."""
    try:
        yield
    except DataError as error:
        raise UserError(f"dataset: {error}") from None


def _without_labels(trial: TrialSpec) -> TrialSpec:
    """The trial without what needs labels. Raises UserError where that is the pretraining or the search itself."""
    lack = f"and data set '{trial.dataset.title}' has none"
    if trial.method.needs_labels:
        raise UserError(f"methods: '{trial.method.name}' needs labels, {lack}")
    if trial.split == "holdout":
        raise UserError(f"search: to score a trial needs labels, {lack}")
    evaluate = tuple(item for item in trial.evaluate if not EVALUATIONS[item.name].needs_labels)
    pretrain = trial.pretrain.model_copy(update={"knn_every": 0})
    return trial.model_copy(update={"evaluate": evaluate, "pretrain": pretrain})


def _refuse_misfit(trial: TrialSpec, prepared: Prepared) -> None:
    images = prepared.train.count
    if trial.split == "holdout":
        images -= round(images * trial.dataset.holdout)
    if trial.pretrain.batch_size > images:
        raise UserError(
            f"pretrain.batch_size: got {trial.pretrain.batch_size}; data set '{trial.dataset.title}' has {images} training images"
        )
    for config in trial.evaluate:
        misfit = EVALUATIONS[config.name].misfit(config, images)
        if misfit is not None:
            raise UserError(
                f"evaluate: {config.name} has {misfit}, and data set '{trial.dataset.title}' {images} training images"
            )
    if prepared.classes and any(split.count == 0 for split in (prepared.train, prepared.test)):
        raise UserError(f"data set '{trial.dataset.title}' has no test images")
