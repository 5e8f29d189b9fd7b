"""The command that lists published numbers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..spec.errors import UserError, did_you_mean, show
from .common import JSON, guarded, write_file
from .completion import complete_dataset, complete_method

if TYPE_CHECKING:
    from ..published import Published


@click.command()
@click.option("--method", help="As in a sweep file, e.g. simclr.", shell_complete=complete_method)
@click.option("--dataset", help="As in a sweep file, e.g. cifar10.", shell_complete=complete_dataset)
@click.option("--backbone", help="As in a sweep file, e.g. resnet18-cifar.")
@click.option("--file", "own", type=click.Path(path_type=Path), help="A CSV file with rows of your own.")
@click.option("--csv", "out", type=click.Path(path_type=Path), help="Write the rows to this file.")
@JSON
@guarded
def published(
    method: str | None, dataset: str | None, backbone: str | None, own: Path | None, out: Path | None, as_json: bool
) -> None:
    """List published numbers: who measured what, how, and where it says so.

    \b
    Examples:
      ssl-sweep published --method simclr --dataset cifar10
      ssl-sweep published --file mine.csv --csv all.csv
    """
    from ..published import library, write_published
    from ..spec.published_file import read_published_file
    from .published_table import table_lines

    rows = (*(read_published_file(own) if own is not None else ()), *library())
    rows = _chosen(rows, {"method": method, "dataset": dataset, "backbone": backbone})
    if out is not None:
        write_file(out, write_published(rows).encode())
    if as_json:
        click.echo(json.dumps([row.model_dump(mode="json") for row in rows], indent=2))
    elif out is not None:
        click.echo(f"published  {out}")
    else:
        click.echo("\n".join(table_lines(rows)))


def _chosen(rows: "tuple[Published, ...]", wanted: dict[str, str | None]) -> "tuple[Published, ...]":
    """The rows that have all wanted values.

    Raises:
        UserError: no row has one of them, or all together.
    """
    asked = {name: value for name, value in wanted.items() if value is not None}
    for name, value in asked.items():
        known = sorted({getattr(row, name) for row in rows})
        if value not in known:
            hint = did_you_mean(value, known)
            raise UserError(
                f"--{name}: no published numbers for {show(value)}{hint} (there are for: {', '.join(known)})"
            )
    found = tuple(row for row in rows if all(getattr(row, name) == value for name, value in asked.items()))
    if not found:
        given = ", ".join(f"--{name} {value}" for name, value in asked.items())
        (first, value), *rest = asked.items()
        having = [row for row in rows if getattr(row, first) == value]
        there = " and ".join(
            f"--{name} {', '.join(sorted({getattr(row, name) for row in having}))}" for name, _ in rest
        )
        raise UserError(f"no published numbers for {given}; with --{first} {value} there are some for {there}")
    return found
