"""From trials and data sets to planned trials, and the data sets of a sweep."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path

from ...datasets.config import DatasetConfig
from ...datasets.errors import DataError
from ...datasets.prepared import Prepared, find_prepared
from ...evaluation.base import EvaluationConfig
from ...evaluation.registry import EVALUATIONS
from ...methods.quantities import integer, plural
from ..spec.errors import UserError
from ..spec.identity import trial_id
from ..spec.models import SweepSpec, TrialSpec, data_root
from ..store.planned import PlannedTrial
from .sizes import notes_of, sizes_of

Datasets = Mapping[DatasetConfig, Prepared]


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
    """The trial whose evaluations on other data sets know these by their contents.

    Raises:
        UserError: an evaluation does not fit its data set.
    """
    if not trial.other_datasets:
        return trial
    evaluate: list[EvaluationConfig] = []
    for config in trial.evaluate:
        if config.dataset is not None:
            prepared = datasets[config.dataset]
            if not prepared.classes or not prepared.test.count:
                lacks = "labels" if not prepared.classes else "test images"
                raise UserError(f"evaluate: {config.known_as}: data set '{config.dataset.title}' has no {lacks}")
            wrong = _misfit_of(config, trial, config.dataset, prepared)
            if wrong is not None:
                raise UserError(wrong)
            config = config.model_copy(update={"fingerprint": prepared.fingerprint})
        evaluate.append(config)
    return trial.model_copy(update={"evaluate": tuple(evaluate)})


def datasets_of(trials: Iterable[TrialSpec]) -> list[DatasetConfig]:
    """Those of the trials and of their evaluations, each once."""
    every = ((trial.dataset, *(dataset for dataset, _ in trial.other_datasets)) for trial in trials)
    return list(dict.fromkeys(dataset for some in every for dataset in some))


def is_ready(trial: TrialSpec, datasets: Datasets) -> bool:
    """Whether all its data sets are among those that are prepared."""
    return all(dataset in datasets for dataset in datasets_of([trial]))


def prepared_datasets(trials: list[TrialSpec], root: Path) -> dict[DatasetConfig, Prepared]:
    """Those of the trials' data sets that have been prepared."""
    found: dict[DatasetConfig, Prepared] = {}
    for dataset in datasets_of(trials):  # to look at a source may be to list a bucket
        with data_errors():
            prepared = find_prepared(dataset, root)
        if prepared is not None:
            found[dataset] = prepared
    return found


def check_against_data(spec: SweepSpec, trials: list[TrialSpec]) -> list[str]:
    """Notes on the trials of a sweep file, as far as their data sets are on local disks and prepared.

    What a search samples is checked when it is made.

    Raises:
        UserError: a trial does not fit its data sets.
    """
    if spec.search is not None:
        return []
    found: dict[DatasetConfig, Prepared] = {}
    for dataset in datasets_of(trials):
        with contextlib.suppress(DataError):  # the file may be for another machine
            if not dataset.is_remote and (prepared := find_prepared(dataset, data_root())) is not None:
                found[dataset] = prepared
    planned = plan_trials([trial for trial in trials if is_ready(trial, found)], found)
    return notes_of((item.trial for item in planned), found)


Preparing = Callable[[str], contextlib.AbstractContextManager[Callable[[int, int], None]]]
"""Shows the preparation of a data set by its name; yields what is told images done and images in all."""


def prepare_datasets(trials: list[TrialSpec], root: Path, preparing: Preparing) -> dict[DatasetConfig, Prepared]:
    """The trials' data sets, prepared if they were not."""
    from ...datasets.prepare import prepare

    datasets: dict[DatasetConfig, Prepared] = {}
    for config in datasets_of(trials):
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
    evaluate = tuple(item for item in trial.evaluate if item.dataset or not EVALUATIONS[item.name].needs_labels)
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
    return sizes_of(prepared, trial.dataset, trial.split).train_images


def misfit(trial: TrialSpec, prepared: Prepared) -> str | None:
    """What of a trial takes more images than its data set has."""
    images = training_images(trial, prepared)
    if trial.method.trains and trial.pretrain.batch_size > images:
        has = f"data set '{trial.dataset.title}' has {plural(images, 'training image')}"
        return f"pretrain.batch_size: got {trial.pretrain.batch_size}; {has}"
    own = (config for config in trial.evaluate if config.dataset is None)
    wrong = (_misfit_of(config, trial, trial.dataset, prepared) for config in own)
    return next((text for text in wrong if text is not None), None)


def _misfit_of(config: EvaluationConfig, trial: TrialSpec, dataset: DatasetConfig, prepared: Prepared) -> str | None:
    sizes = sizes_of(prepared, dataset, trial.split, config.labels)
    lack = EVALUATIONS[config.name].misfit(config, sizes)
    if lack is None:
        return None
    of = sizes_of(prepared, dataset, trial.split).train_images
    labelled = "" if config.labels is None else f" with labels of {integer(of)}"
    has = lack.has or f"{plural(sizes.train_images, 'training image')}{labelled}"
    return f"evaluate: {config.known_as} has {lack.setting}, and data set '{dataset.title}' {has}"
