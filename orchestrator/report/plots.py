"""The plots of a report: training curves, accuracy against time, kNN against linear, memory and throughput."""

from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .curves import KNN, Colour, training_curves
from .formats import integer, memory
from .labelling import label_points
from .main_table import DataTable
from .settings import EVALUATIONS, Setting, Spread, commonest, labels, spread
from .svg import LIGHT, RC, Plot, hue, new_figure, render

WIDTH, HEIGHT = 460, 360


def draw_plots(data: DataTable, methods: Sequence[str], prefix: str) -> tuple[Plot, ...]:
    """The plots of one data set. `methods` are those of the whole sweep: they fix the colours."""

    def colour(setting: Setting) -> tuple[str, str]:
        return (LIGHT["base"], "o") if setting.baseline else hue(methods, setting.first.method)

    names = labels(data.settings)
    with matplotlib.rc_context(RC):
        return (
            training_curves(f"{prefix}training", data.settings, names, colour),
            _accuracy_against_time(f"{prefix}time", data.settings, names, colour),
            _knn_against_linear(f"{prefix}knn-linear", data.settings, names, colour),
            _bars(f"{prefix}memory", "Peak memory", _gigabytes, memory, data.settings, names, colour),
            _bars(f"{prefix}throughput", "Throughput", _throughput, _per_second, data.settings, names, colour),
        )


Mark = tuple[str, Spread | float, Spread, Setting]
"""Name, x, y, and the setting they belong to."""


