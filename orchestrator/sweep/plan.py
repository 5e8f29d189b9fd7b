"""From trials and data sets to planned trials."""

import contextlib
from collections.abc import Mapping

from ...datasets.config import DatasetConfig
from ...datasets.contents import Contents
from ...datasets.errors import DataError
from ...datasets.prepared import find_prepared
from ...evaluation.base import EvaluationConfig
from ...evaluation.registry import EVALUATIONS
from ...methods.quantities import integer, plural
from ..spec.errors import PlacedError, UserError
from ..spec.identity import trial_id
from ..spec.models import SweepSpec, TrialSpec, data_root
from ..spec.yaml_document import Document
from ..store.planned import PlannedTrial
from .found_data import datasets_of, located
from .sizes import notes_of, sizes_of

Datasets = Mapping[DatasetConfig, Contents]


def plan_trials(trials: list[TrialSpec], datasets: Datasets) -> list[PlannedTrial]:
    """The trials with their identities; two with the same one are one trial. Pure.

    Raises:
        UserError: a trial does not fit its data set.
    """
    planned: dict[str, PlannedTrial] = {}
    for trial in trials:
        prepared = datasets[trial.dataset]
        trial = _known(trial, datasets)
        if not prepared.classes:
            trial = _without_labels(trial)
        _refuse_misfit(trial, prepared)
        identity = trial_id(trial, prepared.fingerprint)
        planned.setdefault(identity, PlannedTrial(identity, trial, prepared))
    return list(planned.values())


def _known(trial: TrialSpec, datasets: Datasets) -> TrialSpec:
    """The trial whose evaluations on other data sets know these by their contents, if these are known.

    Raises:
        UserError: an evaluation does not fit its data set.
    """
    if not trial.other_datasets:
        return trial
    evaluate: list[EvaluationConfig] = []
    for i, config in enumerate(trial.evaluate):
        if config.dataset is not None and config.dataset in datasets:
            prepared = datasets[config.dataset]
            if not prepared.classes or not prepared.test.count:
                lacks = "labels" if not prepared.classes else "test images"
                text = f"data set '{config.dataset.display_name}' has no {lacks}, which evaluations on it need"
                raise PlacedError(text, ("evaluate", i, "dataset"))
            wrong = _misfit_of(config, trial, config.dataset, prepared)
            if wrong is not None:
                raise PlacedError(wrong, ("evaluate", i))
            config = config.model_copy(update={"fingerprint": prepared.fingerprint})
        evaluate.append(config)
    return trial.model_copy(update={"evaluate": tuple(evaluate)})


def is_ready(trial: TrialSpec, datasets: Datasets) -> bool:
    """Whether all its data sets are known."""
    return all(dataset in datasets for dataset in datasets_of([trial]))


def check_against_data(spec: SweepSpec, document: Document, trials: list[TrialSpec]) -> list[str]:
    """Notes on the trials of a sweep file, as far as their data sets are on local disks and prepared.

    What a search samples is checked when it is made.

    Raises:
        UserError: a trial does not fit its data sets.
    """
    if spec.search is not None:
        return []
    found: dict[DatasetConfig, Contents] = {}
    for dataset in datasets_of(trials):
        with contextlib.suppress(DataError):  # the file may be for another machine
            if not dataset.is_remote and (prepared := find_prepared(dataset, data_root())) is not None:
                found[dataset] = prepared
    with located(document):
        planned = plan_trials([trial for trial in trials if is_ready(trial, found)], found)
    others = [trial for trial in trials if not is_ready(trial, found)]
    return notes_of([*(item.trial for item in planned), *others], found)


def _without_labels(trial: TrialSpec) -> TrialSpec:
    """The trial without what needs labels. Raises UserError where that is the pretraining or the search itself."""
    lack = f"and data set '{trial.dataset.display_name}' has none"
    if trial.method.needs_labels:
        raise UserError(f"methods: '{trial.method.name}' needs labels, {lack}")
    if trial.split == "holdout":
        raise UserError(f"search: to score a trial needs labels, {lack}")
    evaluate = tuple(item for item in trial.evaluate if item.dataset or not EVALUATIONS[item.name].needs_labels)
    pretrain = trial.pretrain.model_copy(update={"knn_every": 0})
    return trial.model_copy(update={"evaluate": evaluate, "pretrain": pretrain})


def _refuse_misfit(trial: TrialSpec, prepared: Contents) -> None:
    wrong = misfit(trial, prepared)
    if wrong is not None:
        raise UserError(wrong)
    if prepared.classes and any(split.count == 0 for split in (prepared.train, prepared.test)):
        raise UserError(f"data set '{trial.dataset.display_name}' has no test images")


def training_images(trial: TrialSpec, prepared: Contents) -> int:
    """How many images a trial is pretrained on."""
    return sizes_of(prepared, trial.dataset, trial.split).train_images


def misfit(trial: TrialSpec, prepared: Contents) -> str | None:
    """What of a trial takes more images than its data set has."""
    images = training_images(trial, prepared)
    if trial.method.trains and trial.pretrain.batch_size > images:
        has = f"data set '{trial.dataset.display_name}' has {plural(images, 'training image')}"
        return f"pretrain.batch_size: got {trial.pretrain.batch_size}; {has}"
    own = (config for config in trial.evaluate if config.dataset is None)
    wrong = (_misfit_of(config, trial, trial.dataset, prepared) for config in own)
    return next((f"evaluate: {text}" for text in wrong if text is not None), None)


def _misfit_of(config: EvaluationConfig, trial: TrialSpec, dataset: DatasetConfig, prepared: Contents) -> str | None:
    sizes = sizes_of(prepared, dataset, trial.split, config.labels)
    lack = EVALUATIONS[config.name].misfit(config, sizes)
    if lack is None:
        return None
    of = sizes_of(prepared, dataset, trial.split).train_images
    labelled = "" if config.labels is None else f" with labels of {integer(of)}"
    has = lack.has or f"{plural(sizes.train_images, 'training image')}{labelled}"
    return f"{config.known_as} has {lack.setting}, and data set '{dataset.display_name}' {has}"
