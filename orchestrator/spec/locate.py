"""Where the things are that a sweep file names: its store, images, weights and MLflow's database, whole in the file's data."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...datasets.config import FILES
from ...datasets.registry import DATASETS
from ...methods.weights_config import names_a_file
from .errors import Problem, Steps, dotted, show
from .locations import expanded, is_address, is_relative, whole, without_file_scheme
from .secrets import OF_STORES, OF_TRACKING, has_credentials, has_password
from .yaml_document import Document


def locate(document: Document, base: Path) -> list[Problem]:
    """Make the places that the file names whole, in its data; those that cannot be are problems.

    Relative ones are taken from the file's folder: every command finds the same place, wherever it is started.
    """
    return _Locator(document, base).locate()


def relative_files(written: Mapping[str, object]) -> Iterator[str]:
    """Places of weights and label lists that depend on where the file is, of the data of a file as it is written."""
    methods, grid = written.get("methods"), written.get("grid")
    entries = [entry for entry in methods if isinstance(entry, dict)] if isinstance(methods, tuple) else []
    axes: dict[str, Any] = grid if isinstance(grid, dict) else {}
    backbones = [written.get("backbone"), *(entry.get("backbone") for entry in entries), *axes.get("backbone", ())]
    holders = [*entries, *(backbone for backbone in backbones if isinstance(backbone, dict))]
    for weights in [*(holder.get("weights") for holder in holders), *axes.get("backbone.weights", ())]:
        place = weights.get("path") if isinstance(weights, dict) else weights
        if isinstance(place, str) and names_a_file(place) and is_relative(place):
            yield place
    evaluate = written.get("evaluate")
    for entry in evaluate if isinstance(evaluate, tuple) else ():
        labels = entry.get("labels") if isinstance(entry, dict) else None
        place = labels.get("list") if isinstance(labels, dict) else None
        if isinstance(place, str) and is_relative(place):
            yield place


class _Locator:
    def __init__(self, document: Document, base: Path):
        self.document, self.base = document, base
        self.problems: list[Problem] = []

    def locate(self) -> list[Problem]:
        data = dict(self.document.data)
        if isinstance(data.get("tracking"), str):
            data["tracking"] = self.tracking(data["tracking"])
        if "storage" in data:
            data["storage"] = self.place(data["storage"], ("storage",))
        if "published" in data:
            data["published"] = self.file(data["published"], ("published",))
        if "dataset" in data:
            data["dataset"] = self.dataset(data["dataset"], ("dataset",))
        if "backbone" in data:
            data["backbone"] = self.backbone(data["backbone"], ("backbone",))
        if isinstance(data.get("methods"), tuple):
            data["methods"] = tuple(self.entry(entry, ("methods", i)) for i, entry in enumerate(data["methods"]))
        if isinstance(data.get("evaluate"), tuple):
            data["evaluate"] = tuple(self.evaluation(item, ("evaluate", i)) for i, item in enumerate(data["evaluate"]))
        if isinstance(data.get("grid"), dict):
            data["grid"] = self.grid(data["grid"])
        self.document.data = data
        return self.problems

    def grid(self, grid: dict[str, Any]) -> dict[str, Any]:
        axes = {
            "dataset": self.dataset,
            "dataset.path": self.place,
            "backbone": self.backbone,
            "backbone.weights": self.weights,
        }
        found = dict(grid)
        for key, located in axes.items():
            values = grid.get(key)
            if isinstance(values, tuple):
                found[key] = tuple(located(value, ("grid", key, i)) for i, value in enumerate(values))
        return found

    def dataset(self, value: Any, path: Steps) -> Any:
        """A mapping, a path, or a name."""
        if isinstance(value, dict):
            return self.in_mapping(value, path)
        return self.place(value, path, may_be_name=True)

    def evaluation(self, value: Any, path: Steps) -> Any:
        """Of `evaluate`."""
        if not isinstance(value, dict):
            return value
        found = dict(value)
        if "dataset" in value:
            found["dataset"] = self.dataset(value["dataset"], (*path, "dataset"))
        labels = value.get("labels")
        if isinstance(labels, dict) and "list" in labels:
            found["labels"] = labels | {"list": self.place(labels["list"], (*path, "labels", "list"))}
        return found

    def entry(self, value: Any, path: Steps) -> Any:
        """Of `methods`."""
        if not isinstance(value, dict):
            return value
        found = self.backbone(value, path)
        return (
            found | {"backbone": self.backbone(value["backbone"], (*path, "backbone"))}
            if "backbone" in value
            else found
        )

    def backbone(self, value: Any, path: Steps) -> Any:
        """A mapping that may have `weights`."""
        if not isinstance(value, dict) or "weights" not in value:
            return value
        return value | {"weights": self.weights(value["weights"], (*path, "weights"))}

    def weights(self, value: Any, path: Steps) -> Any:
        """A mapping, a path, a trial, or timm's."""
        if isinstance(value, dict):
            return self.in_mapping(value, path)
        is_file = not isinstance(value, str) or names_a_file(value)
        return self.place(value, path) if is_file else value

    def in_mapping(self, value: dict[str, Any], path: Steps) -> dict[str, Any]:
        """With its `path`, if it has one."""
        return value | {"path": self.place(value["path"], (*path, "path"))} if "path" in value else value

    def place(self, value: Any, path: Steps, *, may_be_name: bool = False) -> Any:
        """A path or an address; `may_be_name`: without a slash it is neither, unless it ends as a file or is a folder here."""
        if not isinstance(value, str) or not value:
            return value
        try:
            place = expanded(value)
            if has_credentials(place):
                self.problems.append(self.document.problem(path, f"{dotted(path)}: {OF_STORES}"))
                return value
            if may_be_name and "/" not in place and not self._is_here(place):
                return value
            return whole(without_file_scheme(place) if path == ("storage",) else place, self.base)
        except ValueError as error:
            self.problems.append(self.document.problem(path, f"{dotted(path)}: got {show(value)}; {error}"))
            return value

    def _is_here(self, name: str) -> bool:
        """Whether what may be a data set's name is a path; a known name is none."""
        return name.endswith(tuple(FILES)) or (name not in DATASETS and (self.base / name).is_dir())

    def file(self, value: Any, path: Steps) -> Any:
        """A file on a disk."""
        place = self.place(value, path)
        if isinstance(place, str) and is_address(place):
            message = f"{dotted(path)}: got {show(value)}; must be a file on a disk"
            self.problems.append(self.document.problem(path, message))
        return place

    def tracking(self, uri: str) -> str:
        """MLflow's URI with its variables replaced: the file itself, of which copies are kept, has no password."""
        try:
            if has_password(uri):
                raise ValueError(OF_TRACKING)
            return expanded(uri)
        except ValueError as error:
            self.problems.append(self.document.problem(("tracking",), f"tracking: {error}"))
            return uri
