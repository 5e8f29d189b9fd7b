"""The search of one row of the table: settings sampled for its method, scored on held-out training images.

A point belongs to the search whose id it carries: after an edit of axes, metric, data or training, earlier points decide nothing.
They and their scores are in the store, so a resumed search samples only the rest, and knows what it saw.
"""

from collections.abc import Callable, Sequence

from pydantic import ValidationError

from ..spec.expand import Group, resolve
from ..spec.identity import evaluation_id
from ..spec.models import SearchConfig, SweepSpec, TrialSpec
from ..store.events import EpochDone, EvaluationDone, Event, StatusChanged
from ..store.planned import PlannedTrial
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .base import Action, Create, Stop
from .early_stopping import SuccessiveHalving
from .points import Point, best_of, search_id
from .samplers import sampler_for
from .space import Values, domains

DRAWS = 1000
"""Points in a row that cannot be run, after which a search counts as exhausted."""


class GroupSearch:
    """Samples points, hears how their trials do, and stops those that fall behind."""

    def __init__(
        self,
        spec: SweepSpec,
        group: Group,
        template: PlannedTrial,
        known: Sequence[Point],
        fits: Callable[[TrialSpec], bool],
    ):
        """Args:
        spec: of the sweep.
        group: the row.
        template: the row's trial before anything is sampled.
        known: points of earlier runs of the sweep; only those of this search count.
        fits: whether a trial can be run on the sweep's data and workers; no other is sampled.
        """
        assert spec.search is not None
        self.spec, self.group, self.search, self.fits = spec, group, spec.search, fits
        self.space = domains(self.search, group)
        self.id = search_id(self.search, self.space, template)
        self.known = [point for point in known if point.search == self.id]
        self.found_points: dict[str, Point] = {}
        """By trial."""
        self.order: list[str] = []
        """Trials in the order of their sampling; one that was sampled twice is in it twice."""
        self.sampler = sampler_for(self.search, self.space, sequence_key(group), seen=len(self.known))
        self.asked = 0
        """Points that were sampled, before their trials have names."""
        self.running: dict[str, TrialSpec] = {}
        self.latest: dict[str, float] = {}
        """Scores of running trials, from kNN while pretraining."""
        self.stopping: SuccessiveHalving | None = None
        if self.search.early_stopping is not None:
            epochs = template.trial.pretrain.epochs
            self.stopping = SuccessiveHalving(self.search.early_stopping, epochs)

    @property
    def points(self) -> list[Point]:
        """In the order of their sampling."""
        return [self.found_points[trial_id] for trial_id in self.order]

    def offer(self, values: Values, score: float) -> None:
        """A result of an earlier search that fits this one: the sampler may learn from it; it is no point of the search."""
        self.sampler.tell(values, score)

    def earlier(self) -> list[Create]:
        """The known points, for a sampler that learns; any other repeats them by itself."""
        known = self.known if self.sampler.learns else []
        self.asked += len(known)
        return [self._trial(point.values) for point in known]

    def created(self, trial_id: str, trial: TrialSpec) -> None:
        """A trial of the search has this id."""
        self.order.append(trial_id)
        if trial_id in self.found_points:
            return  # the same point again
        before = next((point for point in self.known if point.trial_id == trial_id), None)
        values: Values = {key: trial.axes[key] for key in self.space}
        self.found_points[trial_id] = before or Point(search=self.id, trial_id=trial_id, values=values, value=None)
        self.running[trial_id] = trial

    def found(self, trial_id: str, status: TrialStatus) -> None:
        """Take in the score that the store has."""
        trial = self.running.get(trial_id)
        if trial is None:
            return
        score = stored_score(trial, status, self.search)
        if score is not None:
            self._update(trial_id, value=score)
        self._end(trial_id, status.state)

    def more(self, room: int) -> list[Create]:
        """All that are left, or as many as run at once if the sampler learns from those before."""
        left = self.search.trials - self.asked if self.space else 0
        count = min(left, room - len(self.running)) if self.sampler.learns else left
        sampled = [self._sample() for _ in range(count)]
        return [create for create in sampled if create is not None]

    def _sample(self) -> Create | None:
        """A point that can be run; None if there seems to be no other."""
        for _ in range(DRAWS):
            try:
                create = self._trial(self.sampler.next())
            except ValidationError:  # values that exclude each other
                continue
            if self.fits(create.trial):
                self.asked += 1
                return create
        self.asked = self.search.trials
        return None

    def _trial(self, values: Values) -> Create:
        return Create(resolve(self.spec, self.group, self.spec.seeds[0], dict(values), holdout=True))

    def on_event(self, trial_id: str, event: Event) -> list[Action]:
        """Take in a score or an end; stop a trial that fell behind."""
        if trial_id not in self.running:
            return []
        score = score_in(event, self.search)
        if score is not None and isinstance(event, EpochDone):
            self.latest[trial_id] = score
            if self.stopping is not None and self.stopping.stops(trial_id, event.epoch, score):
                return [Stop(trial_id)]
        elif score is not None:
            self._update(trial_id, value=score)
        if isinstance(event, StatusChanged) and event.state.is_over:
            self._end(trial_id, event.state)
        return []

    def _end(self, trial_id: str, state: TrialState) -> None:
        """What a trial scored on its way counts only if it was stopped there: one that failed has no score."""
        del self.running[trial_id]
        latest = self.latest.pop(trial_id, None)
        if state is TrialState.STOPPED_EARLY:
            self._update(trial_id, stopped=True, value=latest)
        elif state is TrialState.FAILED:
            self._update(trial_id, value=None)
        point = self.found_points[trial_id]
        self.sampler.tell(point.values, point.value)

    def _update(self, trial_id: str, **changes: float | bool | None) -> None:
        self.found_points[trial_id] = self.found_points[trial_id].model_copy(update=changes)

    @property
    def best(self) -> Values | None:
        """Values of the best point; none for a method without axes; None if no point has a score.

        Before the search runs, the points of earlier runs are compared.
        """
        if not self.space:
            return {}
        best = best_of(self.points or self.known)
        return None if best is None else best.values


def sequence_key(group: Group) -> str:
    """Which sequence of random points is a row's."""
    return f"{group.index}-{group.entry.name}-{group.axes}"


def score_in(event: Event, search: SearchConfig) -> float | None:
    """The search's metric, if this event has it: from the evaluation, or from kNN while pretraining."""
    name, _, measure = search.metric.partition("/")
    if isinstance(event, EvaluationDone) and event.stage == name:
        return event.metrics[measure]
    return event.logs.get(search.metric) if isinstance(event, EpochDone) else None


def stored_score(trial: TrialSpec, status: TrialStatus, search: SearchConfig) -> float | None:
    """The search's metric of a trial that is complete."""
    name, _, measure = search.metric.partition("/")
    config = next(item for item in trial.evaluate if item.name == name)
    record = status.evaluations.get(evaluation_id(config))
    return None if record is None else record.metrics[measure]
