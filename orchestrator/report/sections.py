"""The tables beside the main one: unfinished trials, restarts, cost, environment."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ...evaluation.registry import EVALUATIONS
from ...methods.quantities import duration, integer, noun_of, plural
from ..store.records import Cost, SweepResult, TrialResult
from ..store.trial_state import TrialState
from .formats import NONE, one_line
from .table import Cell, Table, plain_table

LogLink = Callable[[TrialResult], str | None]
"""Where a reader of the report finds a trial's log: a URL, a path relative to the report, or nothing."""

MOST_LISTED = 100
"""Rows of a table of trials."""
NO_REASON = {
    TrialState.FAILED: "no reason was recorded",
    TrialState.RUNNING: "not finished when this was written",
    TrialState.INTERRUPTED: "resumes with the next submit",
    TrialState.STOPPED_EARLY: "the search had seen enough",
    TrialState.WAITING: "not started",
}
"""Of the states without a full result, those that need attention first."""


def unfinished_table(result: SweepResult, log_link: LogLink | None) -> Table:
    """Every trial without a full result, why, and where its log is; the failed ones first."""
    order = list(NO_REASON)
    trials = sorted(
        (trial for trial in result.trials if trial.status is not TrialState.FINISHED),
        key=lambda t: (order.index(t.status), t.trial_id),
    )
    failed = TrialState.FAILED.words
    rows: list[list[str | Cell]] = [
        [failed, row.label, NONE, row.reason or NONE, NONE, NONE] for row in result.undecided
    ]
    for trial in trials:
        status = f"{trial.status.words} (search)" if trial.search else trial.status.words
        reason = one_line(trial.reason) if trial.reason else NO_REASON[trial.status]
        skipped = [one.known_as for one in trial.missing if one.reason is None]
        if trial.pretrain is not None and skipped:
            reason += f"; not run: {', '.join(skipped)}"
        elif trial.pretrain is None and trial.history:
            reason += f" (after epoch {trial.history[-1].epoch} of {trial.epochs})"
        href = log_link(trial) if log_link else None
        log = Cell(trial.log or href or NONE, href=href, code=True)
        rows.append([status, trial.title, str(trial.seed), reason, Cell(trial.trial_id, code=True), log])
    labels = ["status", "method", "seed", "reason", "trial", "log"]
    table = plain_table("Trials without a result", labels, rows[:MOST_LISTED], "seed")
    return _with_count(table, len(rows))


def restarts_table(result: SweepResult) -> Table:
    """Attempts that a fault ended and that were followed by others, by kind of fault for each trial."""
    rows: list[list[str | Cell]] = []
    for trial in result.trials:
        for fault, count in Counter(restart.fault for restart in trial.restarts).items():
            last = next(restart for restart in reversed(trial.restarts) if restart.fault is fault)
            told = datetime.fromtimestamp(last.time, UTC).isoformat(" ", "minutes").removesuffix("+00:00")
            seed, reason = str(trial.seed), one_line(last.reason)
            rows.append([trial.title, seed, fault.value, integer(count), reason, told, Cell(trial.trial_id, code=True)])
    labels = ["method", "seed", "fault", "times", "the last one's reason", "at (UTC)", "trial"]
    return _with_count(plain_table("Restarts", labels, rows[:MOST_LISTED], "seed|times"), len(rows))


def _with_count(table: Table, rows: int) -> Table:
    """Of a table with the first of so many rows, a remark on the others."""
    left = rows - len(table.rows)
    said = f"{integer(left)} more {noun_of(left, 'row')}; `ssl-sweep status` lists every trial."
    return replace(table, remarks=(said,)) if left else table


def cost_table(result: SweepResult) -> Table:
    """What each stage took over all trials, those of a search and those that failed later included."""
    stages: dict[str, list[Cost]] = {}
    for trial in result.trials:
        if trial.pretrain:
            stages.setdefault("pretraining", []).append(trial.pretrain.cost)
        for record in trial.evaluations:
            stages.setdefault(record.title, []).append(record.cost)
    titles = [evaluation.title for evaluation in EVALUATIONS.values()]
    names = dict.fromkeys(("pretraining", *titles, *stages))  # unknown evaluations last
    rows = [_cost_row(name, stages[name]) for name in names if name in stages]
    if len(rows) > 1:
        rows.append(_cost_row("all", [cost for costs in stages.values() for cost in costs]))
    labels = ["stage", "runs", "time, all runs", "mean a run", "worker time", "on"]
    return plain_table("Cost", labels, rows, "runs|time, all runs|mean a run|worker time")


def _cost_row(name: str, costs: Sequence[Cost]) -> list[str | Cell]:
    total = sum(cost.seconds for cost in costs)
    workers = sum(cost.seconds * cost.workers for cost in costs)
    devices = ", ".join(sorted({"CPU" if cost.device == "cpu" else cost.device for cost in costs}))
    return [name, integer(len(costs)), duration(total), duration(total / len(costs)), duration(workers), devices]


def datasets_table(result: SweepResult) -> Table:
    """The images: where they are from, and what they are used for."""
    rows: list[list[str | Cell]] = [
        [
            data.name,
            data.kind,
            Cell(data.path or NONE, code=True),
            integer(data.classes) if data.classes else NONE,
            integer(data.train_images),
            integer(data.test_images),
            ", ".join(data.uses),
            Cell(data.fingerprint, code=True),
        ]
        for data in result.datasets
    ]
    labels = ["name", "kind", "path", "classes", "training images", "test images", "used for", "fingerprint"]
    return plain_table("Data sets", labels, rows, "classes|training images|test images")


def environment_table(result: SweepResult) -> Table:
    """What the numbers were made with. Where trials differ, each value with how many trials have it."""
    values: dict[str, dict[str, int]] = {}
    for trial in result.trials:
        found = dict(trial.environment)
        if trial.weights is not None:
            found[f"SHA-256 of the weights, {trial.title}"] = trial.weights
        if trial.damaged_images:
            found[f"damaged images, left out of {trial.dataset}"] = integer(trial.damaged_images)
        for key, value in found.items():
            counts = values.setdefault(key, {})
            counts[value] = counts.get(value, 0) + 1
    rows: list[list[str | Cell]] = []
    for key, counts in sorted(values.items()):
        several = len(counts) > 1
        texts = [f"{value} ({plural(count, 'trial')})" if several else value for value, count in sorted(counts.items())]
        rows.append([key, Cell("; ".join(texts), code=True)])
    rows.append(["written", Cell(f"{result.created} by ssl-sweep {result.version}", code=True)])
    return plain_table("Environment", ["", ""], rows)
