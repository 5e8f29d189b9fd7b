"""The plots of a report: training curves, accuracy against time, kNN against linear, memory and throughput."""

from collections.abc import Callable, Sequence
from statistics import fmean

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...evaluation.base import Metric
from ...evaluation.registry import EVALUATIONS
from ...methods.quantities import integer
from ..store.trial_state import TrialState
from .curves import MOST_CONTEXT, Colour, training_curves
from .formats import memory
from .labelling import label_points
from .main_table import DataTable
from .settings import Setting, commonest, labels
from .statistics import Spread, spread
from .svg import LIGHT, RC, Plot, hue, new_figure, render

WIDTH, HEIGHT = 460, 360
MOST_SETTINGS = 200
"""More settings than this make plots that nobody can read; 1,000 of them take minutes to draw."""
PLOTS = {
    "training": "Training",
    "time": "Accuracy against training time",
    "knn-linear": "kNN against linear probe",
    "memory": "Peak memory",
    "throughput": "Throughput",
}
"""By the end of its name, each plot's title."""


def draw_plots(data: DataTable, methods: Sequence[str], prefix: str) -> tuple[Plot, ...]:
    """The plots of one data set. `methods` are those of the whole sweep: they fix the colours."""

    def colour(setting: Setting) -> tuple[str, str]:
        return (LIGHT["base"], "o") if setting.baseline else hue(methods, setting.first.method)

    if len(data.settings) > MOST_SETTINGS:
        return tuple(_too_many(f"{prefix}{name}", title, len(data.settings)) for name, title in PLOTS.items())
    names = labels(data.settings)
    with matplotlib.rc_context(RC):
        return (
            training_curves(f"{prefix}training", data.settings, names, colour),
            _accuracy_against_time(f"{prefix}time", data.settings, names, colour),
            _knn_against_linear(f"{prefix}knn-linear", data.settings, names, colour),
            _bars(f"{prefix}memory", PLOTS["memory"], _gigabytes, memory, data.settings, names, colour),
            _bars(f"{prefix}throughput", PLOTS["throughput"], _throughput, _per_second, data.settings, names, colour),
        )


def _too_many(name: str, title: str, count: int) -> Plot:
    missing = f"No plot '{title}': {integer(count)} settings are too many to draw; results.parquet has their numbers."
    return Plot(name, title, "", missing=missing)


Mark = tuple[str, Spread | float, Spread, Setting]
"""Name, x, y, and the setting they belong to."""


def _accuracy_against_time(name: str, settings: Sequence[Setting], names: Sequence[str], colour: Colour) -> Plot:
    title = PLOTS["time"]
    found = (commonest(settings, name) for name in EVALUATIONS)
    protocol = next((protocol for protocol in found if protocol is not None), None)
    marks: list[Mark] = []
    for setting, label in zip(settings, names, strict=True):
        seconds = _worker_seconds(setting)
        score = setting.main(protocol) if protocol else None
        if seconds and score:
            marks.append((label, seconds, score, setting))
    if protocol is None or not marks:
        return Plot(
            name, title, "", missing="No plot of accuracy against time: no trial has both a run time and an accuracy."
        )
    unit, scale = _time_unit(max(mark[1].mean for mark in marks if isinstance(mark[1], Spread)))
    marks = [(label, _scaled(x, 1 / scale), y, setting) for label, x, y, setting in marks]
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    workers = "GPU " if all(_on_gpu(setting) for _, _, _, setting in marks) else "worker "
    axes.set_xlabel(f"pretraining, {workers}{unit}")
    main = protocol.main
    measure = f"{protocol.title} {main.title}"
    inside, outside = _near(marks, main)
    trails: list[tuple[float, float]] = []
    for _, _, _, setting in inside:
        key = f"{protocol.name}/{main.name}"
        trail = _trail(setting, 1 / scale, key) if len(inside) <= MOST_CONTEXT else []
        if len(trail) > 1:
            trails += trail
            axes.plot(*zip(*trail, strict=True), color=colour(setting)[0], linewidth=1, alpha=0.5)
    axes.set_xlim(0, 1.15 * max(_mean(x) for _, x, _, _ in inside) or 1)  # untrained baselines alone took no time
    _points(axes, inside, colour, trails, f"{measure}, {main.unit}" if main.unit else measure)
    spoken = [f"{label}: {main.quantity(y.mean)} after {_mean(x):.3g} {unit}" for label, x, y, _ in marks]
    description = f"{measure} against pretraining time. {'; '.join(spoken)}."
    caption = f"{measure} ({protocol.protocol}) after pretraining; bars: ± one standard deviation.{outside}"
    if trails:
        caption += f" Thin lines: {protocol.title} while training."
    return Plot(name, title, caption, (render(figure, name, title, description),), description=description)


