"""Plots of a search: its history, what its values matter, the points as lines over all values, and the Pareto front."""

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...evaluation.registry import EVALUATIONS
from ...methods.quantities import plural
from ..spec.search import COSTS
from ..store.records import Scalar, SearchPoint, SearchRecord
from .formats import scalar
from .search import head
from .svg import LIGHT, RC, Plot, new_figure, render

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

WIDTH, HEIGHT = 460, 320
MOST_SEARCHES = 6
"""Searches that are drawn; of further ones the table has the best point."""
LEAST_POINTS = 2
LEAST_FOR_IMPORTANCE = 10
MOST_KEYS = 8
"""Axes of the parallel coordinates."""
LOG_SPAN = 50
"""Largest over smallest value from which an axis is logarithmic."""


def search_plots(searches: Sequence[SearchRecord]) -> tuple[Plot, ...]:
    """Of the first searches that have scored points."""
    plots: list[Plot] = []
    drawn = [(search, scored) for search in searches if len(scored := _scored(search)) >= LEAST_POINTS][:MOST_SEARCHES]
    with matplotlib.rc_context(RC):
        for number, (search, scored) in enumerate(drawn, start=1):
            name = f"s{number}-"
            plots += [
                _history(f"{name}history", search),
                _importance(f"{name}importance", search, scored),
                _parallel(f"{name}parallel", search, scored),
            ]
            if len(search.objectives) > 1:
                plots.append(_front(f"{name}front", search, scored))
    return tuple(plots)


def _scored(search: SearchRecord) -> list[SearchPoint]:
    """Points whose training was not ended early, with a score."""
    main = search.objectives[0]
    return [p for p in search.points if not p.stopped and math.isfinite(p.scores.get(main, math.nan))]


def higher_is_better(objective: str) -> bool:
    """Costs are to be low; a metric says itself what is better."""
    name, _, measure = objective.partition("/")
    metrics = {metric.name: metric for metric in EVALUATIONS[name].metrics} if name in EVALUATIONS else {}
    return objective not in COSTS and (measure not in metrics or metrics[measure].higher_is_better)


def _plot(figure: Figure, name: str, search: SearchRecord, title: str, caption: str, wide: bool = False) -> Plot:
    title = f"{title}: {search.label}"
    drawing = render(figure, name, title, caption)
    return Plot(name, title, caption, (drawing,), wide=wide, description=caption)


def _history(name: str, search: SearchRecord) -> Plot:
    main = search.objectives[0]
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    best: list[tuple[int, float]] = []
    better = max if higher_is_better(main) else min
    for place, point in enumerate(search.points, start=1):
        value = point.scores.get(main, math.nan)
        if not math.isfinite(value):
            continue
        face = LIGHT["page"] if point.stopped else LIGHT["m0"]
        axes.plot(place, value, "o", color=LIGHT["m0"], markerfacecolor=face, markersize=5)
        if not point.stopped:
            best.append((place, better(best[-1][1], value) if best else value))
    axes.step(*zip(*best, strict=True), where="post", color=LIGHT["m1"])
    axes.set_xlabel("point, in the order of sampling")
    axes.set_ylabel(head(main))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    failed = sum(not point.scores for point in search.points)
    caption = "Line: the best so far. Hollow: stopped early."
    caption += f" Without a score: {plural(failed, 'point')}." if failed else ""
    return _plot(figure, name, search, "History", caption)


def _importance(name: str, search: SearchRecord, scored: Sequence[SearchPoint]) -> Plot:
    title = f"Importance of the values: {search.label}"
    keys = [key for key in _varying(scored) if all(key in point.values for point in scored)]
    if len(scored) < LEAST_FOR_IMPORTANCE or not keys:
        why = (
            "no value varies"
            if not keys
            else f"{plural(len(scored), 'scored point')}, and it takes {LEAST_FOR_IMPORTANCE}"
        )
        return Plot(name, title, "", missing=f"No importance of the values of {search.label}: {why}.")
    found = sorted(importances(scored, keys, search.objectives[0]).items(), key=lambda item: item[1])
    figure = new_figure(WIDTH, 26 * len(found) + 20)
    axes = figure.subplots()
    for place, (_, share) in enumerate(found):
        axes.barh(place, share, height=0.6, color=LIGHT["m0"])
        axes.annotate(f"{100 * share:.0f} %", (share, place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(found)), [key for key, _ in found], color=LIGHT["ink"])
    axes.set_xticks([])
    axes.set_xlim(0, 1.25 * max(found[-1][1], 1e-9))
    axes.grid(visible=False)
    axes.spines[["bottom"]].set_visible(False)
    caption = (
        f"PED-ANOVA (arXiv:2304.10255) over {plural(len(scored), 'scored point')}: how much the best tenth differs from all "
        "points in each value, as shares of 100 %. Rough for few points, and of the space that was searched."
    )
    return _plot(figure, name, search, "Importance of the values", caption)


