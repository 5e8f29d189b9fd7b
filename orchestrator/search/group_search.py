"""The search of one row of the table: settings sampled for its method, scored on held-out training images.

A point belongs to the search whose id it carries: after an edit of axes, metric, data or training, earlier points decide nothing.
They and their scores are in the store, so a resumed search samples only the rest, and knows what it saw.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from ..spec.changes import Change
from ..spec.expand import Group, resolve
from ..spec.models import SweepSpec, TrialSpec
from ..store.events import EpochDone, Event, StatusChanged
from ..store.planned import PlannedTrial
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .base import Action, Create, Stop
from .early_stopping import Stopping
from .lineage import Lineage
from .objectives import Scores, devices_of, hours_of, scores_of
from .points import Notebook, Point, best_of, search_id
from .replicas import wanted_replicas
from .samplers import sampler_for
from .space import Values, domains, key_of

DRAWS = 1000
"""Points in a row that cannot be run, after which a search counts as exhausted."""


class GroupSearch:
    """Samples points, hears how their trials do, and stops those that fall behind."""

    def __init__(
        self,
        spec: SweepSpec,
        group: Group,
        template: PlannedTrial,
        notebook: Notebook,
        fits: Callable[[TrialSpec], bool],
    ):
        """Args:
        spec: of the sweep.
        group: the row.
        template: the row's trial before anything is sampled.
        notebook: has the points of earlier runs of the sweep; only those of this search count.
        fits: whether a trial can be run on the sweep's data and workers; no other is sampled.
        """
        assert spec.search is not None
        self.spec, self.group, self.search, self.notebook, self.fits = spec, group, spec.search, notebook, fits
        self.template = template
        self.space = domains(self.search, group, template.trial)
        self.id = search_id(self.search, self.space, template)
        mine = [point for point in notebook.known if point.search == self.id]
        most = len(mine) if self.search.pbt is not None else self.search.points
        self.known, self._beyond = mine[:most], mine[most:]
        self.seeds = self.search.seeds or spec.seeds[:1]
        self._before = {point.trial_id: point for point in self.known}
        self.found_points: dict[str, Point] = {}
        """By the trial of the first seed."""
        self.order: list[str] = []
        """Those trials in the order of their sampling; one that was sampled twice is in it twice."""
        self.scores: dict[str, dict[int, Scores | None]] = {}
        """Of each point by seed; None for a seed that failed."""
        self.running: dict[str, tuple[str, TrialSpec]] = {}
        """The point and the trial of what runs."""
        self.hours: dict[str, float] = {}
        """What each trial took of its devices."""
        self.asked = 0
        """Points that were sampled, before their trials have names."""
        self.exhausted = False
        self._repeats = Counter(key_of(point.values) for point in self.known)
        """Known points, which the same sequence gives again."""
        self.sampler = sampler_for(self.search, self.space, sequence_key(group), self.known)
        self.devices = devices_of(template.trial.resources)
        stopping, epochs = self.search.early_stopping, template.trial.pretrain.epochs
        self.stopping = Stopping(stopping, epochs) if stopping is not None else None
        self.lineage = None
        if (pbt := self.search.pbt) is not None:
            key = f"{self.search.seed} {sequence_key(group)}"
            self.lineage = Lineage(pbt, self.space, key, self.found_points, self.running, self._possible)

    @property
    def points(self) -> list[Point]:
        """In the order of their sampling."""
        return [self.found_points[trial_id] for trial_id in self.order]

    @property
    def method(self) -> str:
        """Its name."""
        return self.group.entry.name

    @property
    def stops_early(self) -> bool:
        """Whether the file asks for it."""
        return self.stopping is not None

    def offer(self, point: Point) -> None:
        """A result of an earlier search that fits this one: the sampler may learn from it; it is no point of the search."""
        self.sampler.tell(point)

    # -- what is to run --

    def earlier(self) -> list[Create]:
        """The known points."""
        self.asked += sum(not point.replaces for point in self.known)
        if self.stopping is not None:
            for point in self.known:
                for epoch, score in point.curve.items():
                    self.stopping.stops(point.trial_id, epoch, score)
        replaced = {point.replaces for point in self.known}
        return [
            Create(self._trial(point.values, self.seeds[0], point.changes), ended=point.trial_id in replaced)
            for point in self.known
        ]

    def more(self, room: int) -> list[Create]:
        """All points that are left, or as many as run at once if they depend on those before; then further seeds of the best."""
        if not self.space or self.is_spent:
            return []
        left = 0 if self.exhausted else self.search.points - self.asked
        bounded = self.search.gpu_hours is not None or self.search.seconds is not None
        count = min(left, room - len(self.running)) if self.sampler.learns or bounded else left
        found = [create for _ in range(count) if not self.exhausted and (create := self._sample()) is not None]
        if found or self.running or (left > 0 and not self.exhausted):
            return found
        replicas = wanted_replicas(self.found_points, self.scores, self.seeds, self.search)
        return [Create(self._trial(self.found_points[name].values, seed)) for name, seed in replicas]

    @property
    def is_spent(self) -> bool:
        """Whether no further trial begins: `gpu_hours` or `wall_time` is reached."""
        hours, seconds = self.search.gpu_hours, self.search.seconds
        if hours is not None and sum(self.hours.values()) >= hours:
            return True
        return seconds is not None and self.notebook.seconds(self.id) >= seconds

    def _sample(self) -> Create | None:
        """A point that can be run; None if there seems to be no other."""
        for _ in range(DRAWS):
            values = self.sampler.next()
            if values is None:
                break
            if self._is_repeated(key_of(values)):
                self.sampler.refuse()
                continue
            trial = self._possible(values)
            if trial is not None:
                self.asked += 1
                return Create(trial)
            self.sampler.refuse()
        self.exhausted = True
        return None

    def _is_repeated(self, key: str) -> bool:
        """Whether a sampled point is one that the search has from the same sequence; a population has each once."""
        if self.lineage is not None:
            self._repeats[key] += 1
            return self._repeats[key] > 1
        if self.sampler.learns or not self._repeats[key]:
            return False
        self._repeats[key] -= 1
        return True

    def _possible(self, values: Values, changes: Sequence[Change] = ()) -> TrialSpec | None:
        """The trial of a point, if it can be run."""
        try:
            trial = self._trial(values, self.seeds[0], changes)
        except ValidationError:  # values that exclude each other
            return None
        parts = [trial.after(epoch) for epoch in (0, *(change.after_epoch for change in changes))]
        return trial if all(map(self.fits, parts)) else None

    def _trial(self, values: Values, seed: int, changes: Sequence[Change] = ()) -> TrialSpec:
        trial = resolve(self.spec, self.group, seed, dict(values), changes, holdout=True)
        pbt = self.search.pbt
        return trial if pbt is None else trial.model_copy(update={"keep_every": pbt.interval_epochs})

    def keep(self, *, now: bool) -> None:
        """Write the points."""
        if now or self.notebook.is_due:
            self.notebook.keep(self.id, [*self.points, *self._beyond])

    # -- what has happened --

    def created(self, trial_id: str, trial: TrialSpec) -> None:
        """A trial of the search has this id."""
        values: Values = {key: trial.axes[key] for key in self.space if key in trial.axes}
        if trial.seed != self.seeds[0]:
            name = next(name for name, point in self.found_points.items() if key_of(point.values) == key_of(values))
            self.running[trial_id] = name, trial
            return
        self.order.append(trial_id)
        if trial_id in self.found_points:  # the same point again
            if trial_id not in self.running:
                self.sampler.tell(self.found_points[trial_id])
            return
        point = self._before.get(trial_id, Point(search=self.id, trial_id=trial_id, values=values))
        if self.lineage is not None:
            point = self.lineage.joined(point, trial, self.search.main, self.notebook.store)
        # its scores are read from the store again: more of them may be asked for than were
        self.found_points[trial_id] = point.model_copy(update={"scores": {}, "seeds": 0, "stopped": False})
        self.running[trial_id] = trial_id, trial

    def found(self, trial_id: str, status: TrialStatus) -> None:
        """Take in what the store has."""
        if trial_id in self.running:
            self._end(trial_id, status)

    def on_event(self, trial_id: str, event: Event, status: TrialStatus) -> list[Action]:
        """Take in a score or an end; stop a trial that fell behind."""
        if trial_id not in self.running:
            return []
        name, _ = self.running[trial_id]
        if isinstance(event, EpochDone) and name == trial_id and self.search.main in event.logs:
            score = event.logs[self.search.main]
            self._update(name, curve={**self.found_points[name].curve, event.epoch: score})
            if self.stopping is not None and self.stopping.stops(trial_id, event.epoch, score):
                return [Stop(trial_id)]
            if self.lineage is not None:
                return self._compare(self.lineage, name, event.epoch)
        if isinstance(event, StatusChanged) and event.state.is_over:
            self._end(trial_id, status)
        return []

    def _compare(self, lineage: Lineage, name: str, epoch: int) -> list[Action]:
        """Once for each member and interval, which is written before anything follows from it."""
        end = lineage.due(self.found_points[name], epoch)
        if end is None or end >= self.template.trial.pretrain.epochs:
            return []
        self._update(name, compared=end)
        trial = lineage.successor(name, end)
        if trial is None:
            self.keep(now=True)
            return []
        return [Create(trial), Stop(name)]

    def _end(self, trial_id: str, status: TrialStatus) -> None:
        """What a trial scored on its way counts only if it was stopped there: one that failed has no score."""
        name, trial = self.running.pop(trial_id)
        self.hours[trial_id] = hours_of(status, self.devices)
        curve = self.found_points[name].curve
        if status.state is TrialState.STOPPED_EARLY:
            latest = {self.search.main: curve[max(curve)]} if curve else {}
            self._update(name, stopped=True, scores=latest)
        else:
            names = [*self.search.metric, *self.search.limits]
            scores = scores_of(trial, status, names, self.devices)
            self.scores.setdefault(name, {})[trial.seed] = None if status.state is TrialState.FAILED else scores
            self._average(name)
        for _ in range(self.order.count(name) if name == trial_id else 0):  # as often as it was sampled
            self.sampler.tell(self.found_points[name])

    def _average(self, name: str) -> None:
        """A point's score is the mean over its seeds; of one of which a seed failed there is none."""
        each = list(self.scores[name].values())
        scored = [scores for scores in each if scores is not None]
        if len(scored) < len(each):
            self._update(name, scores={}, seeds=0)
            return
        mean = {key: sum(scores[key] for scores in scored) / len(scored) for key in scored[0]}
        self._update(name, scores=mean, seeds=len(scored))

    def _update(self, name: str, **changes: object) -> None:
        self.found_points[name] = self.found_points[name].model_copy(update=changes)

    @property
    def best_point(self) -> Point | None:
        """The best of the points; before the search runs, of those of earlier runs."""
        return best_of(self.points or self.known, self.search)

    @property
    def best(self) -> Values | None:
        """Values of the best point; none for a method without axes; None if no point has a score."""
        if not self.space:
            return {}
        best = self.best_point
        return None if best is None else best.values

    @property
    def best_changes(self) -> Sequence[Change]:
        """Of the best point's settings."""
        best = self.best_point
        return () if best is None else best.changes

    def end(self) -> None:
        """The search is over: nobody begins any more from checkpoints that members of a population kept."""
        for trial_id in self.found_points if self.lineage is not None else ():
            TrialStore(self.notebook.store, trial_id).drop_kept_checkpoints()


def sequence_key(group: Group) -> str:
    """Which sequence of random points is a row's."""
    return f"{group.index}-{group.entry.name}-{group.axes}"
