"""How a sweep ended, for people and for programs."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..spec.overrides import options_of
from ..store.trial_state import TrialState

if TYPE_CHECKING:
    from ..store.records import TrialResult
    from ..sweep.submit import Outcome


def print_outcome(sweep: Path, overrides: Sequence[str], outcome: "Outcome") -> None:
    """The table of results, what failed and why, and where to look next."""
    from ..report import terminal_console, terminal_table

    terminal_console().print(terminal_table(outcome.result))
    lines = [f"report     {outcome.report}/report.html", f"MLflow     {_how_to_open(outcome.tracking)}"]
    if not outcome.tracked:
        lines.append("           (it missed something; the next submit catches up)")
    failed = [trial for trial in outcome.result.trials if trial.status is TrialState.FAILED]
    lines += [f"failed     {trial.trial_id}: {trial.reason}\n           log: {trial.log}" for trial in failed]
    lines += [f"failed     {row.label}: {row.reason}" for row in outcome.result.undecided]
    if outcome.interrupted:
        lines.append(how_to_resume(sweep, overrides))
    click.echo("\n".join(lines))


def how_to_resume(sweep: Path, overrides: Sequence[str]) -> str:
    """The last line of a sweep that was stopped."""
    command = shlex.join(["ssl-sweep", "submit", str(sweep), *options_of(overrides)])
    return f"stopped    everything is kept; resume with: {command}"


def _how_to_open(tracking: str) -> str:
    """MLflow: a server by its address, a database by the command that shows it."""
    if tracking.startswith(("http://", "https://")):
        return tracking
    return f"mlflow ui --backend-store-uri {shlex.quote(tracking)}"


def outcome_json(outcome: "Outcome") -> str:
    """One object, with each trial's scores."""
    result = outcome.result
    values = {
        "sweep": result.name,
        "exit_status": outcome.exit_status,
        "interrupted": outcome.interrupted,
        "report": f"{outcome.report}/report.html",
        "mlflow": outcome.tracking,
        "mlflow_is_complete": outcome.tracked,
        "trials": [_trial(trial) for trial in result.trials],
        "failed_searches": [{"search": row.label, "reason": row.reason} for row in result.undecided],
    }
    return json.dumps(values, indent=2)


def _trial(trial: "TrialResult") -> dict[str, object]:
    return {
        "trial": trial.trial_id,
        "method": trial.method,
        "seed": trial.seed,
        "axes": trial.axes,
        "status": trial.status.value,
        "reason": trial.reason,
        "log": trial.log,
        "scores": {record.known_as or record.name: record.metrics for record in trial.evaluations},
    }