def importances(scored: Sequence[SearchPoint], keys: Sequence[str], objective: str) -> dict[str, float]:
    """By PED-ANOVA (Watanabe et al., arXiv:2304.10255): shares of all, of values that every point has."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {key: _distribution([point.values[key] for point in scored]) for key in keys}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="maximize" if higher_is_better(objective) else "minimize")
        for point in scored:
            params = {key: point.values[key] for key in keys}
            study.add_trial(
                optuna.create_trial(params=params, distributions=distributions, value=point.scores[objective])
            )
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()))


def _distribution(values: Sequence[Scalar]) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not _is_numeric(values):
        return CategoricalDistribution(sorted(set(values), key=str))
    numbers = [float(value) for value in values if value is not None]
    return FloatDistribution(min(numbers), max(numbers), log=_is_log(numbers))


def _parallel(name: str, search: SearchRecord, scored: Sequence[SearchPoint]) -> Plot:
    """A line for each point over an axis for each value that varies; the better the score, the stronger the line."""
    main = search.objectives[0]
    keys = _varying(scored)
    shown = keys[:MOST_KEYS]
    figure = new_figure(920, HEIGHT)
    axes = figure.subplots()
    places = [*(_places([point.values.get(key) for point in scored]) for key in shown)]
    places.append(_places([point.scores[main] for point in scored]))
    order = sorted(range(len(scored)), key=lambda i: scored[i].scores[main], reverse=not higher_is_better(main))
    for rank, i in enumerate(order):
        best = rank == len(order) - 1
        share = (rank + 1) / len(order)
        heights = [column[0][i] for column in places]
        colour, alpha = (LIGHT["m1"], 1.0) if best else (LIGHT["m0"], 0.06 + 0.6 * share**2)
        axes.plot(range(len(places)), heights, color=colour, alpha=alpha, linewidth=2.6 if best else 1.2)
    for x, (_, ticks) in enumerate(places):
        axes.axvline(x, color=LIGHT["faint"], linewidth=1)
        _tick_texts(axes, x, ticks)
    axes.set_xticks(range(len(places)), [*(_short(key) for key in shown), head(main)], color=LIGHT["ink"])
    axes.set_yticks([])
    axes.set_ylim(-0.08, 1.08)
    axes.set_xlim(-0.15, len(places) - 0.6)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    caption = f"A line for each of {plural(len(scored), 'scored point')}; the stronger, the better; orange: the best."
    caption += f" {len(keys) - len(shown)} more values vary." if len(keys) > len(shown) else ""
    return _plot(figure, name, search, "Parallel coordinates", caption, wide=True)


def _tick_texts(axes: Axes, x: float, ticks: Sequence[tuple[float, str]]) -> None:
    for height, text in ticks:
        axes.annotate(
            text, (x, height), (4, 0), textcoords="offset points", va="center", fontsize=9, color=LIGHT["muted"]
        )


def _places(values: Sequence[Scalar]) -> tuple[list[float], list[tuple[float, str]]]:
    """Heights from 0 to 1, and what is written beside the axis. Texts have places of their own, as has what is unset."""
    if _is_numeric(values):
        numbers = [float(value) for value in values if value is not None]
        scaled = [math.log(number) for number in numbers] if _is_log(numbers) else numbers
        low, high = min(scaled), max(scaled)
        heights = [(number - low) / (high - low) if high > low else 0.5 for number in scaled]
        ends = [(0.0, f"{min(numbers):.3g}"), (1.0, f"{max(numbers):.3g}")]
        return heights, ends
    kinds = sorted({scalar(value) for value in values})
    step = 1 / max(1, len(kinds) - 1)
    at = {kind: place * step for place, kind in enumerate(kinds)}
    return [at[scalar(value)] for value in values], [(height, kind) for kind, height in at.items()]


def _front(name: str, search: SearchRecord, scored: Sequence[SearchPoint]) -> Plot:
    first, second = search.objectives[:2]
    figure = new_figure(WIDTH, HEIGHT)
    axes = figure.subplots()
    both = [point for point in scored if second in point.scores]
    axes.plot(*_pairs(both, second, first), "o", color=LIGHT["base"], markersize=5, alpha=0.6)
    front = sorted((p for p in search.front if second in p.scores), key=lambda point: point.scores[second])
    if front:
        axes.plot(*_pairs(front, second, first), "o-", color=LIGHT["m1"], markersize=6, linewidth=1.2)
    axes.set_xlabel(head(second))
    axes.set_ylabel(head(first))
    caption = "Orange: points than which none is as good in all objectives and better in one."
    caption += (
        f" Further objectives are in the table: {', '.join(map(head, search.objectives[2:]))}."
        if search.objectives[2:]
        else ""
    )
    return _plot(figure, name, search, "Pareto front", caption)


def _pairs(points: Sequence[SearchPoint], x: str, y: str) -> tuple[list[float], list[float]]:
    return [point.scores[x] for point in points], [point.scores[y] for point in points]


def _varying(points: Sequence[SearchPoint]) -> list[str]:
    keys = dict.fromkeys(key for point in points for key in point.values)
    return [key for key in keys if len({point.values.get(key) for point in points}) > 1]


def _is_numeric(values: Sequence[Scalar]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _is_log(numbers: Sequence[float]) -> bool:
    return min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_SPAN


def _short(key: str) -> str:
    return key.rsplit(".", 1)[-1]
