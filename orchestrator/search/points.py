"""The points of a search and their scores, as the store keeps them."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from ..spec.changes import Change, values_after
from ..spec.identity import digest, evaluation_id
from ..spec.search import SearchConfig
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.records import Record
from .objectives import Scores, dominates, is_better, keeps
from .space import Space, Values

WRITE_SECONDS = 2.0
"""Between two writes of what was scored; what was sampled is written before its trial begins."""
SECONDS_KEPT = 60.0
"""A crash costs a search's clock no more."""


class Point(Record):
    """One sampled point of a search."""

    search: str = ""
    """`search_id` of the search that sampled it; empty in stores of earlier versions."""
    trial_id: str
    """Of its trial with the first seed."""
    values: Values
    scores: Scores = Field(default_factory=dict)
    """Each objective and each limited cost, as the mean over the seeds that are scored; empty while none is."""
    seeds: int = 0
    """How many are scored."""
    stopped: bool = False
    """Ended early: it is not tried again."""
    curve: dict[int, float] = Field(default_factory=dict)
    """What decides, by epoch, while the first seed was pretrained."""
    changes: tuple[Change, ...] = ()
    """Of a member of a population: its settings after `values`."""
    replaces: str = ""
    """The member in whose place it began."""
    compared: int = 0
    """The epoch at which it was compared with the others last."""

    def values_after(self, epoch: int) -> Values:
        """Its settings after so many epochs."""
        return {**self.values, **values_after(self.changes, epoch)}

    @model_validator(mode="before")
    @classmethod
    def of_earlier_versions(cls, value: Any) -> Any:
        """Earlier versions had one objective, without its name; the result itself is in the trial's folder."""
        if isinstance(value, dict) and "scores" not in value:
            return {key: item for key, item in value.items() if key not in ("value", "stopped")}
        return value


class Points(Record):
    """All points of a sweep: of each search in the order of their sampling, a point that was sampled twice twice."""

    points: tuple[Point, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict)
    """How long each search has run, over all submissions."""


def search_id(search: SearchConfig, space: Space, template: PlannedTrial) -> str:
    """Hash of what must be the same for two points to be of one search: axes, objectives, data, and all training that is not searched.

    `template` is the trial of the search's row before anything is sampled.
    """
    names = {objective.partition("/")[0] for objective in search.metric}
    content: dict[str, Any] = {
        "space": {key: domain.model_dump(mode="json", exclude_defaults=True) for key, domain in space.items()},
        "metric": search.main if len(search.metric) == 1 else list(search.metric),
        "evaluation": [evaluation_id(config) for config in template.trial.evaluate if config.known_as in names],
        "trial": template.trial_id,
    }
    if search.constraints:
        content["constraints"] = list(search.constraints)
    if search.pbt is not None:
        content["population"] = search.pbt.model_dump() | {"members": search.points, "seed": search.seed}
    return digest(content)


class Notebook:
    """The points of a sweep's searches in its store, beside those of searches that its file no longer asks for."""

    def __init__(self, store: Store, sweep: str, clock: Callable[[], float] = time.monotonic):
        self.store, self.clock = store, clock
        self.name = f"sweeps/{sweep}/search.json"
        self.before = store.read_record(self.name, Points) or Points()
        self._began = clock()
        self._points: dict[str, tuple[Point, ...]] = {}
        """By the ids of the searches that the file asks for."""
        self._written = self.before
        self._due = 0.0

    @property
    def known(self) -> Sequence[Point]:
        """What earlier runs have left."""
        return self.before.points

    def seconds(self, search: str) -> float:
        """How long a search has run, this time and before."""
        return self.before.seconds.get(search, 0.0) + self.clock() - self._began

    @property
    def is_due(self) -> bool:
        """Whether the last time that something was written is a while ago."""
        return self.clock() >= self._due

    def keep(self, search: str, points: Iterable[Point]) -> None:
        """Write the points of a search, if they changed."""
        self._points[search] = tuple(points)
        others = [point for point in self.known if point.search not in self._points]
        mine = [point for some in self._points.values() for point in some]
        seconds = {**self.before.seconds, **{name: round(self.seconds(name), 1) for name in self._points}}
        content = Points(points=(*others, *mine), seconds=seconds)
        began = self.clock()
        if content.points != self._written.points or _much_later(seconds, self._written.seconds):
            self.store.write_record(self.name, content)
            self._written = content
        self._due = self.clock() + max(WRITE_SECONDS, 20 * (self.clock() - began))


def _much_later(seconds: Mapping[str, float], before: Mapping[str, float]) -> bool:
    return any(value - before.get(search, 0.0) > SECONDS_KEPT for search, value in seconds.items())


def best_of(points: Iterable[Point], search: SearchConfig) -> Point | None:
    """Of the points that ran to their end within the limits and have the most seeds, the best."""
    ended = [point for point in points if point.scores and not point.stopped and keeps(search.limits, point.scores)]
    seeds = max((point.seeds for point in ended), default=0)
    best: Point | None = None
    for point in ended:
        if point.seeds == seeds and (
            best is None or is_better(search.main, point.scores[search.main], best.scores[search.main])
        ):
            best = point
    return best


def front_of(points: Iterable[Point], objectives: Sequence[str]) -> list[Point]:
    """The Pareto front: points that no other is as good as in every objective, and better in one."""
    ended = {point.trial_id: point for point in points if point.scores and not point.stopped}
    scores = {name: {key: point.scores[key] for key in objectives} for name, point in ended.items()}
    return [
        point for name, point in ended.items() if not any(dominates(other, scores[name]) for other in scores.values())
    ]
