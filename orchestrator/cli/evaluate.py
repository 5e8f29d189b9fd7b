"""The command that evaluates given weights: a sweep of one `pretrained` trial, without a file of the user's."""

from collections.abc import Mapping
from pathlib import Path

import click
import yaml

from ...methods.weights_config import WeightsConfig
from ..spec.errors import SpecError, UserError
from ..spec.identity import digest
from ..spec.locate import locate
from ..spec.locations import is_address
from ..spec.yaml_document import parse_document
from .common import STORAGE, guarded
from .runs import ADDRESS, drive

NAME = "evaluate"


@click.command()
@click.argument("checkpoint")
@click.option(
    "--dataset", required=True, help="A data set's name, a folder, a .parquet or .csv file of images, or a mapping."
)
@click.option("--backbone", required=True, help="A backbone's name, or a mapping: {name: ..., options: {...}}.")
@click.option("--evaluate", default="knn, linear", show_default=True, help="Evaluations, as in a sweep file.")
@click.option("--title", help="In the table; unset: the file's name.")
@STORAGE
@ADDRESS
@guarded
def evaluate(
    checkpoint: str, dataset: str, backbone: str, evaluate: str, title: str | None, storage: str, address: str | None
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
    text = f"dataset: {dataset}\nbackbone: {backbone}\nevaluate: [{evaluate}]\n"
    path = _sweep_file(text, _weights(checkpoint, title), storage)
    from ..sweep.choice import EVERYTHING

    drive(path, address, EVERYTHING)


def _weights(checkpoint: str, title: str | None) -> str | dict[str, str]:
    if title is None:
        return checkpoint
    return WeightsConfig.model_validate(checkpoint).model_dump(exclude_unset=True) | {"title": title}


def _sweep_file(text: str, weights: object, storage: str) -> Path:
    """Write the sweep: into its own folder of the store, or here if the store is not on a disk.

    Raises:
        UserError: a value is no YAML, or names no place.
    """
    try:
        document = parse_document(text, NAME)
        document.data |= {"methods": ({"name": "pretrained", "weights": weights},), "storage": storage}
        problems = locate(document, Path.cwd())
    except SpecError as error:
        problems = error.problems
        document = None
    if problems or document is None:
        raise UserError("; ".join(problem.message for problem in problems))
    values = _plain(document.data)
    assert isinstance(values, dict)
    name = f"{NAME}-{digest(values)}"
    where = str(values["storage"])
    path = Path(f"{name}.yaml") if is_address(where) else Path(where) / "sweeps" / name / "sweep.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"name": name, **values}, sort_keys=False, allow_unicode=True), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path


def _plain(value: object) -> object:
    """Lists for tuples, as YAML has them."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
