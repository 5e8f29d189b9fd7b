"""The commands about one trial."""

import json

import click

from ..spec.errors import UserError
from .common import JOB_ADDRESS, JSON, STORAGE, TRIAL, flags, guarded


@click.command()
@TRIAL
@click.option("-f", "--follow", is_flag=True, help="Go on until nobody runs the trial any more.")
@STORAGE
@JOB_ADDRESS
@JSON
@guarded
def logs(trial: str, follow: bool, storage: str, address: str | None, as_json: bool) -> None:
    """Print the log of a trial.

    TRIAL is an id or a label as `ssl-sweep status` lists them, or a part of one that no other trial has.

    \b
    Examples:
      ssl-sweep logs 1f2e3d4c5b
      ssl-sweep logs "simclr seed 0" -f
      ssl-sweep logs simclr-resnet18 --storage s3://bucket/runs
    """
    if follow and as_json:
        raise UserError("--json: takes no --follow")
    if address is not None:
        from .remote import run_remotely

        run_remotely(address, "logs", trial, *flags(follow=follow, json=as_json), storage=storage)
    from ..store.log_reader import LogReader
    from ..sweep.trials import open_trial
    from ..sweep.watch import until_released

    found = open_trial(trial, storage)
    reader = LogReader(found.folder)
    written = len(text := reader.new())
    if as_json:
        lines = text.decode(errors="replace").splitlines()
        click.echo(
            json.dumps({"trial": found.folder.trial_id, "label": found.label, "log": found.folder.log, "lines": lines})
        )
        return
    click.echo(text, nl=False)
    for _ in until_released(found.folder.store, found.folder.folder) if follow else ():
        written += len(text := reader.new())
        click.echo(text, nl=False)
    if not written:
        raise UserError(f"{found.name} has no log yet; it is {found.where}")


@click.command()
@TRIAL
@STORAGE
@JOB_ADDRESS
@JSON
@guarded
def path(trial: str, storage: str, address: str | None, as_json: bool) -> None:
    """Print where the weights of a trial's backbone are; with `--address`, on the cluster.

    TRIAL is an id or a label as `ssl-sweep status` lists them, or a part of one that no other trial has.

    \b
    Example:
      ssl-sweep path "simclr seed 0"
    """
    if address is not None:
        from .remote import run_remotely

        run_remotely(address, "path", trial, *flags(json=as_json), storage=storage)
    from ..sweep.trials import open_trial, weights_of

    found = open_trial(trial, storage)
    weights = weights_of(found)
    told = {"trial": found.folder.trial_id, "label": found.label, "weights": weights}
    click.echo(json.dumps(told, indent=2) if as_json else weights)
