"""The commands about results: the report, the numbers as a file, the difference of two trials or sweeps."""

import json
import re
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from ..spec.errors import UserError
from ..spec.overrides import options_of
from .common import JOB_ADDRESS, JSON, SET, STORAGE, SWEEP, flags, guarded, write_file
from .file_in_output import FileReader, print_file


@click.command()
@click.argument("sweeps", nargs=-1, required=True, metavar="SWEEP...")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Of several sweeps: the folder to write; unset: report-A-B."
)
@JOB_ADDRESS
@SET
@JSON
@guarded
def report(
    sweeps: tuple[str, ...], out: Path | None, address: str | None, overrides: tuple[str, ...], as_json: bool
) -> None:
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
        if overrides:
            raise UserError("--set: several sweeps are compared as they were run; leave out --set")
        _compare(sweeps, out, as_json=as_json)
        return
    if out is not None:
        raise UserError("-o: the report of one sweep is written into its store; give -o with several sweeps only")
    (sweep,) = map(Path, sweeps)
    if address is not None:
        from .remote import run_remotely

        run_remotely(address, "report", *flags(json=as_json), sweep=str(sweep), overrides=overrides)
    from ..report import terminal_console, terminal_table
    from ..sweep.results import write_report
    from ..sweep.status import stored_sweep

    stored = stored_sweep(sweep, overrides)
    result = stored.result(shlex.join(["ssl-sweep", "report", str(sweep), *options_of(overrides)]))
    folder = write_report(stored.store, result, again=True)
    if as_json:
        click.echo(json.dumps({"report": f"{folder}/report.html"}, indent=2))
        return
    terminal_console().print(terminal_table(result))
    click.echo(f"report     {folder}/report.html")


def _compare(sweeps: tuple[str, ...], out: Path | None, *, as_json: bool) -> None:
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
    if as_json:
        click.echo(json.dumps({"report": str(files.html)}, indent=2))
        return
    terminal_console().print(terminal_table(result))
    click.echo(f"report     {files.html}")


@click.command()
@SWEEP
@click.option("--format", "kind", type=click.Choice(["csv", "parquet", "json"]), default="csv", show_default=True)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="The file to write; unset: stdout.")
@click.option("--weights", metavar="TRIAL", help="Export this trial's backbone and a model card, into the folder OUT.")
@click.option("--into-output", is_flag=True, hidden=True, help="Print the file as `file_in_output` does.")
@JOB_ADDRESS
@SET
@JSON
@guarded
def export(
    sweep: Path,
    kind: str,
    out: Path | None,
    weights: str | None,
    into_output: bool,
    address: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Export a sweep's results so far: a row for each trial and evaluation, with the columns of the report's results.csv.

    With `--address`, a job collects the results on the cluster, and the file is written here. `--json` is `--format json` if there
    is no FILE, and names the FILE that was written if there is one. With `--weights`, the backbone of a trial is exported instead,
    with a model card (README.md).

    \b
    Examples:
      ssl-sweep export sweep.yaml > results.csv
      ssl-sweep export sweep.yaml --format parquet -o results.parquet
      ssl-sweep export sweep.yaml --weights "simclr seed 0" -o simclr
    """
    if weights is not None:
        _export_weights(sweep, weights, out, address, overrides, as_json=as_json)
        return
    if kind == "parquet" and out is None and sys.stdout.isatty():
        raise UserError("--format parquet: is no text for a terminal; give a file with -o, or redirect the output")
    kind = "json" if as_json and out is None else kind
    content = (_exported if address is None else partial(_exported_remotely, address))(sweep, kind, overrides)
    if into_output:
        print_file(content)
    elif out is None:
        click.echo(content, nl=False)
    else:
        write_file(out, content)
        click.echo(json.dumps({"results": str(out)}, indent=2) if as_json else f"results    {out}")


def _export_weights(
    sweep: Path, trial: str, out: Path | None, address: str | None, overrides: Sequence[str], *, as_json: bool
) -> None:
    if out is None:
        raise UserError("--weights: name the folder to write to with -o")
    if address is not None:
        raise UserError("--weights: leave out --address; `ssl-sweep path --address` says where they are on the cluster")
    from ..api.backbones import export_backbone

    files = export_backbone(sweep, trial, out, overrides)
    if as_json:
        click.echo(json.dumps({"exported": [str(file) for file in files]}, indent=2))
    else:
        click.echo("\n".join(f"exported   {file}" for file in files))


def _exported(sweep: Path, kind: str, overrides: Sequence[str]) -> bytes:
    from ..api.sweeps import results
    from ..report.export import FORMATS, exported

    command = shlex.join(["ssl-sweep", "export", str(sweep), *options_of(overrides)])
    result = results(sweep, overrides, command=command).sweep
    return exported(result, next(name for name in FORMATS if name == kind))


def _exported_remotely(address: str, sweep: Path, kind: str, overrides: Sequence[str]) -> bytes:
    from .remote import status_of

    reader = FileReader()
    arguments = ["--format", kind, "--into-output"]
    status = status_of(address, "export", *arguments, sweep=str(sweep), overrides=overrides, show=reader.hear)
    if status:
        sys.exit(status)
    return reader.content()


@click.command()
@click.argument("a")
@click.argument("b")
@STORAGE
@JOB_ADDRESS
@SET
@JSON
@guarded
def diff(a: str, b: str, storage: str, address: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Show what differs between two trials, and their scores; or between two sweep files once they are resolved.

    `--set` overrides values of the file B, which may be the same as A.

    \b
    Examples:
      ssl-sweep diff sweep.yaml sweep.yaml --set pretrain.epochs=10
      ssl-sweep diff "simclr seed 0" 1f2e3d4c5b
      ssl-sweep diff sweep.yaml other.yaml
    """
    files = [Path(name).is_file() for name in (a, b)]
    if any(files) and not all(files):
        raise UserError(
            f"diff: '{a if files[0] else b}' is a file, and the other one is not; give two trials, or two files"
        )
    if not all(files):
        from ..sweep.place import refuse_overrides

        refuse_overrides(b, overrides)
    if address is not None:
        from .remote import run_remotely

        if all(files):
            raise UserError("--address: two sweep files are compared here, without a cluster; leave out --address")
        run_remotely(address, "diff", a, b, *flags(json=as_json), storage=storage)
    from ..sweep.comparison import compare_sweeps, compare_trials
    from ..sweep.trials import open_trial
    from .tables import print_table

    names = (a, b)
    if all(files):
        found = compare_sweeps(Path(a), Path(b), overrides)
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
