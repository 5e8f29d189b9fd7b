"""Given weights from Python: a sweep of one `pretrained` trial, without a file of the user's."""

import contextlib
import json
import re
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...methods.weights_config import WeightsConfig
from ..spec.errors import Problem, SpecError, UserError, show
from ..spec.identity import digest
from ..spec.locate import locate
from ..spec.locations import is_address
from ..spec.yaml_document import Document, parse_document
from ..spec.yaml_text import as_yaml, plain
from ..store.scratch import prefix

if TYPE_CHECKING:
    from ..sweep.submit import Outcome, Screen
    from .running import Say

NAME = "evaluate"
ARGUMENTS = {
    "methods[0].weights": "checkpoint",
    "methods[0]": "checkpoint",
    "dataset": "dataset",
    "backbone": "backbone",
    "evaluate": "evaluations",
    "storage": "storage",
}
"""Of `evaluate`, by the keys of the sweep that have what was given."""

Value = str | Path | Mapping[str, object]
"""A name, a path, or a mapping as in a sweep file."""


def evaluate(
    checkpoint: str | Path,
    *,
    dataset: Value,
    backbone: Value,
    evaluations: Sequence[Value] = ("knn", "linear"),
    title: str | None = None,
    storage: str = "runs",
    address: str | None = None,
    say: "Say | None" = None,
) -> "Outcome":
    """Evaluate given weights, of whatever method and library, and write a report, as ``ssl-sweep evaluate``.

    Args:
        checkpoint: a safetensors file or a PyTorch checkpoint, a folder with one, ``trial:ID`` of the store, or ``timm`` or
            ``timm:TAG`` for weights in timm's cache.
        dataset: a data set's name, a folder, a .parquet or .csv file of images, or a mapping as in a sweep file.
        backbone: a backbone's name, or ``{"name": ..., "options": {...}}``.
        evaluations: as in a sweep file, e.g. ``["knn", {"name": "linear", "epochs": 30}]``.
        title: in the table; None: the file's name.
        storage: the store: a folder, or ``s3://``, ``gs://``, ``az://``.
        address: as of `submit`.
        say: as of `submit`.

    Raises:
        UserError: an argument is not valid, or the images, the store or the cluster do not allow it; the message names the
            argument. Nothing is stored before everything is checked.
        KeyboardInterrupt: as `submit`.
    """
    from .running import Messages
    from .sweeps import check_call, submit

    check_call(address, "write a sweep with method 'pretrained'")
    given = {"dataset": _as_text(dataset), "backbone": _as_text(backbone)}
    given["evaluate"] = f"[{', '.join(map(_as_text, evaluations))}]"
    with speaking_of(ARGUMENTS):
        screen = Messages() if say is None else Messages(say)
        path = evaluation_sweep(str(checkpoint), given, title, storage, screen)
    return submit(path, address=address, say=say)


def _as_text(value: Value) -> str:
    """A value as YAML in one line: JSON, of which YAML is a superset."""
    plain = dict(value) if isinstance(value, Mapping) else str(value)
    return json.dumps(plain, ensure_ascii=False)


def evaluation_sweep(
    checkpoint: str, given: Mapping[str, str], title: str | None, storage: str, screen: "Screen"
) -> Path:
    """Write the sweep that evaluates `checkpoint`, once it is known that it can run; returns its file.

    Args:
        checkpoint: as of `evaluate`.
        given: the sweep's `dataset`, `backbone` and `evaluate`, as YAML.
        title: in the table; None: the file's name.
        storage: the store.
        screen: shows the preparation of the images.

    Raises:
        SpecError, UserError: what is wrong, at keys of the sweep; see `speaking_of`.
    """
    values = _values(given, _weights(checkpoint, title), storage)
    _check(values, screen)
    return _sweep_file(values)


@contextlib.contextmanager
def speaking_of(names: Mapping[str, str]) -> Generator[None]:
    """Errors name what the user gave, and not the sweep that is made of it. names: by the keys of the sweep.

    Raises:
        UserError: for any error of the block that is one.
    """
    try:
        yield
    except SpecError as error:
        messages = dict.fromkeys(_of_name(problem.message, names) for problem in error.problems)
        raise UserError("\n".join(messages)) from None
    except UserError as error:
        raise UserError(_of_name(str(error), names)) from None


def _of_name(message: str, names: Mapping[str, str]) -> str:
    """``dataset.path: ...`` as ``--dataset.path: ...``."""
    key, separator, rest = message.partition(":")
    found = next((name for name in names if re.match(rf"{re.escape(name)}(\.|\[|$)", key)), None)
    return message if found is None else f"{names[found]}{key.removeprefix(found)}{separator}{rest}"


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


def _check(values: Mapping[str, object], screen: "Screen") -> None:
    """Refuse what cannot run before anything of it is in the store. The images are prepared.

    Raises:
        UserError: with what is wrong, at keys of the sweep.
    """
    from ..spec.load import load_spec
    from ..spec.models import data_root
    from ..store.files import Store
    from ..sweep.found_data import SweepData, located
    from ..sweep.label_lists import match_lists
    from ..sweep.place import Place
    from ..sweep.plan import plan_trials
    from ..sweep.weights import expanded

    with tempfile.TemporaryDirectory(prefix=prefix()) as scratch:
        path = Path(scratch) / "sweep.yaml"
        path.write_text(as_yaml(values), encoding="utf-8")
        spec, document = load_spec(path)
        spec, trials = expanded(spec, document, read=True)
        data = SweepData(Place(Store(spec.storage), spec.name), spec, document)
        data.prepare(trials, data_root(), screen.preparing)
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
