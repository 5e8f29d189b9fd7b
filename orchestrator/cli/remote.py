"""A command that runs as a job on a Ray cluster, as if it ran here: its output comes back, and its exit status."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import click

from ..engine.ray_job import run_job
from ..spec.errors import UserError
from ..spec.locations import is_relative
from ..sweep.place import refuse_overrides


def _print(text: str) -> None:
    click.echo(text, nl=False)


def run_remotely(
    address: str,
    command: str,
    *arguments: str,
    sweep: str | None = None,
    storage: str | None = None,
    overrides: Sequence[str] = (),
) -> NoReturn:
    """Run ``ssl-sweep COMMAND [SWEEP] ARGUMENTS`` at `address` and end this process as it ends.

    Args:
        address: of the Ray Jobs server.
        command: of ssl-sweep.
        arguments: others than the next two.
        sweep: its file, which travels with the job, or its name.
        storage: of a command that takes one; not needed with a file, which says it.
        overrides: of the file.

    Raises:
        UserError: the address is of no Ray Jobs server, or the cluster does not have the store.
    """
    sys.exit(status_of(address, command, *arguments, sweep=sweep, storage=storage, overrides=overrides))


def status_of(
    address: str,
    command: str,
    *arguments: str,
    sweep: str | None = None,
    storage: str | None = None,
    overrides: Sequence[str] = (),
    show: Callable[[str], None] = _print,
) -> int:
    """As `run_remotely`, but returns the exit status; `show` gets the output, in parts of any length."""
    if not address.startswith(("http://", "https://")):
        raise UserError(f"--address: got '{address}'; must be a Ray Jobs server, as http://HOST:8265")
    file = Path(sweep) if sweep is not None and Path(sweep).exists() else None
    if sweep is not None and file is None:
        refuse_overrides(sweep, overrides)
    named = [] if sweep is None else [file.name if file is not None else sweep]
    place = [] if storage is None or file is not None else _shared(storage)
    return run_job([command, *named, *arguments, *place], file, address, show, overrides)


def _shared(storage: str) -> list[str]:
    """The option for a store that the cluster reaches as well."""
    if is_relative(storage):
        raise UserError(
            f"--storage: got '{storage}'; a job on a cluster does not have this folder:"
            " name an absolute path that all nodes share, or s3:// or gs://"
        )
    return ["--storage", storage]
