"""The command that evaluates given weights: a sweep of one `pretrained` trial, without a file of the user's."""

import contextlib
import re
import tempfile
from collections.abc import Generator, Mapping
from pathlib import Path

import click

from ...methods.weights_config import WeightsConfig
from ..spec.errors import Problem, SpecError, UserError, show
from ..spec.identity import digest
from ..spec.locate import locate
from ..spec.locations import is_address
from ..spec.yaml_document import Document, parse_document
from ..spec.yaml_text import as_yaml, plain
from ..store.scratch import prefix
from .common import JSON, STORAGE, guarded
from .completion import complete_dataset
from .runs import ADDRESS, drive

NAME = "evaluate"
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
    given = {"dataset": dataset, "backbone": backbone, "evaluate": f"[{evaluate}]"}
    with _speaking_of_options():
        values = _values(given, _weights(checkpoint, title), storage)
        _check(values, embedded=address is None)
        path = _sweep_file(values)
    from ..sweep.choice import EVERYTHING

    drive(path, address, EVERYTHING, as_json=as_json)


@contextlib.contextmanager
def _speaking_of_options() -> Generator[None]:
    """Errors name what the user gave, and not the sweep that is made of it."""
    try:
        yield
    except SpecError as error:
        messages = dict.fromkeys(_of_option(problem.message) for problem in error.problems)
        raise UserError("\n".join(messages)) from None
    except UserError as error:
        raise UserError(_of_option(str(error))) from None


def _of_option(message: str) -> str:
    """``dataset.path: ...`` as ``--dataset.path: ...``."""
    key, separator, rest = message.partition(":")
    found = next((name for name in OPTIONS if re.match(rf"{re.escape(name)}(\.|\[|$)", key)), None)
    return message if found is None else f"{OPTIONS[found]}{key.removeprefix(found)}{separator}{rest}"


def _weights(checkpoint: str, title: str | None) -> str | dict[str, str]:
    if title is None:
        return checkpoint
    return WeightsConfig.model_validate(checkpoint).model_dump(exclude_unset=True) | {"title": title}


def _values(given: Mapping[str, str], weights: object, storage: str) -> dict[str, object]:
    """The sweep, its places whole; its name is of its content.

    Raises:
        SpecError: a value is no YAML, or names no place.
    """
    problems: list[Problem] = []
    document = Document(NAME, {"methods": ({"name": "pretrained", "weights": weights},), "storage": storage})
    for key, text in given.items():
        try:
            parsed = parse_document(f"{key}: {text}", NAME).data
            if [*parsed] != [key]:
                raise SpecError([document.problem((), f"got {show(text)}; must be one value")])
            document.data |= parsed
        except SpecError as error:
            problems += [problem._replace(message=f"{key}: {problem.message}") for problem in error.problems]
    problems += locate(document, Path.cwd())
    if problems:
        raise SpecError(problems)
    values = plain(document.data)
    assert isinstance(values, dict)
    return {"name": f"{NAME}-{digest(values)}", **values}


def _check(values: Mapping[str, object], *, embedded: bool) -> None:
    """Refuse what cannot run before anything of it is in the store. The images are prepared.

    Raises:
        UserError: with what is wrong, at keys of the sweep.
    """
    from .environment import configure

    configure(embedded=embedded)
    from ..spec.load import load_spec
    from ..spec.models import data_root
    from ..store.files import Store
    from ..sweep.found_data import SweepData, located
    from ..sweep.label_lists import match_lists
    from ..sweep.place import Place
    from ..sweep.plan import plan_trials
    from ..sweep.weights import expanded
    from .live_table import LiveTable

    with tempfile.TemporaryDirectory(prefix=prefix()) as scratch:
        path = Path(scratch) / "sweep.yaml"
        path.write_text(as_yaml(values), encoding="utf-8")
        spec, document = load_spec(path)
        spec, trials = expanded(spec, document, read=True)
        data = SweepData(Place(Store(spec.storage), spec.name), spec, document)
        data.prepare(trials, data_root(), LiveTable().preparing)
        match_lists(trials, data.contents, data_root())
        with located(document):
            plan_trials(trials, data.contents)


def _sweep_file(values: Mapping[str, object]) -> Path:
    """Write the sweep: into its own folder of the store, or here if the store is not on a disk.

    Raises:
        UserError: the file cannot be written.
    """
    name, where = str(values["name"]), str(values["storage"])
    path = Path(f"{name}.yaml") if is_address(where) else Path(where) / "sweeps" / name / "sweep.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_yaml(values), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    return path
