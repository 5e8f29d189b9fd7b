"""The commands that look at a sweep as a whole: its plan and its status."""

from pathlib import Path

import click

from ..spec.errors import UserError
from .common import JOB_ADDRESS, JSON, SET, STORAGE, SWEEP, flags, guarded, rows_as_json
from .completion import complete_sweep


@click.command()
@SWEEP
@click.option("--price", type=click.FloatRange(min=0), help="Of an hour of a GPU (or of a worker without one).")
@SET
@JSON
@guarded
def plan(sweep: Path, price: float | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show a sweep's trials: what is done, what is missing, what each takes.

    Hours and memory are those of similar trials in the store: of the same method, backbone, data and batch size;
    or as a probe measured them, if trials share GPUs (`gpus_per_worker: auto`) and none has run yet.

    \b
    Examples:
      ssl-sweep plan sweep.yaml
      ssl-sweep plan sweep.yaml --price 2.5
    """
    from ..api.sweeps import plan
    from .tables import print_plan

    rows = plan(sweep, overrides)
    click.echo(rows_as_json(rows)) if as_json else print_plan(rows, price)


@click.command()
@click.argument("sweep", required=False, shell_complete=complete_sweep)
@STORAGE
@click.option("--watch", is_flag=True, help="Show the live table until the sweep has ended.")
@JOB_ADDRESS
@SET
@JSON
@guarded
def status(
    sweep: str | None,
    storage: str,
    watch: bool,
    address: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the state of a sweep's trials, or list the sweeps of a store. Writes nothing.

    SWEEP is a sweep file, or the name of a sweep in the store.

    \b
    Examples:
      ssl-sweep status
      ssl-sweep status sweep.yaml
      ssl-sweep status sweep.yaml --watch
      ssl-sweep status cifar10-200ep --storage s3://bucket/runs
    """
    from ..sweep.status import sweep_rows
    from ..sweep.view import status_rows
    from .tables import print_status, print_sweeps

    if watch and (sweep is None or as_json):
        raise UserError("--watch: takes a sweep, and no --json")
    if overrides and sweep is None:
        raise UserError("--set: takes a sweep file")
    if address is not None:
        from .remote import run_remotely

        options = flags(watch=watch, json=as_json)
        run_remotely(address, "status", *options, sweep=sweep, storage=storage, overrides=overrides)
    if sweep is None:
        sweeps = sweep_rows(storage)
        click.echo(rows_as_json(sweeps)) if as_json else print_sweeps(sweeps, storage)
        return
    if watch:
        from .watching import watch_sweep

        watch_sweep(sweep, storage, overrides)
        return
    rows = status_rows(sweep, storage, overrides)
    click.echo(rows_as_json(rows)) if as_json else print_status(rows)
