"""The command line: ``ssl-sweep``. Heavy imports (torch, Ray, MLflow) happen inside the commands that need them."""

import gc
import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..store.trial_state import TrialState
from .common import JSON, guarded, print_rows, show_warnings
from .data import datasets, prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..engine.protocol import Engine
    from ..spec.models import ResourcesConfig
    from ..store.files import Store
    from ..sweep.status import PlanRow, StatusRow, SweepRow
    from ..sweep.submit import Outcome
    from .live_table import LiveTable

STOPPED = 130
COLLECT = (50_000, 20, 20)
"""Python's defaults look for garbage after every 700 objects: a quarter of the time of a command that reads 10,000 trials."""

SWEEP = click.argument("sweep", type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ssl-sweep")
def main() -> None:
    """One YAML file in, one comparable table of self-supervised pretraining methods out.

    \b
    Examples:
      ssl-sweep validate sweep.yaml     check the file
      ssl-sweep plan sweep.yaml         what would run, and what is done already
      ssl-sweep submit sweep.yaml       run what is missing and write the report
      ssl-sweep status sweep.yaml       the state of its trials

    Shell completion: eval "$(_SSL_SWEEP_COMPLETE=bash_source ssl-sweep)"
    """
    gc.set_threshold(*COLLECT)
    show_warnings()


@main.command()
@SWEEP
@click.option("--address", help="Ray cluster to use: auto, HOST:PORT, or http://HOST:8265 for a detached job.")
@click.option("--replace", is_flag=True, help="Take over the name of a sweep that another file defined.")
@guarded
def submit(sweep: Path, address: str | None, replace: bool) -> None:
    """Run what is missing of a sweep and write its report.

    Submitting again is always safe: what is finished is not run again, what was interrupted resumes.

    \b
    Examples:
      ssl-sweep submit sweep.yaml
      ssl-sweep submit sweep.yaml --address auto
    """
    if address is not None and address.startswith("http"):
        from ..engine.ray_job import submit_job

        click.echo(submit_job(sweep, address))
        return
    from .environment import configure

    configure(embedded=address is None)
    from ..engine.interrupts import interrupts
    from ..sweep.submit import run_sweep
    from .live_table import LiveTable

    screen = LiveTable()
    with interrupts() as stop:
        try:
            outcome = run_sweep(sweep, screen, stop, partial(_ray_engine, screen, address), replace=replace)
        except KeyboardInterrupt:
            click.echo(_how_to_resume(sweep))
            sys.exit(STOPPED)
        _print_outcome(sweep, outcome)
    sys.exit(outcome.exit_status)


def _ray_engine(
    screen: "LiveTable", address: str | None, resources: "ResourcesConfig", store: "Store", data_root: Path
) -> "Engine":
    from ..engine.ray_engine import RayEngine

    return RayEngine(resources, store, data_root, address, screen.on_message)


def _how_to_resume(sweep: Path) -> str:
    return f"stopped    everything is kept; resume with: ssl-sweep submit {shlex.quote(str(sweep))}"


def _print_outcome(sweep: Path, outcome: "Outcome") -> None:
    from ..report import terminal_console, terminal_table

    terminal_console().print(terminal_table(outcome.result))
    lines = [f"report     {outcome.report}/report.html"]
    lines.append(f"MLflow     mlflow ui --backend-store-uri {shlex.quote(outcome.tracking)}")
    if not outcome.tracked:
        lines.append("           (it missed something; the next submit catches up)")
    failed = [trial for trial in outcome.result.trials if trial.status is TrialState.FAILED]
    lines += [f"failed     {trial.trial_id}: {trial.reason}\n           log: {trial.log}" for trial in failed]
    lines += [f"failed     {row.label}: {row.reason}" for row in outcome.result.undecided]
    if outcome.interrupted:
        lines.append(_how_to_resume(sweep))
    click.echo("\n".join(lines))


@main.command()
@SWEEP
@JSON
@guarded
def validate(sweep: Path, as_json: bool) -> None:
    """Check a sweep file: every error at once, each with its place.

    \b
    Example:
      ssl-sweep validate sweep.yaml
    """
    from ..spec.expand import expand
    from ..spec.load import load_spec

    spec, document = load_spec(sweep)
    trials = expand(spec, document)
    if as_json:
        click.echo(json.dumps({"valid": True, "name": spec.name, "trials": len(trials)}))
    else:
        click.echo(f"{sweep}: valid, {len(trials)} trials")


@main.command()
@SWEEP
@JSON
@guarded
def plan(sweep: Path, as_json: bool) -> None:
    """Show a sweep's trials: what is done, what is missing, what each takes.

    \b
    Example:
      ssl-sweep plan sweep.yaml
    """
    from ..sweep.status import plan_rows
    from .tables import print_plan

    rows = plan_rows(sweep)
    click.echo(_json(rows)) if as_json else print_plan(rows)


@main.command()
@click.argument("sweep", type=click.Path(path_type=Path), required=False)
@click.option("--storage", default="runs", show_default=True, help="Where to look, without a sweep.")
@JSON
@guarded
def status(sweep: Path | None, storage: str, as_json: bool) -> None:
    """Show the state of a sweep's trials, or list the sweeps of a store.

    \b
    Examples:
      ssl-sweep status
      ssl-sweep status sweep.yaml
    """
    from ..sweep.status import status_rows, sweep_rows
    from .tables import print_status, print_sweeps

    if sweep is None:
        sweeps = sweep_rows(storage)
        click.echo(_json(sweeps)) if as_json else print_sweeps(sweeps, storage)
        return
    rows = status_rows(sweep)
    click.echo(_json(rows)) if as_json else print_status(rows)


def _json(rows: "Sequence[PlanRow | StatusRow | SweepRow]") -> str:
    return json.dumps([row._asdict() for row in rows], indent=2)


@main.command()
@SWEEP
@guarded
def report(sweep: Path) -> None:
    """Write a sweep's report again from what the store has.

    \b
    Example:
      ssl-sweep report sweep.yaml
    """
    from ..report import terminal_console, terminal_table
    from ..sweep.results import write_report
    from ..sweep.status import stored_sweep

    stored = stored_sweep(sweep)
    result = stored.result(f"ssl-sweep report {sweep}")
    folder = write_report(stored.store, result)
    terminal_console().print(terminal_table(result))
    click.echo(f"report     {folder}/report.html")


@main.command()
@guarded
def schema() -> None:
    """Print the JSON Schema of a sweep file, for editors.

    \b
    Example:
      ssl-sweep schema > sweep.schema.json
    """
    from ..spec.schema import sweep_schema

    click.echo(json.dumps(sweep_schema(), indent=2))


@main.command()
@JSON
@click.option("--markdown", is_flag=True, help="Print the table of the documentation.")
@guarded
def methods(as_json: bool, markdown: bool) -> None:
    """List the methods: name, family, what each needs, paper.

    \b
    Example:
      ssl-sweep methods
    """
    from .method_table import markdown_table, method_rows

    if markdown:
        click.echo(markdown_table())
        return
    print_rows(method_rows(details=as_json), as_json)


main.add_command(datasets)
main.add_command(prepare)

if __name__ == "__main__":
    main()
