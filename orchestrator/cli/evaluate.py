"""The command that evaluates given weights: a sweep of one `pretrained` trial, without a file of the user's."""

import click

from ..spec.errors import UserError
from .common import JSON, STORAGE, guarded
from .completion import complete_dataset
from .runs import ADDRESS, drive

OPTIONS = {
    "methods[0].weights": "CHECKPOINT",
    "methods[0]": "CHECKPOINT",
    "dataset": "--dataset",
    "backbone": "--backbone",
    "evaluate": "--evaluate",
    "storage": "--storage",
}
"""By the keys of the sweep that have what was given."""


@click.command()
@click.argument("checkpoint")
@click.option(
    "--dataset",
    required=True,
    shell_complete=complete_dataset,
    help="A data set's name, a folder, a .parquet or .csv file of images, or a mapping.",
)
@click.option("--backbone", required=True, help="A backbone's name, or a mapping: {name: ..., options: {...}}.")
@click.option("--evaluate", default="knn, linear", show_default=True, help="Evaluations, as in a sweep file.")
@click.option("--title", help="In the table; unset: the file's name.")
@STORAGE
@ADDRESS
@JSON
@guarded
def evaluate(
    checkpoint: str,
    dataset: str,
    backbone: str,
    evaluate: str,
    title: str | None,
    storage: str,
    address: str | None,
    as_json: bool,
) -> None:
    """Evaluate given weights, of whatever method and library, and write a report.

    CHECKPOINT is a safetensors file or a PyTorch checkpoint, a folder with one, trial:ID of the store, or timm or timm:TAG for
    weights in timm's cache. Values in braces are YAML, as in a sweep file. The sweep that this makes is kept in the store, as any
    other.

    \b
    Examples:
      ssl-sweep evaluate dino_vits16.pth --dataset cifar10 --backbone vit_small_patch16_224
      ssl-sweep evaluate mae.pth --dataset ~/images --backbone vit_base_patch16_224 --evaluate "knn, {name: linear, epochs: 30}"
    """
    if address is not None and address.startswith("http"):
        raise UserError(
            "--address: evaluate takes auto or HOST:PORT; for a job, write a sweep with method 'pretrained'"
        )
    from ..api.environment import configure
    from ..api.evaluation import evaluation_sweep, speaking_of
    from ..sweep.choice import EVERYTHING
    from .live_table import LiveTable

    configure(embedded=address is None)
    with speaking_of(OPTIONS):
        given = {"dataset": dataset, "backbone": backbone, "evaluate": f"[{evaluate}]"}
        path = evaluation_sweep(checkpoint, given, title, storage, LiveTable())
    drive(path, address, EVERYTHING, as_json=as_json)
