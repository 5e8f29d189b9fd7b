"""Two plots with a point for each setting: accuracy against training time, and kNN against linear."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...evaluation.registry import EVALUATIONS
from ...methods.quantities import integer
from ..store.trial_state import TrialState
from .curves import MOST_CONTEXT, Colour
from .labelling import label_points
from .main_table import DataTable
from .settings import UNTRAINED, Protocol, Setting, commonest
from .statistics import Spread, spread
from .svg import LIGHT, Plot, new_figure, render

WIDTH, HEIGHT = 460, 380
MOST_NAMED = 12
"""Points with a name, if there are many: the best ones. Baselines are named besides."""


@dataclass(frozen=True)
class Mark:
    """A setting's point."""

    label: str
    x: Spread
    y: Spread
    setting: Setting
    named: bool


def accuracy_against_time(name: str, title: str, data: DataTable, colour: Colour) -> Plot:
    found = (commonest(data.settings, evaluation) for evaluation in EVALUATIONS)
    protocol = next((protocol for protocol in found if protocol is not None), None)
    pairs = [(_worker_seconds(s), s.main(protocol) if protocol else None) for s in data.settings]
    marks = _marks(data, pairs)
    if protocol is None or not marks:
        return Plot(
            name, title, "", missing="No plot of accuracy against time: no trial has both a run time and an accuracy."
        )
    unit, scale = _time_unit(max(mark.x.mean for mark in marks))
    marks = [Mark(m.label, _scaled(m.x, 1 / scale), m.y, m.setting, m.named) for m in marks]
    figure = new_figure(WIDTH, HEIGHT)
    far = _far_baselines(marks)
    # A baseline far below has a strip of the axis of its own, or the methods would shrink to a heap.
    upper, *strip = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1]) if far else [figure.subplots()]
    (strip or [upper])[0].set_xlabel(
        f"pretraining, {'GPU ' if all(_on_gpu(m.setting) for m in marks) else 'worker '}{unit}"
    )
    main = protocol.main
    measure = f"{protocol.title} {main.title}"
    upper.set_xlim(0, 1.15 * max(mark.x.mean for mark in marks) or 1)  # untrained baselines alone took no time
    upper.set_ylabel(f"{measure}, {main.unit}" if main.unit else measure)
    near = [mark for mark in marks if mark not in far]
    trails = _trails([upper, *strip], marks, 1 / scale, f"{protocol.name}/{main.name}", colour)
    upper.set_ylim(*_limits([mark.y.mean for mark in near]))
    if strip:
        _break(upper, strip[0], [mark.y.mean for mark in far])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    _draw(upper, near, colour, trails)
    for axes in strip:
        _draw(axes, far, colour, [])
    spoken = [f"{m.label}: {main.quantity(m.y.mean)} after {m.x.mean:.3g} {unit}" for m in marks if m.named]
    description = f"{measure} against pretraining time. {'; '.join(spoken)}."
    caption = f"{measure} ({protocol.protocol}) after pretraining; bars: ± one standard deviation."
    caption += " The axis is broken between the baseline and the methods." if far else ""
    caption += f" Thin lines: {protocol.title} while training." if trails else ""
    return Plot(
        name, title, caption + _unnamed(marks), (render(figure, name, title, description),), "", False, description
    )


def knn_against_linear(name: str, title: str, data: DataTable, colour: Colour) -> Plot:
    """The one plot that names its evaluations: whether a probe that is trained agrees with one that is not."""
    knn, linear = commonest(data.settings, "knn"), commonest(data.settings, "linear")
    marks = _marks(data, [(_main(setting, knn), _main(setting, linear)) for setting in data.settings])
    if knn is None or linear is None or not marks:
        return Plot(name, title, "", missing="No plot of kNN against linear: no trial has both.")
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    axes.set_xlabel("kNN top-1, %")
    axes.set_ylabel("linear top-1, %")
    limits = [_limits([mark.x.mean for mark in marks]), _limits([mark.y.mean for mark in marks])]
    ends = [min(low for low, _ in limits), max(high for _, high in limits)]
    axes.plot(ends, ends, color=LIGHT["muted"], linewidth=1, linestyle=":")
    axes.set_xlim(*limits[0])
    axes.set_ylim(*limits[1])
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    _draw(axes, marks, colour, [])
    spoken = [f"{m.label}: kNN {m.x.mean:.1f} %, linear {m.y.mean:.1f} %" for m in marks if m.named]
    caption = f"Top-1 by {knn.protocol} and {linear.protocol}; bars: ± one standard deviation; dotted: both are equal."
    description = f"{'; '.join(spoken)}."
    return Plot(
        name, title, caption + _unnamed(marks), (render(figure, name, title, description),), "", False, description
    )


