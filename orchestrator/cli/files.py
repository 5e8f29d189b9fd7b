"""The commands about sweep files: check one, its schema, the methods that it may name."""

import json
from pathlib import Path

import click

from ...methods.quantities import plural
from .common import JSON, SET, SWEEP, guarded, print_rows


@click.command()
@SWEEP
@SET
@JSON
@guarded
def validate(sweep: Path, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a sweep file: every error at once, each with its place.

    Data sets that are prepared here are compared with what the evaluations take of them.

    \b
    Examples:
      ssl-sweep validate sweep.yaml
      ssl-sweep validate sweep.yaml --set pretrain.epochs=10
    """
    from ..api.sweeps import load

    _, spec, trials, notes, _ = load(sweep, overrides)
    if as_json:
        click.echo(json.dumps({"valid": True, "name": spec.name, "trials": len(trials), "notes": notes}))
        return
    click.echo(f"{sweep}: valid, {plural(len(trials), 'trial')}")
    for note in notes:
        click.echo(f"note: {note}")


@click.command()
@guarded
def schema() -> None:
    """Print the JSON Schema of a sweep file, for editors.

    \b
    Example:
      ssl-sweep schema > sweep.schema.json
    """
    from ..spec.schema import sweep_schema

    click.echo(json.dumps(sweep_schema(), indent=2))


@click.command()
@JSON
@click.option("--markdown", is_flag=True, help="Print the table of the documentation.")
@guarded
def methods(as_json: bool, markdown: bool) -> None:
    """List the methods: name, family, what each needs, paper.

    \b
    Example:
      ssl-sweep methods
    """
    from .method_table import markdown_table, method_rows

    if markdown:
        click.echo(markdown_table())
        return
    print_rows(method_rows(details=as_json), as_json)
