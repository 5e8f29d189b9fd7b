"""A command that runs as a job on a Ray cluster, as if it ran here: its output comes back, and its exit status."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from ..engine.ray_job import SWEEP, run_job
from ..spec.errors import UserError
from ..spec.locations import is_relative


def run_remotely(address: str, command: str, sweep: str | None, options: Sequence[str]) -> NoReturn:
    """Run ``ssl-sweep COMMAND [SWEEP] OPTIONS`` at `address` and end this process as it ends; a sweep's file travels.

    Raises:
        UserError: the address is of no Ray Jobs server.
    """
    if not address.startswith(("http://", "https://")):
        raise UserError(f"--address: got '{address}'; must be a Ray Jobs server, as http://HOST:8265")
    file = Path(sweep) if sweep is not None and Path(sweep).exists() else None
    named = [] if sweep is None else [SWEEP if file is not None else sweep]
    sys.exit(run_job([command, *named, *options], file, address, lambda text: click.echo(text, nl=False)))


def shared(storage: str) -> list[str]:
    """The option for a store that the cluster reaches as well.

    Raises:
        UserError: it is a folder of this machine alone, by its name.
    """
    if is_relative(storage):
        raise UserError(
            f"--storage: got '{storage}'; a job on a cluster does not have this folder:"
            " name an absolute path that all nodes share, or s3:// or gs://"
        )
    return ["--storage", storage]
