"""Table of what was measured between the epochs: whether a setting learns, and which of its epochs was best."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ...evaluation.registry import EVALUATIONS, MONITOR
from ..store.learning import Learning, learning_of
from ..store.records import TrialResult
from .formats import NONE, accuracy
from .main_table import DataTable
from .ranking import left_out
from .settings import Setting
from .statistics import spread
from .table import Table, plain_table

TITLE = "Training, epoch by epoch"
BEST_REMARK = (
    "* Chosen by {} between the epochs, on the very images it is scored on: optimistically biased, and not to be compared with "
    "other columns."
)
REMARK = (
    "Rank: RankMe of the backbone's features of training images, without labels. Weights: the epoch whose weights are kept and "
    "evaluated, which is always the last; those of the best epoch are not kept."
)
MOST_LISTED = 3
"""Epochs in a cell."""
SCORE = EVALUATIONS[MONITOR].main


def learning_table(data: DataTable) -> Table:
    """A row for each setting whose trials have recorded an epoch; several seeds as mean ± standard deviation."""
    score = f"{EVALUATIONS[MONITOR].title} {SCORE.title}"
    rows = [
        [label, *_cells(setting, found)]
        for setting, label in data.detailed.values()
        if (found := [(trial, learning_of(trial.history)) for trial in setting.trials if trial.history])
    ]
    best = ["best epoch*", f"{score} there*", "rank there*"]
    last = ["last epoch", score, "rank"]
    table = plain_table(TITLE, ["setting", "state", *best, *last, "weights"], rows, "|".join([*best, *last]))
    scored = any(row[2] != NONE for row in rows)
    return replace(
        table,
        remarks=(
            *([BEST_REMARK.format(score)] if scored else []),
            REMARK,
            *left_out(data.settings, "`ssl-sweep status`"),
        ),
    )


def _cells(setting: Setting, found: Sequence[tuple[TrialResult, Learning]]) -> list[str]:
    words = Counter(learning.word(trial.epochs, trial.chance) or "not measured" for trial, learning in found)
    several = len(words) > 1
    best = [learning.best for _, learning in found if learning.best]
    last = [learning.last for _, learning in found if learning.last]
    ends = [_end(learning) for _, learning in found]
    kept = [learning.epoch for trial, learning in found if trial.pretrain]
    seeds = len(setting.trials)
    return [
        "; ".join(f"{word} ({count})" if several else word for word, count in words.items()),
        _epochs([look.epoch for look in best]),
        _mean([look.score for look in best], seeds, SCORE.digits),
        _mean([look.rank for look in best], seeds),
        _epochs([epoch for epoch, _ in ends]),
        _mean([look.score for look in last], seeds, SCORE.digits),
        _mean([rank for _, rank in ends], seeds),
        f"of epoch {_epochs(kept)}" if kept else "none yet",
    ]


def _end(learning: Learning) -> tuple[int, float | None]:
    """The last epoch that was scored, or of what is not scored the last one; and its rank."""
    if learning.last is None:
        return learning.epoch, learning.rank
    return learning.last.epoch, learning.last.rank


def _mean(values: Sequence[float | None], seeds: int, digits: int = 1) -> str:
    return accuracy(spread([value for value in values if value is not None]), seeds, digits)


def _epochs(epochs: Sequence[int]) -> str:
    """``200``; of several seeds that differ ``180, 195, 200``."""
    listed = list(map(str, dict.fromkeys(epochs)))
    return ", ".join(listed[:MOST_LISTED] + (["…"] if len(listed) > MOST_LISTED else [])) or NONE
