"""The statistics of each setting: 95 % intervals in the report, and a tidy table of all metrics for other programs."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...methods.quantities import plural
from ..store.records import EvaluationRecord
from .formats import fixed, interval, superscript
from .main_table import DataTable
from .ranking import left_out
from .settings import Protocol, Setting
from .statistics import Interval, Spread, mean_interval, spread, wilson
from .table import Table, plain_table

if TYPE_CHECKING:
    import pyarrow as pa

TITLE = "95 % intervals"
SEEDS_REMARK = (
    "Over seeds: of the mean, by Student's t; with 2 or 3 seeds it is wide, because so few say little of their spread."
)
IMAGES_REMARK = (
    "Over images, for a setting with one seed: Wilson's interval for the images scored. It covers which images were drawn "
    "for the test, not what another seed would change, so two that do not overlap show no difference between methods."
)

SCORED: dict[str, str] = {
    "sweep": "string",
    "dataset": "string",
    "dataset_fingerprint": "string",
    "full_dataset": "bool",
    "method": "string",
    "title": "string",
    "backbone": "string",
    "image_size": "int64",
    "batch_size": "int64",
    "epochs": "int64",
    "recipe": "string",
    "setting": "string",
    "axes": "string",
    "evaluation": "string",
    "protocol": "string",
    "settings": "string",
    "changed": "string",
    "split": "string",
    "metric": "string",
}
"""Columns of a tidy table that say whose number it is, with their Arrow types."""

COLUMNS: dict[str, str] = {
    **SCORED,
    "unit": "string",
    "epoch": "string",
    "n": "int64",
    "mean": "double",
    "std": "double",
    "low": "double",
    "high": "double",
    "images": "int64",
    "images_low": "double",
    "images_high": "double",
    "paired_seeds": "int64",
    "paired_against": "string",
    "paired_difference": "double",
    "paired_p": "double",
    "mcnemar_seed": "int64",
    "mcnemar_against": "string",
    "mcnemar_only_own": "int64",
    "mcnemar_only_other": "int64",
    "mcnemar_p": "double",
}
"""Name and Arrow type of each column; what is unknown is null. docs/report.md says what they mean."""

Value = str | bool | int | float | None


def over_images(records: Sequence[EvaluationRecord], metric: str) -> Interval | None:
    """In percent, of an accuracy of one seed; None for other metrics and several seeds.

    ``top1`` is an accuracy if it is the share of the images that ``correct1`` counts: a mean over classes is not.
    """
    if len(records) != 1 or not records[0].images:
        return None
    (record,) = records
    hits = record.counts.get(f"correct{metric.removeprefix('top')}")
    if hits is None or not math.isclose(100 * hits / record.images, record.metrics[metric], abs_tol=1e-6):
        return None
    low, high = wilson(hits, record.images)
    return Interval(100 * low, 100 * high)


def interval_table(data: DataTable) -> Table:
    """The main metric of each setting with its interval over the seeds or, if it has one seed, over the images."""
    rows: list[list[str]] = []
    kinds: set[str] = set()
    for number, protocol in enumerate(data.protocols, start=1):
        main = protocol.main
        for setting, name in data.detailed.values():
            records, value = setting.records(protocol), setting.main(protocol)
            reach = mean_interval(value) if value else None
            sample, kind = plural(len(records), "seed"), SEEDS_REMARK
            if reach is None:
                reach = over_images(records, main.name)
                sample, kind = plural(records[0].images if records else 0, "image"), IMAGES_REMARK
            if value is None or reach is None:
                continue
            kinds.add(kind)
            evaluation = f"{protocol.title}{superscript(number)} {main.label}"
            rows.append([evaluation, name, fixed(value.mean, main.digits), interval(reach, main.digits), sample])
    heads = ["evaluation", "setting", "mean", "95 % interval", "over"]
    table = plain_table(TITLE, heads, rows, numeric="mean|95 % interval|over")
    return replace(
        table,
        remarks=(
            *(text for text in (SEEDS_REMARK, IMAGES_REMARK) if text in kinds),
            *left_out(data.settings, "statistics.csv"),
        ),
    )


def statistics_table(sweep: str, tables: Sequence[DataTable]) -> "pa.Table":
    """One row per setting and metric of the main tables."""
    import pyarrow as pa

    rows = [
        {"sweep": sweep, **identity(setting), **row, **_tested(data, place, protocol, row)}
        for data in tables
        for place, setting in enumerate(data.settings)
        for protocol in data.protocols
        for row in _metrics(setting, protocol)
    ]
    return pa.Table.from_pylist(
        rows, schema=pa.schema([(key, pa.type_for_alias(kind)) for key, kind in COLUMNS.items()])
    )


def identity(setting: Setting) -> dict[str, Value]:
    """What the setting is, as columns of a tidy table."""
    trial = setting.first
    keys = ("dataset", "dataset_fingerprint", "full_dataset", "method", "title", "backbone")
    keys += ("image_size", "batch_size", "epochs", "recipe", "setting")
    return trial.model_dump(include=set(keys)) | {"axes": json.dumps(trial.axes, sort_keys=True, ensure_ascii=False)}


def _metrics(setting: Setting, protocol: Protocol) -> Iterator[dict[str, Value]]:
    records = setting.records(protocol)
    shared: dict[str, Value] = {"evaluation": protocol.known_as, "protocol": protocol.protocol, "split": protocol.split}
    shared |= {"settings": protocol.settings, "changed": protocol.changed}
    for metric in protocol.metrics:
        row = shared | {"metric": metric.name, "unit": metric.unit}
        last = spread([record.metrics[metric.name] for record in records if metric.name in record.metrics])
        if last:
            images = over_images(records, metric.name)
            yield row | {"epoch": "last", "images": records[0].images, **_spread(last), **_over_images(images)}
        best = spread([record.best[metric.name] for record in records if metric.name in record.best])
        if best:
            yield row | {"epoch": "best", "images": records[0].images, **_spread(best)}


def _tested(data: DataTable, place: int, protocol: Protocol, row: Mapping[str, Value]) -> dict[str, Value]:
    """The tests of a setting against the best one, beside the metric that they are of."""
    if (row["metric"], row["epoch"]) != (protocol.main.name, "last"):
        return {}
    return {**_paired(data, place, protocol), **_mcnemar(data, place, protocol)}


def _paired(data: DataTable, place: int, protocol: Protocol) -> dict[str, Value]:
    """The paired t-test over common seeds against the setting with the best mean."""
    found = next((found for found in data.comparisons if found.protocol == protocol), None)
    rival = next((one for one in found.rivals if one.setting == place), None) if found else None
    if found is None or rival is None:
        return {}
    against = data.settings[found.best].first.setting
    difference = rival.difference.mean if rival.difference else None
    return {
        "paired_seeds": rival.seeds, "paired_against": against, "paired_difference": difference, "paired_p": rival.p,
    }  # fmt: skip


def _mcnemar(data: DataTable, place: int, protocol: Protocol) -> dict[str, Value]:
    """McNemar's test of the trained model against the one with the most hits."""
    models = next((found for found in data.models if found.protocol == protocol), None)
    if models is None:
        return {}
    rival = next((one for one in models.opponents if one.setting == place), None)
    if rival is None:
        return {"mcnemar_seed": models.seed} if models.best == place else {}
    counts: dict[str, Value] = {"mcnemar_only_own": rival.only_own, "mcnemar_only_other": rival.only_best}
    against = data.settings[models.best].first.setting
    return {"mcnemar_seed": models.seed, "mcnemar_against": against, **counts, "mcnemar_p": rival.p}


def _spread(value: Spread) -> dict[str, Value]:
    reach = mean_interval(value)
    ends = {"low": reach.low, "high": reach.high} if reach else {}
    return {"n": value.n, "mean": value.mean, "std": value.std, **ends}


def _over_images(reach: Interval | None) -> dict[str, Value]:
    return {"images_low": reach.low, "images_high": reach.high} if reach else {}
