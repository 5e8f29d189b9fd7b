"""The commands that run a sweep, and the one that stops it."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..spec.errors import UserError
from ..store.trial_state import TrialState
from .common import JOB_ADDRESS, STOPPED, STORAGE, SWEEP, guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..sweep.choice import Choice
    from ..sweep.submit import Outcome

ADDRESS = click.option("--address", help="Ray cluster to use: auto, HOST:PORT, or http://HOST:8265 for a job on it.")


@click.command()
@SWEEP
@ADDRESS
@click.option("--detach", is_flag=True, help="Go on without this terminal.")
@click.option("--replace", is_flag=True, help="Take over the name of a sweep that another file defined.")
@guarded
def submit(sweep: Path, address: str | None, detach: bool, replace: bool) -> None:
    """Run what is missing of a sweep and write its report.

    Submitting again is always safe: what is finished is not run again, what was interrupted resumes.

    \b
    Examples:
      ssl-sweep submit sweep.yaml
      ssl-sweep submit sweep.yaml --detach
      ssl-sweep submit sweep.yaml --address auto
    """
    if address is not None and address.startswith("http"):
        if detach:
            raise UserError("--detach: a job on a cluster needs no terminal; leave out --detach")
        from ..engine.ray_job import submit_job

        click.echo(submit_job(sweep, address))
        return
    if detach:
        from .detached import submit_detached

        sys.exit(submit_detached(sweep, address, replace=replace))
    from ..sweep.choice import EVERYTHING

    drive(sweep, address, EVERYTHING, replace=replace)


@click.command()
@SWEEP
@ADDRESS
@guarded
def resume(sweep: Path, address: str | None) -> None:
    """Run what was interrupted in a sweep and what never began, but not what failed.

    \b
    Example:
      ssl-sweep resume sweep.yaml
    """
    _run_remotely_if_asked(address, "resume", sweep)
    from ..sweep.choice import UNFINISHED

    drive(sweep, address, UNFINISHED)


@click.command()
@SWEEP
@click.argument("trials", nargs=-1)
@click.option("--failed", is_flag=True, help="All trials that failed.")
@ADDRESS
@guarded
def retry(sweep: Path, trials: tuple[str, ...], failed: bool, address: str | None) -> None:
    """Run the trials of a sweep that failed, or those that are named, and no others.

    TRIALS are ids or labels as `ssl-sweep status` lists them, or parts of one that no other trial has.

    \b
    Examples:
      ssl-sweep retry sweep.yaml --failed
      ssl-sweep retry sweep.yaml "simclr seed 0" 1f2e3d4c5b
    """
    if failed == bool(trials):
        raise UserError("retry: give --failed, or the trials to run" + (", not both" if failed else ""))
    _run_remotely_if_asked(address, "retry", sweep, ["--failed"] if failed else trials)
    from ..sweep.choice import FAILED, Choice

    drive(sweep, address, FAILED if failed else Choice(named=trials))


def _run_remotely_if_asked(address: str | None, command: str, sweep: Path, options: "Sequence[str]" = ()) -> None:
    """As a job, whose output is shown here, if the address is that of a Ray Jobs server; there it joins the cluster."""
    if address is not None and address.startswith("http"):
        from .remote import run_remotely

        run_remotely(address, command, *options, "--address", "auto", sweep=str(sweep))


def drive(sweep: Path, address: str | None, choice: "Choice", *, replace: bool = False) -> None:
    """Drive a sweep here, then end this process."""
    from ..api.running import run
    from ..engine.interrupts import interrupts
    from .live_table import LiveTable

    with interrupts() as stop:
        try:
            outcome = run(sweep, LiveTable(), stop, choice, address=address, replace=replace)
        except KeyboardInterrupt:
            click.echo(_how_to_resume(sweep))
            sys.exit(STOPPED)
        _print_outcome(sweep, outcome)
    sys.exit(outcome.exit_status)


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


@click.command()
@click.argument("sweep")
@STORAGE
@click.option("--no-wait", is_flag=True, help="Do not wait until the sweep has ended.")
@JOB_ADDRESS
@guarded
def stop(sweep: str, storage: str, no_wait: bool, address: str | None) -> None:
    """Stop a sweep that runs, here or elsewhere: its trials keep a checkpoint. A second time, it ends at once.

    SWEEP is a sweep file, or the name of a sweep in the store.

    \b
    Examples:
      ssl-sweep stop sweep.yaml
      ssl-sweep stop cifar10-200ep --storage s3://bucket/runs
    """
    if address is not None:
        from .remote import flags, run_remotely

        run_remotely(address, "stop", *flags(no_wait=no_wait), sweep=sweep, storage=storage)
    from ..sweep.place import locate
    from ..sweep.stopping import ask_to_stop, wait_for_end

    place = locate(sweep, storage)
    asked = ask_to_stop(place)
    if asked is None:
        click.echo(f"sweep '{place.name}' is not running")
        return
    where = f"its driver on {asked.driver.host} (process {asked.driver.pid}) was asked to"
    if asked.at_once:
        click.echo(f"stopping   sweep '{place.name}': {where} end at once")
    else:
        click.echo(f"stopping   sweep '{place.name}': {where} end; each trial keeps a checkpoint")
    if no_wait:
        return
    click.echo("waiting    until it has ended; the same command again ends it at once")
    wait_for_end(place, asked.driver)
    file = shlex.quote(sweep) if Path(sweep).exists() else "SWEEP.yaml"
    click.echo(f"stopped    everything is kept; resume with: ssl-sweep resume {file}")
