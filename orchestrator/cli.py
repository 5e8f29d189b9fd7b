"""The command line: ``ssl-sweep``. Heavy imports (torch, Ray, MLflow) happen inside the commands that need them."""

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from .problems import SpecError, UserError, unknown

F = TypeVar("F", bound=Callable[..., Any])
BAD_INPUT, STOPPED = 2, 130

SWEEP = click.argument("sweep", type=click.Path(path_type=Path))
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def guarded(command: F) -> F:
    """Show what the user can mend as a message, with exit status 2 and no traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except SpecError as error:
            if kwargs.get("as_json"):
                problems = [
                    {"file": p.file, "line": p.position[0], "column": p.position[1], "message": p.message}
                    for p in error.problems
                ]
                click.echo(json.dumps({"valid": False, "errors": problems}, indent=2))
            else:
                click.echo(str(error), err=True)
            sys.exit(BAD_INPUT)
        except UserError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(BAD_INPUT)

    return run  # type: ignore[return-value]  # the same signature


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ssl-sweep")
def main() -> None:
    """One YAML file in, one comparable table of self-supervised pretraining methods out.

    \b
    Examples:
      ssl-sweep validate sweep.yaml     check the file
      ssl-sweep plan sweep.yaml         what would run, and what is done already
      ssl-sweep submit sweep.yaml       run what is missing and write the report
      ssl-sweep status sweep.yaml       how it stands

    Shell completion: eval "$(_SSL_SWEEP_COMPLETE=bash_source ssl-sweep)"
    """


@main.command()
@SWEEP
@click.option("--address", help="Ray cluster to use: auto, HOST:PORT, or http://HOST:8265 for a detached job.")
@guarded
def submit(sweep: Path, address: str | None) -> None:
    """Run what is missing of a sweep and write its report.

    Submitting again is always safe: what is finished is not run again, what was interrupted goes on.

    \b
    Examples:
      ssl-sweep submit sweep.yaml
      ssl-sweep submit sweep.yaml --address auto
    """
    if address is not None and address.startswith("http"):
        from .remote import submit_job

        click.echo(submit_job(sweep, address))
        return
    from .interrupts import interrupts
    from .progress import Display
    from .sweep import run_sweep

    with interrupts() as stop:
        try:
            outcome = run_sweep(sweep, Display(), stop, address)
        except KeyboardInterrupt:
            click.echo(_go_on(sweep))
            sys.exit(STOPPED)
        _print_outcome(sweep, outcome)
    sys.exit(outcome.status)


def _go_on(sweep: Path) -> str:
    return f"stopped    everything is kept; go on with: ssl-sweep submit {sweep}"


def _print_outcome(sweep: Path, outcome: Any) -> None:
    from .report import terminal_console, terminal_table

    terminal_console().print(terminal_table(outcome.result))
    lines = [f"report     {outcome.report}/report.html"]
    lines.append(f"MLflow     mlflow ui --backend-store-uri {outcome.tracking}")
    if not outcome.tracked:
        lines.append("           (it was out of reach; the next submit catches up)")
    failed = [trial for trial in outcome.result.trials if trial.status == "failed"]
    lines += [f"failed     {trial.trial_id}: {trial.reason}\n           log: {trial.log}" for trial in failed]
    if outcome.interrupted:
        lines.append(_go_on(sweep))
    click.echo("\n".join(lines))


@main.command()
@SWEEP
@JSON
@guarded
def validate(sweep: Path, as_json: bool) -> None:
    """Check a sweep file: every error at once, each with its place.

    \b
    Example:
      ssl-sweep validate sweep.yaml
    """
    from .expand import expand
    from .load import load_spec

    spec, document = load_spec(sweep)
    trials = expand(spec, document)
    if as_json:
        click.echo(json.dumps({"valid": True, "name": spec.name, "trials": len(trials)}))
    else:
        click.echo(f"{sweep}: valid, {len(trials)} trials")


@main.command()
@SWEEP
@JSON
@guarded
def plan(sweep: Path, as_json: bool) -> None:
    """Show a sweep's trials: what is done, what is missing, what each takes.

    \b
    Example:
      ssl-sweep plan sweep.yaml
    """
    from .overview import plan_rows, print_plan

    rows = plan_rows(sweep)
    click.echo(json.dumps(rows, indent=2)) if as_json else print_plan(rows)


@main.command()
@click.argument("sweep", type=click.Path(path_type=Path), required=False)
@click.option("--storage", default="runs", show_default=True, help="Where to look, without a sweep.")
@JSON
@guarded
def status(sweep: Path | None, storage: str, as_json: bool) -> None:
    """Show how a sweep stands, or list the sweeps of a store.

    \b
    Examples:
      ssl-sweep status
      ssl-sweep status sweep.yaml
    """
    from .overview import print_status, print_sweeps, status_rows, sweep_rows

    if sweep is None:
        rows = sweep_rows(storage)
        click.echo(json.dumps(rows, indent=2)) if as_json else print_sweeps(rows, storage)
        return
    rows = status_rows(sweep)
    click.echo(json.dumps(rows, indent=2)) if as_json else print_status(rows)


@main.command()
@SWEEP
@guarded
def report(sweep: Path) -> None:
    """Write a sweep's report again from what the store has.

    \b
    Example:
      ssl-sweep report sweep.yaml
    """
    from .overview import stored_result
    from .report import terminal_console, terminal_table
    from .results import keep_report

    store, spec, result = stored_result(sweep)
    scratch, _ = keep_report(store, result)
    scratch.cleanup()
    terminal_console().print(terminal_table(result))
    click.echo(f"report     {store.path(f'sweeps/{spec.name}/report')}/report.html")


@main.command()
@guarded
def schema() -> None:
    """Print the JSON Schema of a sweep file, for editors.

    \b
    Example:
      ssl-sweep schema > sweep.schema.json
    """
    from .schema import sweep_schema

    click.echo(json.dumps(sweep_schema(), indent=2))


@main.command()
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
    rows = method_rows()
    shown = ("name", "title", "family", "needs", "paper")
    _print_rows(rows if as_json else [{key: row[key] for key in shown} for row in rows], as_json)


@main.command()
@JSON
@guarded
def datasets(as_json: bool) -> None:
    """List the data sets and what each needs."""
    from ..datasets import DATASETS

    _print_rows([{"name": name, "description": text} for name, text in DATASETS.items()], as_json)


@main.command()
@click.argument("dataset")
@click.option("--path", help="Folder or file of the images.")
@click.option("--skip-damaged", is_flag=True, help="Leave out images that cannot be read.")
@guarded
def prepare(dataset: str, path: str | None, skip_damaged: bool) -> None:
    """Prepare a data set: decode, check and store it, once.

    \b
    Examples:
      ssl-sweep prepare cifar10 --path ~/data/cifar10
      ssl-sweep prepare folder --path ~/my-images
    """
    from pydantic import ValidationError

    from ..datasets import DATASETS
    from ..datasets.config import DatasetConfig
    from ..datasets.prepare import prepare as run
    from .plan import data_errors
    from .progress import Display
    from .spec import data_root

    if dataset not in DATASETS:
        raise UserError(unknown("data set", dataset, DATASETS))
    whole = str(Path(path).expanduser().absolute()) if path else None
    try:
        damaged = "skip" if skip_damaged else "fail"
        config = DatasetConfig.model_validate({"name": dataset, "path": whole, "damaged": damaged})
    except ValidationError as error:
        raise UserError(f"data set '{dataset}': {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    display = Display()
    with data_errors(), display.preparing(dataset) as on_progress:
        prepared = run(config, data_root(), on_progress)
    display.damaged(prepared)
    for split in ("train", "test"):
        info = prepared.split(split)
        click.echo(f"{split:<12} {info.count:,} images, {len(prepared.classes)} classes, {info.encoding}")
    click.echo(f"fingerprint  {prepared.fingerprint}\nfolder       {prepared.folder}")


def _print_rows(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    widths = {key: max(len(str(row[key])) for row in [*rows, {key: key}]) for key in rows[0]}
    for row in rows:
        click.echo("  ".join(str(value).ljust(widths[key]) for key, value in row.items()).rstrip())


if __name__ == "__main__":
    main()
