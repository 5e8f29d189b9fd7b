"""Data of the chart that a reader can point at: the curves of the best settings, which report.js.jinja draws."""

import json
import math
from collections.abc import Callable, Sequence
from typing import TypedDict

from ...evaluation.registry import EVALUATIONS, MONITOR
from ..store.records import EpochRecord
from .curves import loss_of, mean_line, monitored
from .main_table import DataTable
from .ranking import MOST_CURVES
from .settings import Setting
from .svg import HUES

MOST_POINTS = 60
"""Of a curve."""


class Curve(TypedDict):
    """Of one setting. `colour` is a name of `THEME`."""

    name: str
    method: str
    backbone: str
    colour: str
    points: list[tuple[int, float]]


def curve_data(data: DataTable, methods: Sequence[str]) -> str:
    """JSON: by the label of each measure its curves; empty if no trial has recorded an epoch."""
    monitor = EVALUATIONS[MONITOR]
    measures: dict[str, Callable[[EpochRecord], float | None]] = {
        f"{monitor.title} {monitor.main.title}, {monitor.main.unit}": monitored,
        "loss": loss_of,
    }
    found = {label: _curves(data, methods, value) for label, value in measures.items()}
    kept = {label: curves for label, curves in found.items() if curves}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":")) if kept else ""


def _curves(data: DataTable, methods: Sequence[str], value: Callable[[EpochRecord], float | None]) -> list[Curve]:
    curves: list[Curve] = []
    for setting, name in list(zip(data.settings, data.names, strict=True))[:MOST_CURVES]:
        points = mean_line(setting, value, MOST_POINTS).points
        if len(points) > 1:
            rounded = [(int(epoch), _rounded(y)) for epoch, y in points]
            trial = setting.first
            curves.append(
                {"name": name, "method": trial.title, "backbone": trial.backbone,
                 "colour": _colour(setting, methods), "points": rounded}
            )  # fmt: skip
    return curves


def _colour(setting: Setting, methods: Sequence[str]) -> str:
    return "base" if setting.baseline else HUES[methods.index(setting.first.method) % len(HUES)]


def _rounded(value: float) -> float:
    """To four significant digits, which is finer than the chart."""
    return round(value, 3 - math.floor(math.log10(abs(value)))) if value else 0.0
