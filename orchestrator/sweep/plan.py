"""From trials and data sets to planned trials, and the data sets of a sweep."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from ...datasets.config import DatasetConfig
from ...datasets.errors import DataError
from ...datasets.prepared import Prepared, find_prepared
from ...evaluation.registry import EVALUATIONS
from ..spec.errors import UserError
from ..spec.identity import trial_id
from ..spec.models import TrialSpec
from ..store.planned import PlannedTrial

Datasets = Mapping[DatasetConfig, Prepared]


def plan_trials(trials: list[TrialSpec], datasets: Datasets) -> list[PlannedTrial]:
    """The trials with their identities; two with the same one are one trial. Pure.

    Raises:
        UserError: a trial does not fit its data set.
    """
    planned: dict[str, PlannedTrial] = {}
    for trial in trials:
        prepared = datasets[trial.dataset]
        if not prepared.classes:
            trial = _without_labels(trial)
        _refuse_misfit(trial, prepared)
        identity = trial_id(trial, prepared.fingerprint)
        planned.setdefault(identity, PlannedTrial(identity, trial, prepared))
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


Preparing = Callable[[str], contextlib.AbstractContextManager[Callable[[int, int], None]]]
"""Shows the preparation of a data set by its name; yields what is told images done and images in all."""


def prepare_datasets(trials: list[TrialSpec], root: Path, preparing: Preparing) -> dict[DatasetConfig, Prepared]:
    """The trials' data sets, prepared if they were not."""
    from ...datasets.prepare import prepare

    datasets: dict[DatasetConfig, Prepared] = {}
    for config in dict.fromkeys(trial.dataset for trial in trials):
        with data_errors(), preparing(config.name) as on_progress:
            datasets[config] = prepare(config, root, on_progress)
    return datasets


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
    wrong = misfit(trial, prepared)
    if wrong is not None:
        raise UserError(wrong)
    if prepared.classes and any(split.count == 0 for split in (prepared.train, prepared.test)):
        raise UserError(f"data set '{trial.dataset.title}' has no test images")


def training_images(trial: TrialSpec, prepared: Prepared) -> int:
    """How many images a trial is pretrained on."""
    images = prepared.train.count
    return images - round(images * trial.dataset.holdout) if trial.split == "holdout" else images


def misfit(trial: TrialSpec, prepared: Prepared) -> str | None:
    """What of a trial takes more images than its data set has."""
    images = training_images(trial, prepared)
    if trial.pretrain.batch_size > images:
        has = f"data set '{trial.dataset.title}' has {images} training images"
        return f"pretrain.batch_size: got {trial.pretrain.batch_size}; {has}"
    for config in trial.evaluate:
        used = images if config.labels is None else max(1, round(config.labels * images))
        wrong = EVALUATIONS[config.name].misfit(config, used)
        if wrong is not None:
            has = f"{used} training images" + ("" if config.labels is None else f" with labels of {images}")
            return f"evaluate: {config.known_as} has {wrong}, and data set '{trial.dataset.title}' {has}"
    return None
