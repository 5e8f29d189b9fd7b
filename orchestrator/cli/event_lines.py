"""What happens to a trial, in a line each: for logs, pipes and terminals that draw no table."""

from ...evaluation.registry import EVALUATIONS, MONITOR
from ...methods.quantities import duration
from ..spec.identity import evaluation_id
from ..store.events import AttemptLost, EpochDone, EvaluationDone, EvaluationFailed, Event, StatusChanged
from ..store.planned import StoredTrial
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from .trial_table import scores


def urgent_line(event: Event, status: TrialStatus) -> str | None:
    """Of what a user must not miss, table or not."""
    match event:
        case AttemptLost():
            return f"restart {len(status.restarts)}: {event.reason}; it goes on from its last checkpoint"
        case EvaluationFailed():
            return f"{event.stage} failed: {event.reason}; the other evaluations still run"
        case StatusChanged() if event.state is TrialState.FAILED:
            return f"failed: {event.reason}" if event.reason else "failed"
        case _:
            return None


def line_of(item: StoredTrial, event: Event, status: TrialStatus) -> str | None:
    """Of everything else that a user waits for."""
    match event:
        case StatusChanged() if event.state is TrialState.FINISHED:
            told = [f"{title} {score}" for title, score in scores(item, status).items() if score]
            return f"finished: {', '.join(told)}" if told else "finished"
        case StatusChanged() if event.state not in (TrialState.WAITING, TrialState.FAILED):
            return event.state.words + (f": {event.reason}" if event.reason else "")
        case EpochDone():
            monitor = EVALUATIONS[MONITOR]
            score = event.logs.get(monitor.main_key)
            measured = "" if score is None else f", {monitor.title} {monitor.main.quantity(score)}"
            left = status.progress.seconds_left
            rest = f", {duration(left)} left" if left else ""
            rate = f"{event.images_per_second:,.0f} images/s"
            return f"epoch {event.epoch}/{event.epochs}, loss {event.loss:.4f}{measured}, {rate}{rest}"
        case EvaluationDone():
            return f"{event.stage} {EVALUATIONS[event.name].text(event.metrics)}"
        case _:
            return None


def difference(item: StoredTrial, before: TrialStatus, after: TrialStatus) -> str | None:
    """Of a trial that was looked at twice."""
    words = [f"restart: {restart.reason}" for restart in after.restarts[len(before.restarts) :]]
    if after.state is not before.state:
        words.append(after.state.words + (f": {after.reason}" if after.reason else ""))
    done, progress = before.progress, after.progress
    if (progress.stage, progress.epoch) != (done.stage, done.epoch) and after.state is TrialState.RUNNING:
        of = f" epoch {progress.epoch}/{progress.epochs}" if progress.epoch else ""
        loss = "" if not of or progress.loss is None else f", loss {progress.loss:.4f}"
        words.append(f"{progress.stage}{of}{loss}")
    names = {evaluation_id(config): config.known_as for config in item.trial.evaluate}
    for name in item.evaluation_ids:
        record = None if name in before.evaluations else after.evaluations.get(name)
        if record is not None:
            words.append(f"{names[name]} {EVALUATIONS[record.name].text(record.metrics)}")
    return ", ".join(words) or None
