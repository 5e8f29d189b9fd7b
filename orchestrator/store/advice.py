"""What to change in a sweep file whose trials do not learn, in one sentence: by the rules of `Learning`, no others."""

from typing import NamedTuple

from ...evaluation.registry import EVALUATIONS, MONITOR
from ..spec.models import TrialSpec
from .events import EvaluationDone
from .learning import Learning, Verdict
from .trial_status import TrialStatus

GRACE_EPOCHS = 10
GRACE_SHARE = 0.5
"""A collapse may pass by itself before so many epochs, or before this share of a shorter training: the rank often falls first."""


class Advice(NamedTuple):
    """A sentence, and what it is about, which several trials may share."""

    kind: Verdict
    text: str


def schedule_advice(trial: TrialSpec) -> str | None:
    """Of a warm-up that takes the whole training."""
    pretrain = trial.pretrain
    warmup = pretrain.schedule.warmup_epochs
    if not trial.method.trains or warmup < pretrain.epochs:
        return None
    return (
        f"the warm-up takes {warmup:g} epochs and the training {pretrain.epochs}, so the learning rate only rises: lower"
        f" `pretrain.schedule.warmup_epochs` to about {max(1, pretrain.epochs // 10)}, or raise `pretrain.epochs`"
    )


def learning_advice(trial: TrialSpec, status: TrialStatus) -> Advice | None:
    """Of a pretraining that has collapsed, diverges or is at chance level, as far as its epochs tell by now."""
    learning = status.learning
    if learning is None or not trial.method.trains:
        return None
    verdict, epochs = learning.verdict(status.chance), trial.pretrain.epochs
    match verdict:
        case Verdict.COLLAPSED if learning.epoch >= min(GRACE_EPOCHS, GRACE_SHARE * epochs):
            return Advice(verdict, f"its features have collapsed ({_measured(learning)}): {_calmer(trial)}")
        case Verdict.DIVERGING:
            rise = f"its loss rose from {learning.first_loss:.3g} to {learning.loss:.3g}"
            return Advice(verdict, f"{rise}: {_calmer(trial)}")
        case Verdict.CHANCE:
            assert learning.best is not None
            score = f"{EVALUATIONS[MONITOR].title} {EVALUATIONS[MONITOR].main.quantity(learning.best.score)}"
            return Advice(verdict, f"{score} is what guessing gives, after {learning.epoch} epochs: {_more(trial)}")
        case _:
            return None


def score_advice(trial: TrialSpec, status: TrialStatus, event: EvaluationDone) -> Advice | None:
    """Of an evaluation of the trial's own images whose accuracy is what guessing gives."""
    top1 = event.metrics.get("top1")
    own = all(config.dataset is None for config in trial.evaluate if config.known_as == event.stage)
    if top1 is None or status.chance is None or top1 > status.chance or not own:
        return None
    what = f"{event.stage} top-1 {EVALUATIONS[event.name].main.quantity(top1)} is what guessing gives"
    return Advice(Verdict.CHANCE, f"{what}: {_more(trial)}") if trial.method.trains else None


def advice(trial: TrialSpec, status: TrialStatus) -> str:
    """All that is known of a trial by now, as sentences; empty if it needs none."""
    learning = learning_advice(trial, status)
    found = [schedule_advice(trial), None if learning is None else learning.text]
    return "; ".join(text for text in found if text)


def _measured(learning: Learning) -> str:
    rank = [] if learning.rank is None else [f"rank {learning.rank:.3g}"]
    return ", ".join([*rank, *([] if learning.std is None else [f"spread {learning.std:.2g}"])])


def _calmer(trial: TrialSpec) -> str:
    pretrain = trial.pretrain
    return (
        f"lower `pretrain.optimizer.lr` (now {pretrain.optimizer.lr:g}) or lengthen `pretrain.schedule.warmup_epochs` (now"
        f" {pretrain.schedule.warmup_epochs:g}), and see that the views of {trial.method.name} keep what tells images apart"
    )


def _more(trial: TrialSpec) -> str:
    pretrain = trial.pretrain
    return (
        f"raise `pretrain.epochs` (now {pretrain.epochs}), try another `pretrain.optimizer.lr` (now {pretrain.optimizer.lr:g}),"
        " and check that the labels are right"
    )
