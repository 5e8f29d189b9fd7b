"""The commands about results: the report, the numbers as a file, the difference of two trials or sweeps."""

import json
import re
import shlex
import sys
from pathlib import Path

import click

from ..spec.errors import UserError
from .common import JOB_ADDRESS, JSON, STORAGE, SWEEP, guarded, write_file
from .file_in_output import FileReader, print_file


@click.command()
@click.argument("sweeps", nargs=-1, required=True, metavar="SWEEP...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Of several sweeps: the folder to write; unset: report-A-B."
)
@JOB_ADDRESS
@guarded
def report(sweeps: tuple[str, ...], out: Path | None, address: str | None) -> None:
    """Write a sweep's report again from what the store has; or one report of several sweeps, to compare them.

    Several sweeps are sweep files, or folders that have a sweep's report. Trials that they share are counted once.

    \b
    Examples:
      ssl-sweep report sweep.yaml
      ssl-sweep report sweep.yaml other.yaml -o compared
      ssl-sweep report runs/sweeps/first runs/sweeps/second
    """
    if len(sweeps) > 1:
        if address is not None:
            raise UserError("--address: several sweeps are compared here, without a cluster; leave out --address")
        _compare(sweeps, out)
        return
    if out is not None:
        raise UserError("-o: the report of one sweep is written into its store; give -o with several sweeps only")
    sweep = Path(sweeps[0])
    if address is not None:
        from .remote import run_remotely

        run_remotely(address, "report", sweep=str(sweep))
    from ..report import terminal_console, terminal_table
    from ..sweep.results import write_report
    from ..sweep.status import stored_sweep

    stored = stored_sweep(sweep)
    result = stored.result(f"ssl-sweep report {sweep}")
    folder = write_report(stored.store, result, again=True)
    terminal_console().print(terminal_table(result))
    click.echo(f"report     {folder}/report.html")


def _compare(sweeps: tuple[str, ...], out: Path | None) -> None:
    from ..report import terminal_console, terminal_table, write_report
    from ..report.several import merged
    from ..sweep.several import results_of

    results = results_of(sweeps)
    folder = out or Path("report-" + "-".join(re.sub(r"[^\w.-]+", "_", result.name) for result in results))
    result = merged(results, shlex.join(["ssl-sweep", "report", *sweeps]))
    try:
        files = write_report(result, folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from None
    terminal_console().print(terminal_table(result))
    click.echo(f"report     {files.html}")


@click.command()
@SWEEP
@click.option("--format", "kind", type=click.Choice(["csv", "parquet", "json"]), default="csv", show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The file to write; unset: stdout.")
@click.option("--into-output", is_flag=True, hidden=True, help="Print the file as `file_in_output` does.")
@JOB_ADDRESS
@guarded
def export(sweep: Path, kind: str, out: Path | None, into_output: bool, address: str | None) -> None:
    """Export a sweep's results so far: a row for each trial and evaluation, with the columns of the report's results.csv.

    With `--address`, a job collects the results on the cluster, and the file is written here.

    \b
    Examples:
      ssl-sweep export sweep.yaml > results.csv
      ssl-sweep export sweep.yaml --format parquet -o results.parquet
    """
    if kind == "parquet" and out is None and sys.stdout.isatty():
        raise UserError("--format parquet: is no text for a terminal; give a file with -o, or redirect the output")
    content = _exported(sweep, kind) if address is None else _exported_remotely(sweep, kind, address)
    if into_output:
        print_file(content)
    elif out is None:
        click.echo(content, nl=False)
    else:
        write_file(out, content)
        click.echo(f"results    {out}")


def _exported(sweep: Path, kind: str) -> bytes:
    from ..report.export import FORMATS, exported
    from ..sweep.status import stored_sweep

    result = stored_sweep(sweep).result(f"ssl-sweep export {sweep}")
    return exported(result, next(name for name in FORMATS if name == kind))


def _exported_remotely(sweep: Path, kind: str, address: str) -> bytes:
    from .remote import status_of

    reader = FileReader()
    arguments = ["--format", kind, "--into-output"]
    status = status_of(address, "export", *arguments, sweep=str(sweep), show=reader.hear)
    if status:
        sys.exit(status)
    return reader.content()


@click.command()
@click.argument("a")
@click.argument("b")
@STORAGE
@JOB_ADDRESS
@JSON
@guarded
def diff(a: str, b: str, storage: str, address: str | None, as_json: bool) -> None:
    """Show what differs between two trials, and their scores; or between two sweep files once they are resolved.

    \b
    Examples:
      ssl-sweep diff "simclr seed 0" 1f2e3d4c5b
      ssl-sweep diff sweep.yaml other.yaml
    """
    files = [Path(name).is_file() for name in (a, b)]
    if any(files) and not all(files):
        raise UserError(
            f"diff: '{a if files[0] else b}' is a file, and the other one is not; give two trials, or two files"
        )
    if address is not None:
        from .remote import flags, run_remotely

        if all(files):
            raise UserError("--address: two sweep files are compared here, without a cluster; leave out --address")
        run_remotely(address, "diff", a, b, *flags(json=as_json), storage=storage)
    from ..sweep.comparison import compare_sweeps, compare_trials
    from ..sweep.trials import open_trial
    from .tables import print_table

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
