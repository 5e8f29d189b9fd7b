"""The commands that run a sweep, and the one that stops it."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..spec.errors import UserError
from ..spec.overrides import options_of
from .common import JOB_ADDRESS, JSON, NAMED_SWEEP, SET, STOPPED, STORAGE, SWEEP, flags, guarded
from .completion import complete_trial
from .outcome import how_to_resume, outcome_json, print_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..sweep.choice import Choice

ADDRESS = click.option("--address", help="Ray cluster to use: auto, HOST:PORT, or http://HOST:8265 for a job on it.")


@click.command()
@SWEEP
@ADDRESS
@click.option("--detach", is_flag=True, help="Go on without this terminal.")
@click.option("--replace", is_flag=True, help="Take over the name of a sweep that another file defined.")
@SET
@JSON
@guarded
def submit(
    sweep: Path, address: str | None, detach: bool, replace: bool, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Run what is missing of a sweep and write its report.

    Submitting again is always safe: what is finished is not run again, what was interrupted resumes.

    \b
    Examples:
      ssl-sweep submit sweep.yaml
      ssl-sweep submit sweep.yaml --set pretrain.epochs=10 --set methods[0].temperature=0.2
      ssl-sweep submit sweep.yaml --detach
      ssl-sweep submit sweep.yaml --address auto
    """
    if address is not None and address.startswith("http"):
        if detach:
            raise UserError("--detach: a job on a cluster needs no terminal; leave out --detach")
        from ..engine.ray_job import submit_job

        job = submit_job(sweep, address, overrides)
        click.echo(
            json.dumps(job._asdict(), indent=2) if as_json else f"submitted as {job.id}; follow it with: {job.follow}"
        )
        return
    if detach:
        from .detached import submit_detached

        sys.exit(submit_detached(sweep, address, overrides, replace=replace, as_json=as_json))
    from ..sweep.choice import EVERYTHING

    drive(sweep, address, EVERYTHING, replace=replace, overrides=overrides, as_json=as_json)


@click.command()
@SWEEP
@ADDRESS
@SET
@JSON
@guarded
def resume(sweep: Path, address: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Run what was interrupted in a sweep and what never began, but not what failed.

    \b
    Example:
      ssl-sweep resume sweep.yaml
    """
    _run_remotely_if_asked(address, "resume", sweep, overrides, flags(json=as_json))
    from ..sweep.choice import UNFINISHED

    drive(sweep, address, UNFINISHED, overrides=overrides, as_json=as_json)


@click.command()
@SWEEP
@click.argument("trials", nargs=-1, shell_complete=complete_trial)
@click.option("--failed", is_flag=True, help="All trials that failed.")
@ADDRESS
@SET
@JSON
@guarded
def retry(
    sweep: Path,
    trials: tuple[str, ...],
    failed: bool,
    address: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run the trials of a sweep that failed, or those that are named, and no others.

    TRIALS are ids or labels as `ssl-sweep status` lists them, or parts of one that no other trial has.

    \b
    Examples:
      ssl-sweep retry sweep.yaml --failed
      ssl-sweep retry sweep.yaml "simclr seed 0" 1f2e3d4c5b
    """
    if failed == bool(trials):
        raise UserError("retry: give --failed, or the trials to run" + (", not both" if failed else ""))
    options = [*trials, *flags(failed=failed, json=as_json)]
    _run_remotely_if_asked(address, "retry", sweep, overrides, options)
    from ..sweep.choice import FAILED, Choice

    drive(sweep, address, FAILED if failed else Choice(named=trials), overrides=overrides, as_json=as_json)


def _run_remotely_if_asked(
    address: str | None, command: str, sweep: Path, overrides: "Sequence[str]", options: "Sequence[str]"
) -> None:
    """As a job, whose output is shown here, if the address is that of a Ray Jobs server; there it joins the cluster."""
    if address is not None and address.startswith("http"):
        from .remote import run_remotely

        run_remotely(address, command, *options, "--address", "auto", sweep=str(sweep), overrides=overrides)


def drive(
    sweep: Path,
    address: str | None,
    choice: "Choice",
    *,
    replace: bool = False,
    overrides: "Sequence[str]" = (),
    as_json: bool = False,
) -> None:
    """Drive a sweep here, then end this process; `as_json`: how it ended is told in JSON."""
    from ..api.running import run
    from ..engine.interrupts import interrupts
    from .live_table import LiveTable

    with interrupts() as stop:
        try:
            outcome = run(sweep, LiveTable(), stop, choice, address=address, replace=replace, overrides=overrides)
        except KeyboardInterrupt:
            click.echo(how_to_resume(sweep, overrides), err=as_json)
            sys.exit(STOPPED)
        click.echo(outcome_json(outcome)) if as_json else print_outcome(sweep, overrides, outcome)
    sys.exit(outcome.exit_status)


@click.command()
@NAMED_SWEEP
@STORAGE
@click.option("--no-wait", is_flag=True, help="Do not wait until the sweep has ended.")
@JOB_ADDRESS
@SET
@JSON
@guarded
def stop(
    sweep: str, storage: str, no_wait: bool, address: str | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Stop a sweep that runs, here or elsewhere: its trials keep a checkpoint. A second time, it ends at once.

    SWEEP is a sweep file, or the name of a sweep in the store.

    \b
    Examples:
      ssl-sweep stop sweep.yaml
      ssl-sweep stop cifar10-200ep --storage s3://bucket/runs
    """
    if address is not None:
        from .remote import run_remotely

        options = flags(no_wait=no_wait, json=as_json)
        run_remotely(address, "stop", *options, sweep=sweep, storage=storage, overrides=overrides)
    from ..sweep.place import locate
    from ..sweep.stopping import ask_to_stop, wait_for_end

    place = locate(sweep, storage, overrides)
    asked = ask_to_stop(place)
    if as_json:
        if asked is not None and not no_wait:
            wait_for_end(place, asked.driver)
        driver = None if asked is None else asked.driver
        told = {
            "host": driver and driver.host,
            "process": driver and driver.pid,
            "at_once": bool(asked and asked.at_once),
        }
        click.echo(json.dumps({"sweep": place.name, "was_running": asked is not None, **told}, indent=2))
        return
    if asked is None:
        click.echo(f"sweep '{place.name}' is not running")
        return
    where = f"its driver on {asked.driver.host} (process {asked.driver.pid}) was asked to"
    how = "end at once" if asked.at_once else "end; each trial keeps a checkpoint"
    click.echo(f"stopping   sweep '{place.name}': {where} {how}")
    if no_wait:
        return
    click.echo("waiting    until it has ended; the same command again ends it at once")
    wait_for_end(place, asked.driver)
    named = [sweep, *options_of(overrides)] if Path(sweep).exists() else ["SWEEP.yaml"]
    click.echo(f"stopped    everything is kept; resume with: {shlex.join(['ssl-sweep', 'resume', *named])}")
