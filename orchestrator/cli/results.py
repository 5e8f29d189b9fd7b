"""The commands about results: the report, the numbers as a file, the difference of two trials or sweeps."""

import json
import sys
from pathlib import Path

import click

from ..spec.errors import UserError
from .common import JSON, STORAGE, SWEEP, guarded, write_file


@click.command()
@SWEEP
@guarded
def report(sweep: Path) -> None:
    """Write a sweep's report again from what the store has.

    \b
    Example:
      ssl-sweep report sweep.yaml
    """
    from ..report import terminal_console, terminal_table
    from ..sweep.results import write_report
    from ..sweep.status import stored_sweep

    stored = stored_sweep(sweep)
    result = stored.result(f"ssl-sweep report {sweep}")
    folder = write_report(stored.store, result, again=True)
    terminal_console().print(terminal_table(result))
    click.echo(f"report     {folder}/report.html")


@click.command()
@SWEEP
@click.option("--format", "kind", type=click.Choice(["csv", "parquet", "json"]), default="csv", show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The file to write; unset: stdout.")
@guarded
def export(sweep: Path, kind: str, out: Path | None) -> None:
    """Export a sweep's results so far: a row for each trial and evaluation, with the columns of the report's results.csv.

    \b
    Examples:
      ssl-sweep export sweep.yaml > results.csv
      ssl-sweep export sweep.yaml --format parquet -o results.parquet
    """
    from ..report.export import FORMATS, exported
    from ..sweep.status import stored_sweep

    if kind == "parquet" and out is None and sys.stdout.isatty():
        raise UserError("--format parquet: is no text for a terminal; give a file with -o, or redirect the output")
    result = stored_sweep(sweep).result(f"ssl-sweep export {sweep}")
    content = exported(result, next(name for name in FORMATS if name == kind))
    if out is None:
        click.echo(content, nl=False)
        return
    write_file(out, content)
    click.echo(f"results    {out}")


@click.command()
@click.argument("a")
@click.argument("b")
@STORAGE
@JSON
@guarded
def diff(a: str, b: str, storage: str, as_json: bool) -> None:
    """Show what differs between two trials, and their scores; or between two sweep files once they are resolved.

    \b
    Examples:
      ssl-sweep diff "simclr seed 0" 1f2e3d4c5b
      ssl-sweep diff sweep.yaml other.yaml
    """
    from ..sweep.comparison import compare_sweeps, compare_trials
    from ..sweep.trials import open_trial
    from .tables import print_table

    files = [Path(name).is_file() for name in (a, b)]
    if any(files) and not all(files):
        raise UserError(
            f"diff: '{a if files[0] else b}' is a file, and the other one is not; give two trials, or two files"
        )
    names = (a, b)
    if all(files):
        found = compare_sweeps(Path(a), Path(b))
    else:
        trials = [open_trial(name, storage) for name in names]
        names = tuple(trial.folder.trial_id for trial in trials)
        found = compare_trials(*trials)
    if as_json:
        click.echo(json.dumps([item._asdict() for item in found], indent=2))
    elif not found:
        click.echo("no setting differs")
    else:
        places = any(item.place for item in found)
        rows = [((item.place,) if places else ()) + (item.key, item.a, item.b) for item in found]
        print_table((*(("row",) if places else ()), "setting", "A", "B"), rows, f"A: {names[0]}\nB: {names[1]}")
