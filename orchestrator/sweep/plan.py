"""From trials and data sets to planned trials."""

from collections.abc import Mapping

from ...datasets.config import DatasetConfig
from ...datasets.contents import Contents
from ...evaluation.base import EvaluationConfig
from ...evaluation.registry import EVALUATIONS
from ..spec.errors import PlacedError, UserError
from ..spec.identity import trial_id
from ..spec.models import TrialSpec
from ..store.planned import PlannedTrial
from .found_data import datasets_of

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
            wrong = _misfit_of(config, config.dataset, _training_images(trial, prepared, config.dataset.holdout))
            if wrong is not None:
                raise PlacedError(wrong, ("evaluate", i))
            config = config.model_copy(update={"fingerprint": prepared.fingerprint})
        evaluate.append(config)
    return trial.model_copy(update={"evaluate": tuple(evaluate)})


def is_ready(trial: TrialSpec, datasets: Datasets) -> bool:
    """Whether all its data sets are known."""
    return all(dataset in datasets for dataset in datasets_of([trial]))


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
    return _training_images(trial, prepared, trial.dataset.holdout)


def _training_images(trial: TrialSpec, prepared: Contents, holdout: float) -> int:
    images = prepared.train.count
    return images - round(images * holdout) if trial.split == "holdout" else images


def misfit(trial: TrialSpec, prepared: Contents) -> str | None:
    """What of a trial takes more images than its data set has."""
    images = training_images(trial, prepared)
    if trial.method.trains and trial.pretrain.batch_size > images:
        has = f"data set '{trial.dataset.display_name}' has {images} training images"
        return f"pretrain.batch_size: got {trial.pretrain.batch_size}; {has}"
    wrong = (_misfit_of(config, trial.dataset, images) for config in trial.evaluate if config.dataset is None)
    return next((f"evaluate: {text}" for text in wrong if text is not None), None)


def _misfit_of(config: EvaluationConfig, dataset: DatasetConfig, images: int) -> str | None:
    used = images if config.labels is None else max(1, round(config.labels * images))
    wrong = EVALUATIONS[config.name].misfit(config, used)
    has = f"{used} training images" + ("" if config.labels is None else f" with labels of {images}")
    return wrong and f"{config.known_as} has {wrong}, and data set '{dataset.display_name}' {has}"
