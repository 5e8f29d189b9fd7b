"""Training curves: a small panel for each setting, loss over epochs and, where measured, kNN above it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...evaluation.registry import EVALUATIONS, MONITOR
from ..store.records import EpochRecord, TrialResult
from ..store.trial_state import TrialState
from .settings import Setting
from .statistics import spread
from .svg import LIGHT, Drawing, Plot, new_figure, render

WIDTH, TALL, SHORT = 300, 290, 180
MOST_POINTS = 240
MOST_CONTEXT = 16
"""More settings than this make a thicket of grey lines that says nothing."""

Point = tuple[float, float]
Colour = Callable[[Setting], tuple[str, str]]


@dataclass(frozen=True)
class Line:
    """Mean over the seeds by epoch, with the standard deviation where there are several."""

    points: tuple[Point, ...]
    band: tuple[tuple[float, float, float], ...] = ()
    """Epoch, low, high."""


def training_curves(name: str, settings: Sequence[Setting], names: Sequence[str], colour: Colour) -> Plot:
    title = "Training"
    drawn = [(s, label) for s, label in zip(settings, names, strict=True) if any(t.history for t in s.trials)]
    if not drawn:
        return Plot(name, title, "", missing="No training curves: no trial has recorded an epoch.")
    lines = [mean_line(setting, monitored) for setting, _ in drawn]
    measured = any(line.points for line in lines) or any(_points(t, monitored) for s, _ in drawn for t in s.trials)
    drawings = tuple(
        _panel(f"{name}-{index}", setting, label, colour(setting)[0], lines if measured else None)
        for index, (setting, label) in enumerate(drawn)
    )
    many = any(len(setting.trials) > 1 for setting, _ in drawn)
    caption = "Mean of the finished seeds, the band ± one standard deviation. " if many else ""
    if measured and len(drawn) <= MOST_CONTEXT:
        caption += "Grey: the other settings. "
    caption += "Losses of different methods are different quantities: each panel has its own scale. "
    caption += "Dashed: a trial that has not finished; ×: where a failed one ended."
    return Plot(
        name, title, caption, drawings, wide=True, description=" ".join(map(_describe, *zip(*drawn, strict=True)))
    )


def monitored(record: EpochRecord) -> float | None:
    return record.logs.get(EVALUATIONS[MONITOR].main_key)


def loss_of(record: EpochRecord) -> float | None:
    return record.loss


def _points(trial: TrialResult, value: Callable[[EpochRecord], float | None]) -> list[Point]:
    points = [(float(record.epoch), value(record)) for record in trial.history]
    return [(epoch, y) for epoch, y in points if y is not None and math.isfinite(y)]


def mean_line(setting: Setting, value: Callable[[EpochRecord], float | None], most: int = MOST_POINTS) -> Line:
    """Over the finished trials, at the epochs that all of them have: a seed that drops out would bend the mean."""
    runs = [dict(_points(trial, value)) for trial in setting.trials if trial.status is TrialState.FINISHED]
    runs = [run for run in runs if run]
    epochs = sorted(set(runs[0]).intersection(*runs[1:])) if runs else []
    points: list[Point] = []
    band: list[tuple[float, float, float]] = []
    for epoch in _thin(epochs, most):
        found = spread([run[epoch] for run in runs])
        assert found is not None
        points.append((epoch, found.mean))
        if found.std is not None:
            band.append((epoch, found.mean - found.std, found.mean + found.std))
    return Line(tuple(points), tuple(band))


def _thin(epochs: Sequence[float], most: int = MOST_POINTS) -> list[float]:
    """At most so many, evenly, the last one among them."""
    step = max(1, math.ceil(len(epochs) / most))
    return sorted(set(epochs[::step]) | set(epochs[-1:]))


def _panel(name: str, setting: Setting, label: str, colour: str, context: Sequence[Line] | None) -> Drawing:
    colour = LIGHT["base"] if setting.baseline else colour
    figure = new_figure(WIDTH, TALL if context else SHORT)
    if context:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        others = context if len(context) <= MOST_CONTEXT else []
        for line in others:
            _draw(upper, Line(tuple(line.points[:: max(1, len(line.points) // 40)])), LIGHT["faint"], width=1)
        top = max((y for line in context for _, y in line.points), default=100.0)
        low = min((y for line in context for _, y in line.points), default=0.0)
        margin = max(1.0, (top - low) * 0.08)
        upper.set_ylim(max(0, low - margin), min(100, top + margin))  # the same in every panel
        _curve(upper, setting, monitored, colour)
        monitor = EVALUATIONS[MONITOR]
        upper.set_ylabel(f"{monitor.title} {monitor.main.title}, {monitor.main.unit}")
    else:
        upper = lower = figure.subplots()
    _curve(lower, setting, loss_of, colour)
    lower.set_ylabel("loss")
    lower.set_xlabel("epoch")
    lower.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    lower.yaxis.set_major_locator(MaxNLocator(3))
    figure.align_ylabels()
    upper.set_title(label, loc="left", fontweight="bold", fontsize=12)
    return render(figure, name, f"Training of {label}", _describe(setting, label))


def _curve(axes: Axes, setting: Setting, value: Callable[[EpochRecord], float | None], colour: str) -> None:
    _draw(axes, mean_line(setting, value), colour)
    for trial in setting.trials:
        if trial.status is TrialState.FINISHED:
            continue
        points = dict(_points(trial, value))
        kept = [(epoch, points[epoch]) for epoch in _thin(sorted(points))]
        if kept:
            axes.plot(*zip(*kept, strict=True), color=colour, linewidth=1.2, linestyle=(0, (3, 2)))
            if trial.status is TrialState.FAILED:
                axes.plot(*kept[-1], color=colour, marker="x", markersize=7, markeredgewidth=2)


def _draw(axes: Axes, line: Line, colour: str, width: float = 1.8) -> None:
    if line.band:
        epochs, low, high = zip(*line.band, strict=True)
        axes.fill_between(epochs, low, high, color=colour, alpha=0.22, linewidth=0)
    if len(line.points) == 1:
        axes.plot(*line.points[0], color=colour, marker="o", markersize=4)
    elif line.points:
        axes.plot(*zip(*line.points, strict=True), color=colour, linewidth=width)


def _describe(setting: Setting, label: str) -> str:
    loss, seen = mean_line(setting, loss_of).points, mean_line(setting, monitored).points
    monitor = EVALUATIONS[MONITOR]
    parts = [f"loss from {loss[0][1]:.3g} to {loss[-1][1]:.3g} at epoch {loss[-1][0]:.0f}"] if loss else []
    change = f"from {seen[0][1]:.1f} to {monitor.main.quantity(seen[-1][1])}" if seen else ""
    parts += [f"{monitor.title} {monitor.main.title} {change}"] if seen else []
    return f"{label}: {', '.join(parts) or 'no trial has finished'}."