def _knn_against_linear(name: str, settings: Sequence[Setting], names: Sequence[str], colour: Colour) -> Plot:
    """The one plot that names its evaluations: whether a probe that is trained agrees with one that is not."""
    title = PLOTS["knn-linear"]
    knn, linear = commonest(settings, "knn"), commonest(settings, "linear")
    marks: list[Mark] = []
    for setting, label in zip(settings, names, strict=True):
        x, y = (setting.main(protocol) if protocol else None for protocol in (knn, linear))
        if x and y:
            marks.append((label, x, y, setting))
    if knn is None or linear is None or not marks:
        return Plot(name, title, "", missing="No plot of kNN against linear: no trial has both.")
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    axes.set_xlabel("kNN top-1, %")
    inside, outside = _near(marks, linear.main)
    axes.set_xlim(*_limits([_mean(x) for _, x, _, _ in inside]))
    _points(axes, inside, colour, [], "linear top-1, %", diagonal=True)
    spoken = [f"{label}: kNN {_mean(x):.1f} %, linear {y.mean:.1f} %" for label, x, y, _ in marks]
    caption = f"Top-1 by {knn.protocol} and {linear.protocol}; bars: ± one standard deviation; dotted: where they are equal.{outside}"
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
        bar = x.std or 0.0 if isinstance(x, Spread) else 0.0
        obstacles = [*obstacles, *((_mean(x) + bar * step / 4, y.mean) for step in range(-4, 5))]
        face = LIGHT["page"] if setting.baseline else drawn
        axes.plot(_mean(x), y.mean, marker, color=drawn, markerfacecolor=face, markersize=7, markeredgewidth=1.5)
    axes.set_ylabel(ylabel)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6))
    limits = axes.get_xlim(), _limits([y.mean for _, _, y, _ in marks])
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


def _near(marks: Sequence[Mark], metric: Metric) -> tuple[list[Mark], str]:
    """Without the baselines whose accuracy lies so far off that the methods would shrink to a heap; and a word on those."""
    own = [y.mean for _, _, y, setting in marks if not setting.baseline]
    reach = max(3.0, 1.2 * (max(own) - min(own))) if own else float("inf")
    off = [
        mark for mark in marks if mark[3].baseline and own and not min(own) - reach <= mark[2].mean <= max(own) + reach
    ]
    words = ", ".join(f"{label} ({metric.quantity(y.mean)})" for label, _, y, _ in off)
    return [mark for mark in marks if mark not in off], f" Outside the frame: {words}." if off else ""


def _limits(values: Sequence[float]) -> tuple[float, float]:
    margin = max(1.0, 0.25 * (max(values) - min(values)))
    return min(values) - margin, max(values) + margin


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


def _trail(setting: Setting, factor: float, key: str) -> list[tuple[float, float]]:
    """Mean of what the log names `key` over mean worker time while training, at the epochs that every finished trial has."""
    runs: list[dict[int, tuple[float, float]]] = []
    for trial in setting.trials:
        if trial.pretrain and trial.status is TrialState.FINISHED:
            workers = trial.pretrain.cost.workers
            runs.append({r.epoch: (r.seconds * workers * factor, r.logs[key]) for r in trial.history if key in r.logs})
    epochs = sorted(set(runs[0]).intersection(*runs[1:])) if runs else []
    return [(fmean(run[e][0] for run in runs), fmean(run[e][1] for run in runs)) for e in epochs]


def _gigabytes(setting: Setting) -> float | None:
    return setting.memory()


def _throughput(setting: Setting) -> float | None:
    """None for what is not trained."""
    rate = spread([t.pretrain.images_per_second for t in setting.trials if t.pretrain and t.pretrain.epochs])
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
