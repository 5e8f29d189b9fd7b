"""What the searches found, on the held-out part of the training set: the best point of each, and trade-offs between objectives."""

import statistics
from collections.abc import Iterable

from ...evaluation.registry import EVALUATIONS, title_of
from ...methods.quantities import integer
from ..spec.search import COSTS
from ..store.records import SearchPoint, SearchRecord, SweepResult
from .formats import NONE, scalar
from .table import Cell, Table, plain_table


def search_table(result: SweepResult) -> Table:
    """Per row of the main table how many points were tried, which is best, and how it scored."""
    rows: list[list[str | Cell]] = []
    for search in result.searches:
        ended = [point for point in search.points if point.scores and not point.stopped]
        stopped = sum(point.stopped for point in search.points)
        tried = f"{len(ended)} of {len(search.points)}" + (f" ({stopped} stopped early)" if stopped else "")
        scores = [point.scores[search.objectives[0]] for point in ended]
        best = search.best
        rows.append(
            [
                search.title,
                search.backbone,
                search.dataset,
                Cell(_values(search.axes), code=True),
                tried,
                Cell(NONE if best is None else _values(best.values), code=True),
                NONE if best is None else _score(search.objectives[0], best),
                NONE if best is None else integer(best.seeds),
                f"{statistics.median(scores):.1f}" if scores else NONE,
                f"{head(search.objectives[0])}, {search.protocol}",
            ]
        )
    labels = [
        "method",
        "backbone",
        "data set",
        "grid",
        "points scored",
        "best point",
        "held-out",
        "seeds",
        "median",
        "by",
    ]
    return plain_table("Search", labels, rows, numeric="points scored|held-out|seeds|median")


def front_table(result: SweepResult) -> Table:
    """Of searches with several objectives the Pareto front: whatever is better in one objective costs in another."""
    searches = [search for search in result.searches if search.front]
    objectives = list(dict.fromkeys(name for search in searches for name in search.objectives))
    rows = [list(_front_row(search, point, objectives)) for search in searches for point in _sorted(search)]
    heads = [head(name) for name in objectives]
    labels = ["method", "data set", "grid", "point", *heads, "trained"]
    return plain_table("Pareto front", labels, rows, numeric="|".join(heads))


def _sorted(search: SearchRecord) -> list[SearchPoint]:
    return sorted(search.front, key=lambda point: point.scores[search.objectives[0]], reverse=True)


def _front_row(search: SearchRecord, point: SearchPoint, objectives: Iterable[str]) -> Iterable[str | Cell]:
    yield search.title
    yield search.dataset
    yield Cell(_values(search.axes), code=True)
    yield Cell(_values(point.values), code=True)
    yield from (_score(name, point) for name in objectives)
    yield "yes" if point == search.best else NONE


def head(objective: str) -> str:
    """``kNN top-1``."""
    if objective in COSTS:
        return COSTS[objective].label
    name, _, measure = objective.partition("/")
    metrics = {metric.name: metric for metric in EVALUATIONS[name].metrics} if name in EVALUATIONS else {}
    return f"{title_of(name)} {metrics[measure].title if measure in metrics else measure}"


def _score(objective: str, point: SearchPoint) -> str:
    value = point.scores.get(objective)
    if value is None:
        return NONE
    if objective == "parameters":
        value /= 1e6
    digits = COSTS[objective].digits if objective in COSTS else 1
    return f"{value:,.{digits}f}"


def _values(values: dict[str, bool | int | float | str | None]) -> str:
    return ", ".join(f"{key} = {scalar(value)}" for key, value in values.items()) or NONE
