"""What the store knows of a sweep's images, so that the sweep can be looked at where they are not."""

from collections.abc import Mapping
from typing import ClassVar

from ...datasets.config import DatasetConfig
from ...datasets.contents import Contents
from .files import Store
from .records import Record


class KnownData(Record):
    """A data set of a sweep, and its contents as they were when the sweep was submitted."""

    dataset: DatasetConfig
    contents: Contents


class DataList(Record):
    """The data sets of a sweep, those of earlier versions of its file too."""

    lost: ClassVar[str] = "status and report need the data themselves until the next submit"

    datasets: tuple[KnownData, ...] = ()


def remembered(store: Store, sweep: str) -> dict[DatasetConfig, Contents]:
    """By the `source` of their configurations, the contents of the data sets with which a sweep was submitted."""
    kept = store.read_record(_file(sweep), DataList)
    return {item.dataset.source: item.contents for item in (kept.datasets if kept else ())}


def remember(store: Store, sweep: str, datasets: Mapping[DatasetConfig, Contents]) -> None:
    """Keep the contents of a sweep's data sets in the store."""
    before = remembered(store, sweep)
    plain = {
        key: Contents(**{name: getattr(value, name) for name in Contents.model_fields})
        for key, value in datasets.items()
    }
    now = before | {config.source: contents for config, contents in plain.items()}
    if now != before:
        known = tuple(KnownData(dataset=config, contents=contents) for config, contents in now.items())
        store.write_record(_file(sweep), DataList(datasets=known))


def _file(sweep: str) -> str:
    return f"sweeps/{sweep}/data.json"
