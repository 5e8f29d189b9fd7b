"""Whether a pretraining learns: a fold over its epochs, and the word that `status` and the report have for it."""

import math
from collections.abc import Iterable
from enum import StrEnum
from functools import reduce

from ...evaluation.registry import EVALUATIONS, MONITOR
from ...methods.config import CollapseConfig
from .records import EpochRecord, Record

EXPLODED = 10.0
"""A loss of so many times that of the first epoch, and of at least so much, counts as diverging."""
LEAST_SCORES = 2
"""Fewer say nothing of the direction."""
MARGIN = 0.5
"""Points by which a score must rise to count as better."""
FLAT_LOOKS = 3
FLAT_SHARE = 0.1
"""Scores, and share of the training's epochs, without a better one, after which it counts as flat."""
FALLEN = 0.9
"""Share of the best score below which one counts as fallen."""
FALLEN_LOOKS = 2


class Verdict(StrEnum):
    """What can be wrong with a pretraining."""

    DIVERGING = "diverging"
    COLLAPSED = "collapsed"
    CHANCE = "chance level"


class Look(Record):
    """An epoch after which the backbone was scored."""

    epoch: int
    score: float
    """The main metric of the evaluation that monitors."""
    rank: float | None = None
    """RankMe of the features, if the epoch has it."""


class Learning(Record):
    """What the epochs so far tell; empty before the first."""

    epoch: int = 0
    """The last one that was taken in."""
    first_loss: float | None = None
    loss: float | None = None
    rank: float | None = None
    std: float | None = None
    """Rank and spread of the features, as last measured."""
    scores: int = 0
    best: Look | None = None
    """Of equal scores, the first."""
    last: Look | None = None
    better: Look | None = None
    """The last score that was better than the one before it in this place, by `MARGIN`."""
    flat_looks: int = 0
    """Scores since `better`."""
    fallen_looks: int = 0
    """How many of the latest scores in a row are fallen."""

    def apply(self, record: EpochRecord) -> "Learning":
        """With one more epoch; one that a resumed trial repeats changes nothing."""
        if record.epoch <= self.epoch:
            return self
        rank, std = record.logs.get("features/rank"), record.logs.get("features/std")
        changes: dict[str, object] = {
            "epoch": record.epoch,
            "first_loss": record.loss if self.first_loss is None else self.first_loss,
            "loss": record.loss,
            "rank": self.rank if rank is None else rank,
            "std": self.std if std is None else std,
        }
        score = record.logs.get(EVALUATIONS[MONITOR].main_key)
        if score is not None and math.isfinite(score):
            changes |= self._scored(Look(epoch=record.epoch, score=score, rank=rank))
        return self.model_copy(update=changes)

    def _scored(self, look: Look) -> dict[str, object]:
        best = look if self.best is None or look.score > self.best.score else self.best
        better = self.better is None or look.score > self.better.score + MARGIN
        return {
            "scores": self.scores + 1,
            "last": look,
            "best": best,
            "better": look if better else self.better,
            "flat_looks": 0 if better else self.flat_looks + 1,
            "fallen_looks": self.fallen_looks + 1 if look.score < FALLEN * best.score else 0,
        }

    def word(self, epochs: int, chance: float | None) -> str:
        """``learning``, ``flat since epoch 30`` …, by the rules of `docs/report.md`; empty before the first epoch.

        Args:
            epochs: of the training, in all.
            chance: the score up to which nothing is learnt, see `guessing_top1`; None if it is not known.
        """
        if self.loss is None or self.first_loss is None:
            return ""
        verdict = self.verdict(chance)
        rank = "" if self.rank is None else f"rank {self.rank:.3g}"
        if verdict is Verdict.DIVERGING:
            return verdict
        if verdict is Verdict.COLLAPSED:
            return f"{verdict} ({rank})"
        if self.best is None or self.last is None or self.better is None:
            return "" if self.rank is None else f"not collapsed ({rank})"
        if self.scores < LEAST_SCORES:
            return "too early"
        if verdict is Verdict.CHANCE:
            return verdict
        if self.fallen_looks >= FALLEN_LOOKS:
            return f"falling since epoch {self.best.epoch}"
        if self.flat_looks >= FLAT_LOOKS and self.last.epoch - self.better.epoch >= FLAT_SHARE * epochs:
            return f"flat since epoch {self.better.epoch}"
        return "learning"

    def verdict(self, chance: float | None) -> "Verdict | None":
        """What is wrong with it, if anything is; `chance` as in `word`."""
        if self.loss is None or self.first_loss is None:
            return None
        if self.loss > EXPLODED * max(1.0, abs(self.first_loss)):
            return Verdict.DIVERGING
        if self._has_collapsed:
            return Verdict.COLLAPSED
        if self.best is None or self.scores < LEAST_SCORES or chance is None or self.best.score > chance:
            return None
        return Verdict.CHANCE

    @property
    def _has_collapsed(self) -> bool:
        limits = CollapseConfig()
        low_rank = self.rank is not None and not self.rank >= limits.min_rank  # also if it is not a number
        return low_rank or (self.std is not None and not self.std >= limits.min_std)


def learning_of(history: Iterable[EpochRecord]) -> Learning:
    """Of all epochs of a training, in order."""
    return reduce(Learning.apply, history, Learning())