def _main(setting: Setting, protocol: Protocol | None) -> Spread | None:
    return setting.main(protocol) if protocol else None


def _marks(data: DataTable, pairs: Sequence[tuple[Spread | None, Spread | None]]) -> list[Mark]:
    places = [place for place, setting in enumerate(data.settings) if not setting.baseline]
    unnamed = set(places[MOST_NAMED:]) if len(places) > len(data.detailed) else set[int]()
    rows = enumerate(zip(data.settings, data.names, pairs, strict=True))
    return [Mark(label, x, y, setting, i not in unnamed) for i, (setting, label, (x, y)) in rows if x and y]


def _unnamed(marks: Sequence[Mark]) -> str:
    count = sum(not mark.named for mark in marks)
    return (
        f" Named: the best {MOST_NAMED} settings and the baselines; {integer(count)} others have no name."
        if count
        else ""
    )


def _draw(axes: Axes, marks: Sequence[Mark], colour: Colour, obstacles: Sequence[tuple[float, float]]) -> None:
    """Points, error bars and names of those that have one. Limits and layout of `axes` must be final."""
    groups: dict[tuple[str, str], list[Mark]] = {}
    for mark in marks:
        if not mark.named:
            groups.setdefault(colour(mark.setting), []).append(mark)
    for (drawn, marker), group in groups.items():  # one path for all: a thousand would be slow and large
        places = [m.x.mean for m in group], [m.y.mean for m in group]
        axes.plot(*places, marker, color=drawn, markersize=4, markeredgewidth=0, alpha=0.45)
    named = [mark for mark in marks if mark.named]
    for mark in named:
        drawn, marker = colour(mark.setting)
        x, y = mark.x.mean, mark.y.mean
        axes.errorbar(x, y, xerr=mark.x.std, yerr=mark.y.std, color=drawn, elinewidth=1.2, fmt="none")
        bar = mark.x.std or 0.0
        obstacles = [*obstacles, *((x + bar * step / 4, y) for step in range(-4, 5))]
        face = LIGHT["page"] if mark.setting.baseline else drawn
        axes.plot(x, y, marker, color=drawn, markerfacecolor=face, markersize=7, markeredgewidth=1.5, clip_on=False)
    points = [(mark.x.mean, mark.y.mean) for mark in named]
    label_points(axes, points, [mark.label for mark in named], LIGHT["ink"], obstacles)


def _far_baselines(marks: Sequence[Mark]) -> list[Mark]:
    """Baselines so far below the methods that one axis for both would make a heap of these."""
    own = [mark.y.mean for mark in marks if not mark.setting.baseline]
    if not own:
        return []
    reach = max(3.0, 1.2 * (max(own) - min(own)))
    return [mark for mark in marks if mark.setting.baseline and mark.y.mean < min(own) - reach]


def _break(upper: Axes, lower: Axes, values: Sequence[float]) -> None:
    """Two axes as one that is broken between them."""
    lower.set_ylim(*_limits(values))
    lower.yaxis.set_major_locator(MaxNLocator(2))
    upper.yaxis.set_major_locator(MaxNLocator(6))
    upper.spines["bottom"].set_visible(False)
    upper.tick_params(labelbottom=False)
    slanted, colour = [(-1, -0.6), (1, 0.6)], LIGHT["muted"]
    for axes, end in ((upper, 0), (lower, 1)):
        axes.plot(
            [0],
            [end],
            transform=axes.transAxes,
            marker=slanted,
            markersize=9,
            linestyle="none",
            color=colour,
            clip_on=False,
        )


def _trails(
    every: Sequence[Axes], marks: Sequence[Mark], factor: float, key: str, colour: Colour
) -> list[tuple[float, float]]:
    """Draws how few settings came to their scores; the points that it drew."""
    drawn: list[tuple[float, float]] = []
    for mark in marks if len(marks) <= MOST_CONTEXT else ():
        trail = _trail(mark.setting, factor, key)
        if len(trail) > 1:
            drawn += trail
            for axes in every:
                axes.plot(*zip(*trail, strict=True), color=colour(mark.setting)[0], linewidth=1, alpha=0.5)
    return drawn


def _limits(values: Sequence[float]) -> tuple[float, float]:
    margin = max(1.0, 0.25 * (max(values) - min(values)))
    return min(values) - margin, max(values) + margin


def _scaled(value: Spread, factor: float) -> Spread:
    return Spread(value.mean * factor, None if value.std is None else value.std * factor, value.n)


def _worker_seconds(setting: Setting) -> Spread | None:
    """Of what is not trained, none."""
    costs = [trial.pretrain.cost for trial in setting.trials if trial.pretrain]
    found = spread([cost.seconds * cost.workers for cost in costs])
    return Spread(0.0, None, 1) if found is None and setting.first.method in UNTRAINED else found


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