def _accuracy_against_time(name: str, settings: Sequence[Setting], names: Sequence[str], colour: Colour) -> Plot:
    title = "Accuracy against training time"
    protocol = commonest(settings, "knn") or commonest(settings, "linear") or commonest(settings, "finetune")
    marks: list[Mark] = []
    for setting, label in zip(settings, names, strict=True):
        seconds = _worker_seconds(setting)
        top1 = setting.top1(protocol) if protocol else None
        if seconds and top1:
            marks.append((label, seconds, top1, setting))
    if protocol is None or not marks:
        return Plot(
            name, title, "", missing="No plot of accuracy against time: no trial has both a run time and an accuracy."
        )
    unit, scale = _time_unit(max(mark[1].mean for mark in marks if isinstance(mark[1], Spread)))
    marks = [(label, _scaled(x, 1 / scale), y, setting) for label, x, y, setting in marks]
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    trails: list[tuple[float, float]] = []
    for label, _, _, setting in marks:
        for trail in _trails(setting, 1 / scale) if protocol.name == "knn" else []:
            trails += trail[:: max(1, len(trail) // 12)]
            axes.plot(*zip(*trail, strict=True), color=colour(setting)[0], linewidth=1, alpha=0.45)
        del label
    workers = "GPU " if all(_on_gpu(setting) for _, _, _, setting in marks) else "worker "
    axes.set_xlabel(f"pretraining, {workers}{unit}")
    axes.set_xlim(left=0)
    measure = f"{EVALUATIONS[protocol.name]} top-1"
    _points(axes, marks, colour, trails, f"{measure}, %")
    spoken = [f"{label}: {y.mean:.1f} % after {_mean(x):.3g} {unit}" for label, x, y, _ in marks]
    description = f"{measure} against pretraining time. {'; '.join(spoken)}."
    caption = f"{measure} ({protocol.protocol}) after pretraining; bars: ± one standard deviation."
    if trails:
        caption += " Thin lines: kNN while training, one a seed."
    return Plot(name, title, caption, (render(figure, name, title, description),), description=description)


def _knn_against_linear(name: str, settings: Sequence[Setting], names: Sequence[str], colour: Colour) -> Plot:
    title = "kNN against linear probe"
    knn, linear = commonest(settings, "knn"), commonest(settings, "linear")
    marks: list[Mark] = []
    for setting, label in zip(settings, names, strict=True):
        x, y = (setting.top1(protocol) if protocol else None for protocol in (knn, linear))
        if x and y:
            marks.append((label, x, y, setting))
    if knn is None or linear is None or not marks:
        return Plot(name, title, "", missing="No plot of kNN against linear: no trial has both.")
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    axes.set_xlabel("kNN top-1, %")
    _points(axes, marks, colour, [], "linear top-1, %", diagonal=True)
    spoken = [f"{label}: kNN {_mean(x):.1f} %, linear {y.mean:.1f} %" for label, x, y, _ in marks]
    caption = (
        f"Top-1 by {knn.protocol} and {linear.protocol}; bars: ± one standard deviation; dotted: where they are equal."
    )
    description = f"{'; '.join(spoken)}."
    return Plot(name, title, caption, (render(figure, name, title, description),), description=description)


def _points(
    axes: Axes,
    marks: Sequence[Mark],
    colour: Colour,
    obstacles: Sequence[tuple[float, float]],
    ylabel: str,
    diagonal: bool = False,
) -> None:
    """Points with error bars and their names. Fixes the layout: names are placed by the final positions."""
    for _, x, y, setting in marks:
        drawn, marker = colour(setting)
        xerr = x.std if isinstance(x, Spread) else None
        axes.errorbar(_mean(x), y.mean, xerr=xerr, yerr=y.std, color=drawn, elinewidth=1.2, fmt="none")
        face = LIGHT["page"] if setting.baseline else drawn
        axes.plot(_mean(x), y.mean, marker, color=drawn, markerfacecolor=face, markersize=7, markeredgewidth=1.5)
    axes.set_ylabel(ylabel)
    axes.margins(0.12, 0.1)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
    limits = axes.get_xlim(), axes.get_ylim()
    if diagonal:
        ends = [min(min(pair) for pair in limits), max(max(pair) for pair in limits)]
        axes.plot(ends, ends, color=LIGHT["muted"], linewidth=1, linestyle=":")
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    points = [(_mean(x), y.mean) for _, x, y, _ in marks]
    label_points(axes, points, [mark[0] for mark in marks], LIGHT["ink"], obstacles)


def _mean(value: Spread | float) -> float:
    return value.mean if isinstance(value, Spread) else value


def _scaled(value: Spread | float, factor: float) -> Spread | float:
    if isinstance(value, Spread):
        return Spread(value.mean * factor, None if value.std is None else value.std * factor, value.n)
    return value * factor


def _worker_seconds(setting: Setting) -> Spread | None:
    costs = [trial.pretrain.cost for trial in setting.trials if trial.pretrain]
    return spread([cost.seconds * cost.workers for cost in costs])


def _on_gpu(setting: Setting) -> bool:
    return all(trial.pretrain.cost.device != "cpu" for trial in setting.trials if trial.pretrain)


def _time_unit(seconds: float) -> tuple[str, float]:
    if seconds < 180:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 3 * 3600 else ("hours", 3600.0)


def _trails(setting: Setting, factor: float) -> list[list[tuple[float, float]]]:
    """kNN over worker time while training, for each trial that finished."""
    trails: list[list[tuple[float, float]]] = []
    for trial in setting.trials:
        workers = trial.pretrain.cost.workers if trial.pretrain and trial.status == "finished" else 0
        trail = [(r.seconds * workers * factor, r.logs[KNN]) for r in trial.history if KNN in r.logs]
        if workers and len(trail) > 1:
            trails.append(trail)
    return trails


def _gigabytes(setting: Setting) -> float | None:
    return setting.memory()


def _throughput(setting: Setting) -> float | None:
    rate = spread([trial.pretrain.images_per_second for trial in setting.trials if trial.pretrain])
    return rate.mean if rate else None


def _per_second(rate: float) -> str:
    return f"{integer(round(rate))} images/s" if rate >= 10 else f"{rate:.2g} images/s"


def _bars(
    name: str,
    title: str,
    value: Callable[[Setting], float | None],
    text: Callable[[float], str],
    settings: Sequence[Setting],
    names: Sequence[str],
    colour: Colour,
) -> Plot:
    """A bar for each setting, the largest on top, with its number beside it: no axis is needed."""
    found = [(v, label, s) for s, label in zip(settings, names, strict=True) if (v := value(s)) is not None]
    if not found:
        return Plot(name, title, "", missing=f"No plot of {title.lower()}: none was recorded.")
    found.sort(key=lambda entry: entry[0])
    figure = new_figure(WIDTH, 24 * len(found) + 16)
    axes = figure.subplots()
    for position, (size, _, setting) in enumerate(found):
        axes.barh(position, size, height=0.62, color=colour(setting)[0])
        axes.annotate(text(size), (size, position), (5, 0), textcoords="offset points", va="center", color=LIGHT["ink"])
    axes.set_yticks(range(len(found)), [label for _, label, _ in found], color=LIGHT["ink"])
    axes.set_xticks([])
    axes.set_xlim(0, (found[-1][0] or 1) * 1.3)
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.grid(visible=False)
    axes.spines[["bottom"]].set_visible(False)
    hardware = ", ".join(sorted({setting.hardware() for _, _, setting in found} - {""}))
    caption = (
        "Training images a second over all workers, mean of the seeds"
        if text is _per_second
        else "Of the busiest worker"
    )
    spoken = "; ".join(f"{label}: {text(size)}" for size, label, _ in reversed(found))
    drawing = render(figure, name, title, f"{spoken}.")
    return Plot(
        name, title, f"{caption}; {hardware}." if hardware else f"{caption}.", (drawing,), description=f"{spoken}."
    )
