"""The command line: ``ssl-sweep``. Heavy imports (torch, Ray, MLflow) happen inside the commands that need them."""

import gc as collector

import click

from .common import show_warnings
from .completion import completion
from .data import datasets, prepare
from .evaluate import evaluate
from .features import features
from .files import methods, schema, validate
from .group import Commands
from .overview import plan, status
from .published import published
from .results import diff, export, report
from .runs import resume, retry, stop, submit
from .storage import du, gc, rm
from .trials import logs, path

COLLECT = (50_000, 20, 20)
"""Python's defaults look for garbage after every 700 objects: a quarter of the time of a command that reads 10,000 trials."""


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ssl-sweep")
def main() -> None:
    """One YAML file in, one comparable table of self-supervised pretraining methods out.

    \b
    Examples:
      ssl-sweep validate sweep.yaml     check the file
      ssl-sweep plan sweep.yaml         what would run, and what is done already
      ssl-sweep submit sweep.yaml       run what is missing and write the report
      ssl-sweep status sweep.yaml       the state of its trials

    Shell completion: eval "$(ssl-sweep completion bash)"
    """
    collector.set_threshold(*COLLECT)
    show_warnings()


for command in (validate, plan, submit, evaluate, stop, resume, retry, status, logs, path):
    main.add_command(command)
for command in (report, export, features, diff, du, rm, gc):
    main.add_command(command)
for command in (schema, methods, datasets, published, prepare, completion):
    main.add_command(command)

if __name__ == "__main__":
    main()
