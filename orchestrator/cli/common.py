"""What the commands of the command line share."""

import functools
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..spec.errors import SpecError, UserError
from .completion import complete_key, complete_sweep, complete_trial
from .error_json import errors_json

if TYPE_CHECKING:
    from ..sweep.status import PlanRow, StatusRow, SweepRow

F = TypeVar("F", bound=Callable[..., Any])
BAD_INPUT = 2
STOPPED = 130

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON; errors too, as one object.")
SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a value of the sweep file, as pretrain.epochs=10; may be repeated.",
    shell_complete=complete_key,
)
SWEEP = click.argument("sweep", type=click.Path(path_type=Path))
NAMED_SWEEP = click.argument("sweep", shell_complete=complete_sweep)
TRIAL = click.argument("trial", shell_complete=complete_trial)
JOB_ADDRESS = click.option("--address", help="http://HOST:8265 of a Ray cluster: run the command there, as a job.")
STORAGE = click.option(
    "--storage", default="runs", show_default=True, help="The store: a folder, or s3://, gs://, az://."
)


def guarded(command: F) -> F:
    """Report user-fixable errors without a traceback; exit status 2, and 130 for Ctrl-C."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            if kwargs.get("as_json"):
                click.echo(errors_json(error))
            else:
                click.echo(str(error) if isinstance(error, SpecError) else f"error: {error}", err=True)
            sys.exit(BAD_INPUT)
        except KeyboardInterrupt:  # of a command that waits or watches
            sys.exit(STOPPED)

    return run  # type: ignore[return-value]  # the same signature


class _OnStderr(logging.Handler):
    """Warnings in one line each, and never on stdout, which is for the answer alone."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}", err=True)


ON_STDERR = _OnStderr(logging.WARNING)


def show_warnings() -> None:
    """Show what our modules warn of, such as a plug-in that cannot be used."""
    logging.getLogger("ssl_sweep").addHandler(ON_STDERR)  # one handler, however often a process runs a command


def print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    """A table in columns as wide as they need, or JSON."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    widths = {key: max(len(str(row[key])) for row in [*rows, {key: key}]) for key in rows[0]}
    for row in rows:
        click.echo("  ".join(str(value).ljust(widths[key]) for key, value in row.items()).rstrip())


def rows_as_json(rows: "Sequence[PlanRow | StatusRow | SweepRow]") -> str:
    """Rows as a JSON array of objects."""
    return json.dumps([row._asdict() for row in rows], indent=2)


def flags(**given: bool) -> list[str]:
    """Those that are set: ``flags(dry_run=True)`` is ``["--dry-run"]``."""
    return [f"--{name.replace('_', '-')}" for name, is_set in given.items() if is_set]


def write_file(out: Path, content: bytes) -> None:
    """Write what a command was asked to put into a file. Raises UserError if that is impossible."""
    try:
        out.write_bytes(content)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from None
