"""The commands about data: what there is, a picture of it, and its preparation."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..spec.errors import UserError, unknown
from .common import JSON, guarded, print_rows, write_file
from .completion import complete_dataset, complete_method

if TYPE_CHECKING:
    from ...datasets.config import DatasetConfig
    from ...datasets.prepared import Prepared

PATH = click.option("--path", help="Folder or file of the images.")


@click.command()
@click.argument("dataset", required=False, shell_complete=complete_dataset)
@PATH
@click.option(
    "--method", default="simclr", show_default=True, help="Whose views to show.", shell_complete=complete_method
)
@click.option("--recipe", type=click.Choice(["paper", "lightly"]), default="paper", show_default=True)
@click.option("--image-size", type=click.IntRange(min=1), help="Pixels; unset: the data set's usual size.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default="views.png", show_default=True, help="The PNG to write."
)
@JSON
@guarded
def datasets(
    dataset: str | None,
    path: str | None,
    method: str,
    recipe: str,
    image_size: int | None,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """List the data sets and what each needs, or draw some images of one and the views that a method makes of them.

    \b
    Examples:
      ssl-sweep datasets
      ssl-sweep datasets cifar10 --path ~/data/cifar10 --method dino -o dino.png
    """
    from ...datasets import DATASETS

    if dataset is None:
        print_rows([{"name": name, "description": known.description} for name, known in DATASETS.items()], as_json)
        return
    from .preview import look

    config = _config(dataset, path, image_size=image_size)
    content = look(config, _prepared(config), method, recipe, seed)
    write_file(out, content)
    told = {"dataset": dataset, "method": method, "recipe": recipe, "views": str(out)}
    click.echo(json.dumps(told, indent=2) if as_json else f"views of {method} ({recipe} recipe)  {out}")


@click.command()
@click.argument("dataset", shell_complete=complete_dataset)
@PATH
@click.option("--image-column", help="Of a table: the column of the images, or in a list of their paths.")
@click.option("--label-column", help="Of a table: the column of the classes.")
@click.option("--image-size", type=click.IntRange(min=1), help="Pixels; unset: the data set's usual size.")
@click.option("--skip-damaged", is_flag=True, help="Leave out images that cannot be read.")
@click.option("--verify", is_flag=True, help="Compare what is stored with its checksums.")
@JSON
@guarded
def prepare(
    dataset: str,
    path: str | None,
    image_column: str | None,
    label_column: str | None,
    image_size: int | None,
    skip_damaged: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Prepare a data set: decode, check and store it, once, and say what is in it. An interrupted run resumes.

    \b
    Examples:
      ssl-sweep prepare cifar10 --path ~/data/cifar10
      ssl-sweep prepare folder --path ~/my-images
      ssl-sweep prepare list --path ~/my-images.csv
      ssl-sweep prepare torchvision.CIFAR100
    """
    from ...datasets.verified import verify as compare
    from ..sweep.found_data import data_errors
    from .contents import print_contents

    columns = {key: name for key, name in (("image", image_column), ("label", label_column)) if name is not None}
    damaged = "skip" if skip_damaged else "fail"
    config = _config(dataset, path, columns=columns or None, image_size=image_size, damaged=damaged)
    prepared = _prepared(config, told=not as_json)
    if verify:
        with data_errors():
            compare(prepared)
    print_contents(prepared, verified=verify, as_json=as_json)


def _config(dataset: str, path: str | None, **settings: Any) -> "DatasetConfig":
    from pydantic import ValidationError

    from ...datasets import DATASETS
    from ...datasets.config import DatasetConfig

    name, _, class_name = dataset.partition(".")
    if name not in DATASETS:
        raise UserError(unknown("data set", dataset, DATASETS))
    whole = str(Path(path).expanduser().absolute()) if path and "://" not in path else path
    try:
        return DatasetConfig.model_validate({"name": name, "path": whole, "class_name": class_name or None, **settings})
    except ValidationError as error:
        raise UserError(f"data set '{dataset}': {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _prepared(config: "DatasetConfig", *, told: bool = True) -> "Prepared":
    """The data set, prepared now if it was not; what looks wrong in it is `told`."""
    from ...datasets.prepare import prepare as run
    from ..spec.models import data_root
    from ..sweep.found_data import data_errors
    from .live_table import LiveTable

    screen = LiveTable()
    with data_errors(), screen.preparing(config.display_name) as on_progress:
        prepared = run(config, data_root(), on_progress)
    if told:
        screen.on_dataset(prepared)
    return prepared
