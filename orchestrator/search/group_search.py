"""The search of one row of the table: settings sampled for its method, scored on held-out training images.

The points and their scores are in the store, so a resumed search samples only the rest, and knows what it saw.
"""

from ..spec.expand import Group, resolve
from ..spec.identity import evaluation_id
from ..spec.models import SearchConfig, SweepSpec, TrialSpec
from ..store.events import EpochDone, EvaluationDone, Event, StatusChanged
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .base import Action, Create, Stop
from .early_stopping import SuccessiveHalving
from .points import Point, best_of, group_key
from .samplers import sampler_for
from .space import Values, contains, domains


class GroupSearch:
    """Samples points, hears how their trials do, and stops those that fall behind."""

    def __init__(self, spec: SweepSpec, group: Group, known: list[Point]):
        """`known`: points of earlier runs of the sweep; those of other groups, or outside today's space, are left out."""
        assert spec.search is not None
        self.spec, self.group, self.search = spec, group, spec.search
        self.key = group_key(group)
        space = domains(self.search, group)
        self.has_axes = bool(space)
        self.known = [point for point in known if point.group == self.key and contains(space, point.values)]
        self.points: dict[str, Point] = {}
        self.sampler = sampler_for(self.search, space, self.key, seen=len(self.known))
        self.sampled = 0
        self.running: dict[str, TrialSpec] = {}
        self.stopping: SuccessiveHalving | None = None
        if self.search.early_stopping is not None:
            epochs = resolve(spec, group, spec.seeds[0]).pretrain.epochs
            self.stopping = SuccessiveHalving(self.search.early_stopping, epochs)

    def earlier(self) -> list[Create]:
        """The known points, for a sampler that learns; any other repeats them by itself."""
        return [self._trial(point.values) for point in self.known] if self.sampler.learns else []

    def created(self, trial_id: str, trial: TrialSpec) -> None:
        """A trial of the search has this id."""
        if trial_id in self.points:
            return  # the same point again
        before = next((point for point in self.known if point.trial_id == trial_id), None)
        values: Values = {key: trial.axes[key] for key in self.search.space if key in trial.axes}
        self.points[trial_id] = before or Point(group=self.key, trial_id=trial_id, values=values, value=None)
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
        left = self.search.trials - self.sampled if self.has_axes else 0
        count = min(left, room - len(self.running)) if self.sampler.learns else left
        return [self._trial(self.sampler.next()) for _ in range(count)]

    def _trial(self, values: Values) -> Create:
        self.sampled += 1
        return Create(resolve(self.spec, self.group, self.spec.seeds[0], dict(values), holdout=True))

    def on_event(self, trial_id: str, event: Event) -> list[Action]:
        """Take in a score or an end; stop a trial that fell behind."""
        if trial_id not in self.running:
            return []
        score = score_in(event, self.search)
        if score is not None:
            self._update(trial_id, value=score)
            if isinstance(event, EpochDone) and self.stopping and self.stopping.stops(trial_id, event.epoch, score):
                return [Stop(trial_id)]
        if isinstance(event, StatusChanged) and event.state.is_over:
            self._end(trial_id, event.state)
        return []

    def _end(self, trial_id: str, state: TrialState) -> None:
        del self.running[trial_id]
        if state is TrialState.STOPPED_EARLY:
            self._update(trial_id, stopped=True)
        point = self.points[trial_id]
        self.sampler.tell(point.values, None if state is TrialState.FAILED else point.value)

    def _update(self, trial_id: str, **changes: float | bool) -> None:
        self.points[trial_id] = self.points[trial_id].model_copy(update=changes)

    @property
    def best(self) -> Values | None:
        """The best point; for a method without axes, nothing to set."""
        return best_of(list(self.points.values())) if self.has_axes else {}


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
