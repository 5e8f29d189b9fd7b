"""The members of a population: where each comes from, when it is compared with the others, and what goes on in its place."""

import random
from collections.abc import Callable, Mapping, Sequence

from ..spec.changes import Change
from ..spec.models import TrialSpec
from ..spec.search import PopulationConfig
from ..store.files import Store
from ..store.trial_folder import TrialStore
from .points import Point
from .population import Member, donors, explored
from .space import Space, Values

DRAWS = 100
"""Settings in a row that cannot be trained, or are of a member already, after which a member goes on as it is."""


class Lineage:
    """Decides once for each member and interval; what follows is in the points, so that a search that resumes goes on with it."""

    def __init__(
        self,
        config: PopulationConfig,
        space: Space,
        key: str,
        points: Mapping[str, Point],
        running: Mapping[str, object],
        possible: Callable[[Values, Sequence[Change]], TrialSpec | None],
    ):
        """Args:
        config: of the population.
        space: of its members' settings.
        key: tells its random draws from those of others.
        points: all members that there have been, by the ids of their trials, as they are at any time.
        running: by the same ids what runs.
        possible: the trial with these settings and changes, if it can be run.
        """
        self.config, self.space, self.key = config, space, key
        self.points, self.running, self.possible = points, running, possible
        self._begun: dict[str, Point] = {}
        """By the JSON of their trials, which have no ids yet."""

    def joined(self, point: Point, trial: TrialSpec, metric: str, store: Store) -> Point:
        """A member that begins or resumes, with where it comes from and with its scores by `metric` in the store."""
        begun = self._begun.pop(trial.model_dump_json(), None)
        if begun is not None:
            point = begun.model_copy(update={"trial_id": point.trial_id, "search": point.search})
        history = TrialStore(store, point.trial_id).history()
        stored = {epoch.epoch: epoch.logs[metric] for epoch in history if metric in epoch.logs}
        return point.model_copy(update={"curve": {**point.curve, **stored}})

    def due(self, point: Point, epoch: int) -> int | None:
        """The interval at whose end a member that has done `epoch` is to be compared; None if it has been."""
        end = epoch - epoch % self.config.interval_epochs
        return end if end > max(point.compared, _since(point)) and end in point.curve else None

    def successor(self, trial_id: str, epoch: int) -> TrialSpec | None:
        """What goes on in the place of a member that has come to the end of an interval; None if itself."""
        draw = random.Random(f"{self.key} {trial_id} {epoch}")
        able = donors(trial_id, epoch, self._members(), self.config)
        for _ in range(DRAWS if able else 0):
            donor = self.points[draw.choice(able)]
            before = donor.values_after(epoch)
            values = explored(self.space, before, self.config.resample, draw)
            changed = {key: float(value) for key, value in values.items() if value != before[key]}
            if not changed:
                continue
            changes = (*donor.changes, Change(after_epoch=epoch, values=changed))
            if any((other.values, other.changes) == (donor.values, changes) for other in self.points.values()):
                continue
            trial = self.possible(donor.values, changes)
            if trial is not None:
                self._begun[trial.model_dump_json()] = Point(
                    trial_id="", values=donor.values, changes=changes, replaces=trial_id, compared=epoch
                )
                return trial
        return None

    def _members(self) -> list[Member]:
        replaced = {point.replaces for point in self.points.values()}
        alive = {name: point for name, point in self.points.items() if name in self.running or point.scores}
        return [
            Member(name, {at: score for at, score in point.curve.items() if self._counts(point, at)})
            for name, point in alive.items()
            if name not in replaced
        ]

    def _counts(self, point: Point, epoch: int) -> bool:
        return epoch % self.config.interval_epochs == 0 and epoch > _since(point)


def _since(point: Point) -> int:
    """The epoch of its last change: what it scored before is another's."""
    return point.changes[-1].after_epoch if point.changes else 0
