"""The commands about the space that a store takes."""

import json
import shlex

import click

from ...methods.quantities import plural
from ..spec.errors import UserError
from .common import JOB_ADDRESS, JSON, NAMED_SWEEP, SET, STORAGE, flags, guarded

YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command()
@STORAGE
@JOB_ADDRESS
@JSON
@guarded
def du(storage: str, address: str | None, as_json: bool) -> None:
    """Show how much space each sweep takes, and what no sweep uses.

    Trials that two sweeps share count for both; `frees` is what `ssl-sweep rm` would free, and `features` the part of `size` that
    `ssl-sweep gc --features` would.

    \b
    Examples:
      ssl-sweep du
      ssl-sweep du --storage s3://bucket/runs --json
    """
    if address is not None:
        from .remote import run_remotely

        run_remotely(address, "du", *flags(json=as_json), storage=storage)
    from ..sweep.usage import total_bytes, usage_rows
    from .tables import print_table

    rows = usage_rows(storage)
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    shown = [
        (row.sweep or "(no sweep)", f"{row.trials:,}", size(row.bytes), size(row.frees), size(row.features))
        for row in rows
    ]
    print_table(("sweep", "trials", "size", "frees", "features"), shown, f"{size(total_bytes(storage))} in {storage}")


@click.command()
@NAMED_SWEEP
@STORAGE
@YES
@JOB_ADDRESS
@SET
@JSON
@guarded
def rm(sweep: str, storage: str, yes: bool, address: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Delete a sweep: its report, its runs in MLflow, and the trials that no other sweep uses.

    SWEEP is a sweep file, which stays, or the name of a sweep in the store. If the sweep's `tracking` names a variable with a
    password, the variable must be set here too.

    \b
    Examples:
      ssl-sweep rm sweep.yaml
      ssl-sweep rm cifar10-200ep --storage s3://bucket/runs --yes
    """
    if address is not None:
        from .remote import run_remotely

        if not yes:
            raise UserError("--address: a job cannot ask; add --yes (`ssl-sweep du` shows what each sweep takes)")
        run_remotely(address, "rm", "--yes", *flags(json=as_json), sweep=sweep, storage=storage, overrides=overrides)
    from ..api.environment import configure

    configure()
    from ..sweep.cleaning import plan_removal, remove_sweep
    from ..sweep.place import locate
    from ..tracking.removal import delete_runs, out_of_reach

    place = locate(sweep, storage, overrides)
    plan = plan_removal(place)
    shared = f"; {plan.shared:,} more are used by other sweeps and stay" if plan.shared else ""
    click.echo(
        f"sweep '{place.name}' in {place.store.location}: {size(plan.bytes)}, {plural(len(plan.trials), 'trial')}{shared}",
        err=as_json,
    )
    if (reason := out_of_reach(place.store, place.name)) is not None and not yes:
        click.echo(f"MLflow     its runs would stay there: {reason}", err=as_json)
    if not yes:
        click.confirm("Delete it?", abort=True, err=as_json)

    def trash_runs() -> None:
        trashed = delete_runs(place.store, place.name)
        if trashed is not None and trashed.error is None:
            click.echo(
                f"MLflow     {plural(trashed.runs, 'run')} moved to its trash; `mlflow gc` deletes them and their files",
                err=as_json,
            )
        elif trashed is not None:
            click.echo(f"MLflow     runs at {trashed.uri} stay: {trashed.error}", err=as_json)

    running = remove_sweep(place, trash_runs)
    if as_json:
        click.echo(json.dumps({"deleted": place.name, "bytes": plan.bytes, "kept_trials": list(running)}, indent=2))
        return
    click.echo(f"deleted    sweep '{place.name}'")
    for trial_id in running:
        click.echo(f"kept       trial {trial_id}, which is running")


@click.command()
@STORAGE
@click.option("--features", is_flag=True, help="Also the kept features of all trials; they can be extracted again.")
@click.option("--dry-run", is_flag=True, help="List what would be deleted.")
@YES
@JOB_ADDRESS
@JSON
@guarded
def gc(storage: str, features: bool, dry_run: bool, yes: bool, address: str | None, as_json: bool) -> None:
    """Delete what nothing needs any more, and nothing that somebody runs.

    That is: trials that no sweep uses, checkpoints of what is finished, copies of given weights and label lists that no sweep
    names, and files that a crash left half-written more than a day ago. Features that are kept next to a trial stay as long
    as a sweep uses it, unless --features is given.

    \b
    Examples:
      ssl-sweep gc --dry-run
      ssl-sweep gc --features
      ssl-sweep gc --storage s3://bucket/runs --yes
    """
    if address is not None:
        from .remote import run_remotely

        if not (yes or dry_run):
            raise UserError("--address: a job cannot ask; add --yes, or --dry-run to see what would be deleted")
        run_remotely(address, "gc", *flags(features=features, dry_run=dry_run, yes=yes, json=as_json), storage=storage)
    from ..store.files import Store
    from ..sweep.cleaning import collect_garbage, find_garbage
    from .tables import print_table

    store = Store(storage)
    garbage = find_garbage(store, features=features)
    rows = [
        {"kind": item.kind, "where": item.folder, "files": len(item.names), "bytes": item.bytes} for item in garbage
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif not garbage:
        click.echo(f"nothing to delete in {storage}")
    else:
        shown = [(item.kind, item.folder, f"{len(item.names):,}", size(item.bytes)) for item in garbage]
        print_table(
            ("kind", "where", "files", "size"), shown, f"{size(sum(item.bytes for item in garbage))} in {storage}"
        )
    if not garbage or dry_run:
        return
    if not yes:
        click.confirm(f"Delete {size(sum(item.bytes for item in garbage))}?", abort=True, err=True)
    deleted = collect_garbage(store, garbage)
    click.echo(f"freed      {size(sum(item.bytes for item in deleted))}", err=as_json)
    for item in garbage:
        if item not in deleted:
            click.echo(f"kept       {shlex.quote(item.folder)}, which is in use by now", err=as_json)


def size(count: int) -> str:
    """Bytes in decimal units: ``1.2 GB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
