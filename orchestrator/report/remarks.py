"""What is said below the main table: what its marks mean, and what its numbers do not show."""

from collections.abc import Sequence

from .settings import Protocol, Setting, departure_remarks
from .statistics import LEAST_SEEDS
from .table import Cell, Column

Filled = tuple[Column, list[Cell]]
"""A column with a cell for each setting."""

INCOMPLETE = "▲"
BEST_EPOCH = "best epoch*"
SEEDS_REMARK = (
    "n: number of seeds. A number is their mean ± sample standard deviation, or the only value if n = 1; the report has 95 % "
    "intervals."
)
PARTIAL = "◐"
BOLD_REMARK = "Bold: the best of its column, baselines left out."
TESTED_REMARK = (
    "Whether it is better than others by more than chance is tested in “Comparison of methods” of the report."
)
ONE_SEED_REMARK = "No difference between rows is claimed from one seed."
FEW_SEEDS_REMARK = (
    f"No difference between rows is claimed: a test takes at least {LEAST_SEEDS} seeds that two rows share."
)
BASELINES_REMARK = "No difference between rows is claimed: baselines are excluded from tests."
PARTIAL_REMARK = (
    f"{PARTIAL} Some tensors of this row's backbone were not among its given weights and began at random; a row that was not "
    "trained since is partly random, and never bold."
)
FAILED, NOT_RUN = "failed", "not run"
"""In cells of trials that failed."""
MISSING_REMARK = "failed, not run: an evaluation without a number; “Trials without a result” of the report says why."
UNLABELLED_REMARK = "No labels found: evaluations that need them were skipped."
BEST_EPOCH_REMARK = (
    "* {} over the epochs, chosen on the very images it is scored on, as many published tables do: "
    "optimistically biased, and not to be compared with the other columns."
)
PUBLISHED_REMARK = (
    "In a column named after a source: the figure that it published for this data set, method, backbone, batch size and "
    "number of epochs (by its own recipe), and in brackets ours less theirs. ‡ No difference is given: theirs is the best "
    "epoch on the test set and ours is not, or the protocols differ. “Reproduction” in the report says more."
)


def remarks_of(
    settings: Sequence[Setting], protocols: Sequence[Protocol], filled: Sequence[Filled], *, tested: bool
) -> tuple[str, ...]:
    """What must be said below the table of these settings and columns; `tested`: of any column."""
    labels = {column.label for column, _ in filled}
    hardware = {setting.hardware() for setting in settings} - {""}
    remarks = [SEEDS_REMARK]
    said = [BOLD_REMARK] if any(cell.best for _, cells in filled for cell in cells) else []
    if len(settings) > 1 and protocols:
        said.append(TESTED_REMARK if tested else _untested(settings, protocols))
    remarks += [" ".join(said)] if said else []
    if any(setting.partial for setting in settings):
        remarks.append(PARTIAL_REMARK)
    if any(setting.finished < len(setting.trials) for setting in settings):
        remarks.append(f"{INCOMPLETE} Not every trial of this row has finished; the others are listed below the table.")
    if any(cell.text in (FAILED, NOT_RUN) for _, cells in filled for cell in cells):
        remarks.append(MISSING_REMARK)
    if not all(setting.first.labelled for setting in settings):
        remarks.append(UNLABELLED_REMARK)
    if BEST_EPOCH in labels:
        mains = dict.fromkeys(protocol.main for protocol in protocols if any(s.best(protocol) for s in settings))
        chosen = [f"{'largest' if metric.higher_is_better else 'smallest'} {metric.title}" for metric in mains]
        remarks.append(BEST_EPOCH_REMARK.format(" or ".join(chosen).capitalize()))
    if any(column.beside for column, _ in filled):
        remarks.append(PUBLISHED_REMARK)
    remarks += departure_remarks(settings)
    on = f" on {next(iter(hardware))}" if len(hardware) == 1 else ""
    remarks.append(
        f"Run time: mean of the pretraining{on}, evaluations not counted. Peak memory: of the busiest worker."
    )
    return tuple(remarks)


def _untested(settings: Sequence[Setting], protocols: Sequence[Protocol]) -> str:
    """Why no two rows are tested."""
    seeds = [[len(setting.records(protocol)) for setting in settings if not setting.baseline] for protocol in protocols]
    pairs = [found for counts in seeds if len(found := [count for count in counts if count]) > 1]
    if not pairs and any(setting.baseline for setting in settings):
        return BASELINES_REMARK
    return FEW_SEEDS_REMARK if any(count > 1 for found in pairs for count in found) else ONE_SEED_REMARK
