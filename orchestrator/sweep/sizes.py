"""How many images of each class an evaluation will have, and what is to be said of it before anything runs.

All follows from the counts of the data sets: no image is read.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from ...datasets.config import DatasetConfig
from ...datasets.contents import Contents
from ...evaluation.base import EvaluationConfig, Sizes
from ...evaluation.labels import LabelList
from ...methods.quantities import plural
from ..spec.models import TrialSpec
from ..store.advice import schedule_advice

Counts = tuple[int, ...]
"""Of each class."""


def sizes_of(prepared: Contents, dataset: DatasetConfig, split: str, labels: float | LabelList | None = None) -> Sizes:
    """The images of an evaluation on `dataset`, with the `labels` of the training images that it uses.

    How many of each class a list has is not known here.

    split: of the trial. That of a search trains on a part of the training images, and is scored on the others.
    """
    train, test = prepared.train, prepared.test
    holdout = dataset.holdout if split == "holdout" else None
    if not prepared.classes:
        held_out = 0 if holdout is None else _held_out(train.count, holdout)
        return Sizes(train.count - held_out, test.count or held_out or train.count)
    fit, scored = _parts(train.class_counts, test.class_counts, holdout)
    if isinstance(labels, LabelList):
        return Sizes(min(sum(fit), labels.count or sum(fit)), sum(scored), prepared.classes, (), scored)
    used = fit if labels is None else _share(fit, labels)
    return Sizes(sum(used), sum(scored), prepared.classes, used, scored)


def _held_out(images: int, share: float) -> int:
    """As `stratify.stratified_split` has it."""
    return min(images, max(1, round(images * share)))


@lru_cache(maxsize=64)  # a sweep has few data sets and many trials
def _parts(train: Counts, test: Counts, holdout: float | None) -> tuple[Counts, Counts]:
    """As `ImageSet.open` has them."""
    if holdout is None:
        return train, test
    import numpy as np

    from ...datasets.stratify import stratified_counts

    counts = np.array(train, dtype=np.int64)
    held_out = stratified_counts(counts, _held_out(sum(train), holdout))
    return tuple((counts - held_out).tolist()), tuple(held_out.tolist())


@lru_cache(maxsize=64)
def _share(counts: Counts, share: float) -> Counts:
    """As `ImageSet.share` has them."""
    import numpy as np

    from ...datasets.stratify import SHARE_SALT, labelled_counts

    images = max(1, round(share * sum(counts)))
    return tuple(labelled_counts(np.array(counts, dtype=np.int64), images, SHARE_SALT).tolist())


def notes_of(trials: Iterable[TrialSpec], datasets: Mapping[DatasetConfig, Contents]) -> list[str]:
    """What is to be said of the trials, each once; nothing of evaluations on data sets that are not known."""
    found: dict[str, None] = {}
    for trial in trials:
        if (text := schedule_advice(trial)) is not None:
            found[f"{trial.method.name}: {text}"] = None
        for config in trial.evaluate:
            contents = datasets.get(config.dataset or trial.dataset)
            note = None if contents is None else _unlabelled(config, trial, contents)
            if note is not None:
                found[note] = None
    return list(found)


def _unlabelled(config: EvaluationConfig, trial: TrialSpec, prepared: Contents) -> str | None:
    """Which classes a share of the labels leaves without any."""
    if config.labels is None or isinstance(config.labels, LabelList) or not prepared.classes:
        return None
    dataset = config.dataset or trial.dataset
    whole = sizes_of(prepared, dataset, trial.split)
    part = sizes_of(prepared, dataset, trial.split, config.labels)
    known = [trained or tested for trained, tested in zip(whole.train, whole.test, strict=True)]
    without = [name for name, used, there in zip(part.classes, part.train, known, strict=True) if there and not used]
    if not without:
        return None
    share = f"labels: {100 * config.labels:g}% of {plural(whole.train_images, 'training image')}"
    few = f"{plural(part.train_images, 'label')}, and leaves {len(without)} of {plural(sum(map(bool, known)), 'class')}"
    return f"evaluate: {config.known_as}: {share} is {few} without any: {named(without)}"


MOST_NAMED = 5


def named(classes: list[str]) -> str:
    """``'cat', 'dog', …``."""
    return ", ".join(f"'{name}'" for name in classes[:MOST_NAMED]) + (", …" if len(classes) > MOST_NAMED else "")
