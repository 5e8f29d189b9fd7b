"""What the data sets of a sweep are called in its results, and what a report says of each."""

from collections.abc import Iterable, Mapping

from ...datasets.config import DatasetConfig
from ..store.data_record import DataRecord
from ..store.planned import PlannedTrial
from .plan import Datasets

DIGITS = 6
"""Of a fingerprint, behind a name that two data sets have."""


def data_names(planned: Iterable[PlannedTrial]) -> dict[DatasetConfig, str]:
    """By data set, its name; of two with the same one, each with the start of its fingerprint.

    Parts of one data set keep its name: the report tells them apart.
    """
    fingerprints = _fingerprints(planned)
    sources: dict[str, set[tuple[str, str | None]]] = {}
    contents: dict[str, set[str]] = {}
    for dataset, fingerprint in fingerprints.items():
        sources.setdefault(dataset.display_name, set()).add((dataset.kind, dataset.path))
        contents.setdefault(dataset.display_name, set()).add(fingerprint)
    names: dict[DatasetConfig, str] = {}
    for dataset, fingerprint in fingerprints.items():
        name = dataset.display_name
        several = len(sources[name]) > 1 and len(contents[name]) > 1
        names[dataset] = f"{name} ({fingerprint[:DIGITS] or 'unknown'})" if several else name
    return names


def _fingerprints(planned: Iterable[PlannedTrial]) -> dict[DatasetConfig, str]:
    """Of the contents of all data sets; empty where they are not known."""
    found: dict[DatasetConfig, str] = {}
    for item in planned:
        found[item.trial.dataset] = item.prepared.fingerprint
        for dataset, fingerprint in item.trial.other_datasets:
            found.setdefault(dataset, fingerprint)
    return found


def data_records(
    planned: Iterable[PlannedTrial], datasets: Datasets, names: Mapping[DatasetConfig, str]
) -> tuple[DataRecord, ...]:
    """A record for each data set whose contents are known: those of `planned` trials, and `datasets`."""
    uses: dict[DatasetConfig, dict[str, None]] = {}
    known = dict(datasets)
    for item in planned:
        known[item.trial.dataset] = item.prepared
        uses.setdefault(item.trial.dataset, {})["pretraining"] = None
        for config in item.trial.evaluate:
            if config.dataset is not None:
                uses.setdefault(config.dataset, {})[config.known_as] = None
    return tuple(
        DataRecord(
            name=names[dataset],
            kind=dataset.kind,
            path=dataset.path,
            fingerprint=known[dataset].fingerprint,
            classes=len(known[dataset].classes),
            train_images=known[dataset].train.count,
            test_images=known[dataset].test.count,
            uses=tuple(used),
        )
        for dataset, used in uses.items()
        if dataset in known
    )
