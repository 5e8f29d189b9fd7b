"""The command that exports the features of a trial's backbone."""

import json
import time

import click

from ...methods.quantities import noun_of, plural
from ..spec.errors import UserError
from .common import JOB_ADDRESS, JSON, STORAGE, TRIAL, flags, guarded

SECONDS = 2.0
"""Between two lines of progress."""


@click.command()
@TRIAL
@click.argument("out")
@click.option(
    "--keep",
    is_flag=True,
    help="Extract them in full precision, and also keep them next to the trial, where the next export reads them.",
)
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
@STORAGE
@JOB_ADDRESS
@JSON
@guarded
def features(trial: str, out: str, keep: bool, force: bool, storage: str, address: str | None, as_json: bool) -> None:
    """Export the features of a trial's backbone: a row for each training and test image.

    TRIAL is an id or a label as `ssl-sweep status` lists them, or a part of one that no other trial has. OUT ends in .parquet
    or .arrow. What is kept next to the trial (`features:` of the sweep file) is in half precision and is not extracted again, unless
    --keep is given. A GPU is used if there is one. With `--address`, OUT is written on the cluster.

    \b
    Examples:
      ssl-sweep features "simclr seed 0" features.parquet
      ssl-sweep features 1f2e3d4c5b features.arrow --keep --storage s3://bucket/runs
    """
    if address is not None:
        from .remote import run_remotely

        if not out.startswith("/"):
            raise UserError(f"OUT: got '{out}'; a job writes it on the cluster: name an absolute path there")
        run_remotely(address, "features", trial, out, *flags(keep=keep, force=force, json=as_json), storage=storage)
    from ..sweep.table_file import table_file
    from ..sweep.trials import open_trial, weights_of

    file = table_file(out, force=force)
    named = open_trial(trial, storage)
    weights_of(named)
    from ..spec.models import data_root  # torch, which a wrong name need not wait for
    from ..sweep.features import export_features
    from .live_table import LiveTable

    done = export_features(named, file, data_root(), LiveTable().preparing, _Progress(), keep=keep)
    if as_json:
        click.echo(json.dumps({"features": str(file), "images": done.images, "width": done.width}, indent=2))
        return
    images = " and ".join(f"{count:,} {split}" for split, count in done.images.items())
    origin = ", as kept in the store" if done.was_kept else ""
    origin += f" ({' and '.join(done.halves)} in half precision)" if done.halves else ""
    click.echo(
        f"features   {file}: {images} {noun_of(sum(done.images.values()), 'image')}, {plural(done.width, 'number')} each{origin}"
    )


class _Progress:
    """A line on stderr now and then."""

    def __init__(self) -> None:
        self._done = 0
        self._told = time.monotonic()

    def __call__(self, count: int, total: int) -> None:
        """`count` more images of `total` are done."""
        self._done += count
        if time.monotonic() - self._told > SECONDS:
            self._told = time.monotonic()
            click.echo(f"features   {self._done:,} of {plural(total, 'image')}", err=True)
