"""What the store tells without running anything: the plan of a sweep, its status, its results."""

from pathlib import Path
from typing import Any

from ..spec.errors import UserError
from ..spec.expand import expand, groups
from ..spec.load import load_spec
from ..spec.models import SweepSpec, TrialSpec, data_root
from ..store.files import Store
from ..store.records import SweepResult, TrialList
from .plan import Planned, plan_trials, prepared_datasets
from .results import collect


def plan_rows(path: Path) -> list[dict[str, Any]]:
    """The trials of the sweep in `path`: identity, what is missing, what each takes."""
    spec, document = load_spec(path)
    trials = expand(spec, document)
    store = Store(spec.storage)
    datasets = prepared_datasets(trials, data_root())
    rows: list[dict[str, Any]] = []
    for trial in trials:
        planned = plan_trials([trial], store, datasets)[0] if trial.dataset in datasets else None
        rows.append(_plan_row(trial, planned, spec))
    if spec.search is not None:
        for group in groups(spec):
            name = f"search of {group.entry.name}"
            rows.append({"trial": name, "missing": [f"{spec.search.trials} sampled trials"], "needs": needs(spec)})
    return rows


def _plan_row(trial: TrialSpec, planned: Planned | None, spec: SweepSpec) -> dict[str, Any]:
    everything = ["pretrain", *(config.name for config in trial.evaluate)]
    prepare = f"prepare {trial.dataset.title}"
    return {
        "trial": planned.trial_id if planned else f"{trial.method.name} seed {trial.seed}",
        "missing": planned.missing() if planned else [prepare, *everything],
        "needs": needs(spec),
    }


def needs(spec: SweepSpec) -> str:
    """What one trial takes, in words."""
    resources = spec.resources
    gpus = resources.gpus_per_worker
    gpu = "a GPU where there is one" if gpus is None else f"{gpus:g} GPUs"
    return f"{resources.workers} × ({resources.cpus_per_worker} CPUs, {gpu})"


def status_rows(path: Path) -> list[dict[str, Any]]:
    """How each trial of the sweep in `path` stands; runs that a killed driver left running in MLflow are ended."""
    from .driver import mend_after_kill

    rows: list[dict[str, Any]] = []
    store, spec, planned = planned_trials(path)
    mend_after_kill(spec, store, planned)
    for item in planned:
        history = item.folder.history()
        failure = item.folder.failure()
        rows.append(
            {
                "trial": item.trial_id,
                "status": item.status(),
                "epoch": history[-1].epoch if history else 0,
                "epochs": item.trial.pretrain.epochs,
                "missing": item.missing(),
                "reason": failure.reason if failure else None,
            }
        )
    return rows


def sweep_rows(storage: str) -> list[dict[str, Any]]:
    """The sweeps of a store."""
    store = Store(storage)
    rows: list[dict[str, Any]] = []
    for name in store.names("sweeps"):
        listed = store.read_record(f"sweeps/{name}/trials.json", TrialList)
        status = "running" if store.is_locked(f"sweeps/{name}/lock") else "idle"
        rows.append({"sweep": name, "trials": len(listed.trials) if listed else 0, "status": status})
    return rows


def stored_result(path: Path) -> tuple[Store, SweepSpec, SweepResult]:
    """The results of the sweep in `path`, as far as it has come."""
    store, spec, planned = planned_trials(path)
    return store, spec, collect(spec, planned, f"ssl-sweep report {path}")


def planned_trials(path: Path) -> tuple[Store, SweepSpec, list[Planned]]:
    """The sweep's trials, those of a search included.

    Raises:
        UserError: its data set has never been prepared, so nothing can have run.
    """
    spec, document = load_spec(path)
    store = Store(spec.storage)
    trials = expand(spec, document)
    datasets = prepared_datasets(trials, data_root())
    listed = store.read_record(f"sweeps/{spec.name}/trials.json", TrialList)
    if spec.search is not None and listed is not None:
        trials = [TrialSpec.model_validate(item.trial) for item in listed.trials]
        datasets |= prepared_datasets(trials, data_root())
    absent = {trial.dataset.title for trial in trials if trial.dataset not in datasets}
    if absent:
        raise UserError(
            f"data set '{absent.pop()}' is not prepared here, so nothing has run; start with: ssl-sweep submit {path}"
        )
    return store, spec, plan_trials(trials, store, datasets)


def print_plan(rows: list[dict[str, Any]]) -> None:
    done = sum(not row["missing"] for row in rows)
    _print_table(
        ("trial", "to do", "takes"),
        [(row["trial"], ", ".join(row["missing"]) or "done", row["needs"]) for row in rows],
        f"{len(rows)} trials, {done} done",
    )


def print_status(rows: list[dict[str, Any]]) -> None:
    _print_table(
        ("trial", "status", "epoch", "to do"),
        [
            (
                row["trial"],
                row["status"] + (f": {row['reason']}" if row["status"] == "failed" else ""),
                f"{row['epoch']}/{row['epochs']}",
                ", ".join(row["missing"]),
            )
            for row in rows
        ],
        f"{sum(row['status'] == 'finished' for row in rows)} of {len(rows)} trials finished",
    )


def print_sweeps(rows: list[dict[str, Any]], storage: str) -> None:
    _print_table(
        ("sweep", "trials", "status"),
        [(row["sweep"], str(row["trials"]), row["status"]) for row in rows],
        f"{len(rows)} sweeps in {storage}",
    )


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]], caption: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
