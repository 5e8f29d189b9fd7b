"""Lightly's published benchmark numbers, and which of them a trial may be compared with."""

import csv
import json
import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from .settings import Protocol, Setting

ALIASES = {"mocov2": "moco"}


@dataclass(frozen=True)
class Published:
    """One published run (n = 1). Names ending in ``_id`` are ours, the others as printed."""

    dataset_id: str
    method_id: str
    backbone_id: str
    image_size: int
    dataset: str
    method: str
    backbone: str
    batch_size: int
    epochs: int
    figures: dict[str, float]
    """``knn_top1`` and so on, in percent."""
    settings: dict[str, dict[str, float]]
    """What is known of the settings, by evaluation: ``k`` and ``temperature`` of kNN."""
    protocols: dict[str, str]
    """The protocol that the figures of an evaluation were made by, where one of ours is meant to be it; by evaluation."""
    best_epoch: tuple[str, ...]
    """The evaluations whose figures are those of the best epoch on the test set."""
    notes: str


@cache
def published_rows() -> tuple[Published, ...]:
    text = files(str(__package__)).joinpath("lightly_results.csv").read_text(encoding="utf-8")
    return tuple(_parse(row) for row in csv.DictReader(text.splitlines()))


def _parse(row: dict[str, str]) -> Published:
    figures = {key: float(row[key]) for key in row if re.fullmatch(r"\w+_top[15]", key) and row[key]}
    settings: dict[str, dict[str, float]] = {}
    protocols: dict[str, str] = {}
    for key in row:
        name, _, setting = key.partition("_")
        if f"{name}_top1" not in row or setting in ("top1", "top5") or not row[key]:
            continue
        if setting == "protocol":
            protocols[name] = row[key]
        else:
            settings.setdefault(name, {})[setting] = float(row[key])
    return Published(
        dataset_id=row["dataset_id"],
        method_id=row["method_id"],
        backbone_id=row["backbone_id"],
        image_size=int(row["image_size"]),
        dataset=row["dataset"],
        method=row["method"],
        backbone=row["backbone"],
        batch_size=int(row["batch_size"]),
        epochs=int(row["epochs"]),
        figures=figures,
        settings=settings,
        protocols=protocols,
        best_epoch=tuple(row["best_epoch"].split()),
        notes=row["notes"],
    )


def candidates(setting: Setting) -> list[Published]:
    """Published runs of the same data, image size, method and backbone, the nearest batch size and epochs first.

    None of them began with given weights.
    """
    trial = setting.first
    if not trial.full_dataset or trial.weights is not None:
        return []
    method = re.sub(r"[^a-z0-9]", "", trial.method.lower())
    ours = (
        trial.dataset_kind or trial.dataset,
        ALIASES.get(method, method),
        trial.backbone.split(".")[0],
        trial.image_size,
    )
    found = [p for p in published_rows() if (p.dataset_id, p.method_id, p.backbone_id, p.image_size) == ours]

    def distance(run: Published) -> float:
        pairs = ((run.epochs, trial.epochs), (run.batch_size, trial.batch_size))
        return sum(abs(math.log(a / max(b, 1))) for a, b in pairs)

    return sorted(found, key=distance)


def exact_match(setting: Setting) -> Published | None:
    """The published run in this very setting. A row of a grid over anything else is not: which value was theirs?"""
    size = (setting.first.batch_size, setting.first.epochs)
    return next((p for p in candidates(setting) if not setting.axes and (p.batch_size, p.epochs) == size), None)


def nearest(setting: Setting) -> Published | None:
    """Where no published run matches: the nearest in batch size and epochs, to be shown apart."""
    return None if exact_match(setting) else next(iter(candidates(setting)), None)


def same_protocol(run: Published, protocol: Protocol) -> bool:
    """Whether its figure was made as ours: by the same protocol, on the test set, nothing changed, and as far as it is
    published with the same settings."""
    if run.protocols.get(protocol.name, protocol.protocol) != protocol.protocol:
        return False
    if protocol.split != "test" or protocol.changed != "{}":
        return False
    own = json.loads(protocol.settings)
    return all(own.get(key, value) == value for key, value in run.settings.get(protocol.name, {}).items())
