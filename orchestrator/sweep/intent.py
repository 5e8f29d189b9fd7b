"""What a submission is going to do, in one line, before it does it."""

from collections.abc import Iterable
from typing import NamedTuple

from ...methods.quantities import plural
from ..store.planned import PlannedTrial
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus


class _Kind(NamedTuple):
    """What becomes of some trials: the words for one of them, and for several."""

    one: str
    several: str


DONE = _Kind("done", "done")
ELSEWHERE = _Kind("is computed by another sweep", "are computed by other sweeps")
RESUMES = _Kind("resumes", "resume")
FAILED = _Kind("failed before and is retried", "failed before and are retried")
EVALUATED = _Kind("lacks evaluations", "lack evaluations")
NEW = _Kind("new", "new")
ORDER = (DONE, ELSEWHERE, RESUMES, FAILED, EVALUATED, NEW)


def intent(trials: Iterable[tuple[PlannedTrial, TrialStatus]], left: int = 0) -> str:
    """``6 trials: 3 done, 1 resumes at epoch 15, 1 failed before and is retried, 1 new``; `left` are not to run now."""
    found: dict[_Kind, list[TrialStatus]] = {}
    for item, status in trials:
        found.setdefault(_kind(item, status), []).append(status)
    count = left + sum(map(len, found.values()))
    trials_are = plural(count, "trial")
    rest = f"{left:,} {'is left as it is' if left == 1 else 'are left as they are'}" if left else ""
    if found.keys() <= {DONE}:
        return f"{trials_are}: nothing is left to run" if not left else f"{trials_are}: nothing to run, {rest}"
    words = [_words(kind, found[kind]) for kind in ORDER if kind in found]
    return f"{trials_are}: " + ", ".join([*words, rest] if left else words)


def search_intent(template: PlannedTrial, extent: str, known: int) -> str:
    """``search of SimCLR: 16 sampled points (3 are known)``; `template` is its row's trial before anything is sampled."""
    axes = "".join(f" {key.rpartition('.')[2]}={value}" for key, value in template.trial.axes.items())
    knows = f" ({known:,} {'is' if known == 1 else 'are'} known)" if known else ""
    return f"search of {template.trial.method.title}{axes}: {extent}{knows}"


def _kind(item: PlannedTrial, status: TrialStatus) -> _Kind:
    if not item.missing(status):
        return DONE
    if status.state is TrialState.RUNNING:
        return ELSEWHERE
    if status.state is TrialState.FAILED:
        return FAILED
    if status.pretrain is not None and status.state is not TrialState.INTERRUPTED:
        return EVALUATED
    return RESUMES if status.attempts else NEW


def _words(kind: _Kind, statuses: list[TrialStatus]) -> str:
    if len(statuses) > 1:
        return f"{len(statuses):,} {kind.several}"
    progress = statuses[0].progress
    where = f" at epoch {progress.epoch + 1}" if kind is RESUMES and progress.epoch else ""
    return f"1 {kind.one}{where}"
