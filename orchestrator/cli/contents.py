"""What is in a prepared data set, for people and for programs."""

import json
from typing import Any

import click

from ...datasets.contents import Split
from ...datasets.prepared import Prepared
from ...datasets.registry import DATASETS
from ...datasets.remarks import remarks

CLASSES = 20
"""Of more, only so many are listed in text."""


def print_contents(prepared: Prepared, *, verified: bool, as_json: bool) -> None:
    """Counts of images and classes, where they lie and what they are; in JSON also all that is said of them."""
    if as_json:
        click.echo(json.dumps(_as_json(prepared, verified), indent=2))
        return
    published = DATASETS[prepared.name].published or (prepared.train.count, prepared.test.count)
    for split, count in zip(("train", "test"), published, strict=True):
        info = prepared.split(split)
        of = "" if info.count == count else f" (of {count:,} that the published set has)"
        click.echo(f"{split:<12} {info.count:,} images{of}, {len(prepared.classes) or 'no'} classes, {info.encoding}")
    for line in _class_lines(prepared):
        click.echo(line)
    if verified:
        click.echo("checksums    OK")
    click.echo(f"fingerprint  {prepared.fingerprint}\nfolder       {prepared.folder}")


def _class_lines(prepared: Prepared) -> list[str]:
    """A line for each class, or for the first of many."""
    rows = _classes(prepared)
    if not rows:
        return []
    shown = rows[:CLASSES]
    width = max(len(row["name"]) for row in shown)
    lines = [f"  {row['name']:<{width}}  {row['train']:>9,} train  {row['test']:>7,} test" for row in shown]
    if len(rows) > CLASSES:
        least, most = (pick(row["train"] for row in rows) for pick in (min, max))
        lines.append(
            f"  ... and {len(rows) - CLASSES:,} more; {least:,} to {most:,} training images each (--json has all)"
        )
    return ["classes", *lines]


def _classes(prepared: Prepared) -> list[dict[str, Any]]:
    counts = zip(prepared.classes, prepared.train.class_counts, prepared.test.class_counts, strict=False)
    return [{"name": name, "train": trained, "test": tested} for name, trained, tested in counts]


def _as_json(prepared: Prepared, verified: bool) -> dict[str, Any]:
    def of_split(split: Split) -> dict[str, Any]:
        info = prepared.split(split)
        return {
            "images": info.count,
            "encoding": info.encoding,
            "median_shorter_side": info.shorter_side,
            "damaged": list(info.damaged),
        }

    copies = prepared.copies
    return {
        "name": prepared.name,
        "train": of_split("train"),
        "test": of_split("test"),
        "classes": _classes(prepared),
        "copies": None if copies is None else copies.model_dump(mode="json"),
        "gray_bits": prepared.gray_bits,
        "skipped": [one.model_dump(mode="json") for one in prepared.skipped],
        "remarks": list(remarks(prepared)),
        **({"checksums": "OK"} if verified else {}),
        "fingerprint": prepared.fingerprint,
        "folder": str(prepared.folder),
    }
