"""What a prepared data set is, and where it lies. Free of torch and pyarrow, so that a plan is made in a blink."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ..methods.config import Config
from .config import DatasetConfig
from .errors import DataError
from .registry import DATASETS

Split = Literal["train", "test"]

LAYOUT = 2
"""Raised whenever the stored files change their meaning; older ones are then prepared again."""


class SplitInfo(Config):
    """One split as stored: `raw` pixels of one size, or the images as they were `encoded` (then without a size)."""

    count: int
    encoding: Literal["raw", "encoded"]
    height: int | None
    width: int | None
    class_counts: tuple[int, ...]
    damaged: tuple[str, ...] = ()
    """Images that are left out because they cannot be read, each with the reason."""
    checksums: tuple[str, ...]
    """SHA-256 of each file, in their order."""


class Contents(Config):
    """What `meta.json` says about the Arrow files beside it."""

    name: str
    fingerprint: str
    """Hash of images as they came, labels, class names and subset; the same on every machine."""
    classes: tuple[str, ...]
    """None where the images have no labels; then all are for training."""
    train: SplitInfo
    test: SplitInfo


class Prepared(Contents):
    """A data set that is ready: its contents, where they lie, and how the configuration wants them used."""

    folder: Path
    image_size: int
    holdout: float

    @property
    def damaged(self) -> tuple[str, ...]:
        """Images of both splits that are left out because they cannot be read, each with the reason."""
        return self.train.damaged + self.test.damaged

    @property
    def untaught(self) -> int:
        """Test images whose class has no training image, so that no evaluation can score them."""
        pairs = zip(self.train.class_counts, self.test.class_counts, strict=True)
        return sum(tested for trained, tested in pairs if not trained)

    @property
    def whole(self) -> bool:
        """Whether no image is left out, and there are as many as in the data set that published numbers are of."""
        known = DATASETS.get(self.name)
        counts = (self.train.count, self.test.count)
        return not self.damaged and counts == ((known and known.published) or counts)

    def split(self, split: Split) -> SplitInfo:
        return self.train if split == "train" else self.test

    def arrow_files(self, split: Split) -> list[Path]:
        return arrow_files(self.folder, split, self.split(split).encoding)


def arrow_files(folder: Path, split: Split, encoding: Literal["raw", "encoded"]) -> list[Path]:
    """The files of a split: of raw pixels there is one, of encoded images a folder."""
    return sorted((folder / split).glob("*.arrow")) if encoding == "encoded" else [folder / f"{split}.arrow"]


NAMED = 5
"""How many damaged images an error names."""


def refuse_damaged(damaged: Sequence[str], count: int) -> None:
    """Raise DataError that names some of the `damaged` ones of `count` images, if there are any."""
    if damaged:
        some = "; ".join(damaged[:NAMED]) + ("; ..." if len(damaged) > NAMED else "")
        raise DataError(
            f"{len(damaged)} of {count} images cannot be read: {some} (with `damaged: skip` they are left out)"
        )


def find_prepared(config: DatasetConfig, root: Path) -> Prepared | None:
    """The prepared data set under `root`, or None.

    Raises DataError where the source itself does not exist, or where images were left out and the configuration does not
    allow it.
    """
    folder = prepared_folder(config, root)
    contents = _contents(folder)
    if contents is None:
        return None
    if config.damaged == "fail":
        for split in (contents.train, contents.test):
            refuse_damaged(split.damaged, split.count + len(split.damaged))
    return _configured(contents, folder, config)


def find_known(config: DatasetConfig, fingerprint: str, root: Path) -> Prepared | None:
    """The data set with this fingerprint under `root`, or None: without a look at the source, which may have millions of files."""
    for folder in sorted(root.resolve().glob(f"{config.title}-*")):
        try:
            contents = _contents(folder)
        except ValidationError:  # of another layout
            continue
        if contents is not None and contents.fingerprint == fingerprint:
            return _configured(contents, folder, config)
    return None


def _contents(folder: Path) -> Contents | None:
    try:
        return Contents.model_validate_json((folder / "meta.json").read_text())
    except FileNotFoundError:
        return None


def _configured(contents: Contents, folder: Path, config: DatasetConfig) -> Prepared:
    return Prepared(**dict(contents), folder=folder, image_size=config.usual_size, holdout=config.holdout)


def prepared_folder(config: DatasetConfig, root: Path) -> Path:
    """Where `config` is prepared to: one folder for each source, state of the source, and subset."""
    if config.is_remote:
        from .remote_source import remote_state  # pyarrow

        where, state = str(config.path), remote_state(str(config.path))
    else:
        path = source_path(config)
        where, state = str(path), _state(path, root.resolve())
    key = [LAYOUT, where, state, config.train_images, config.test_images]
    return root.resolve() / f"{config.title}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"


def source_path(config: DatasetConfig) -> Path | None:
    """The configured path, absolute, or None. Raises DataError where nothing is there."""
    if config.path is None:
        return None
    path = Path(config.path).expanduser().resolve()
    if not path.exists():
        raise DataError(
            f"data set '{config.name}': there is nothing at {path}; `path` must be an existing file or folder"
        )
    return path


def _state(path: Path | None, root: Path) -> str:
    """Hash of the names, sizes and times of all files: it changes when any of them is added, removed or rewritten.

    Without those under `root`, where we write ourselves.
    """
    state = hashlib.sha256()
    if path is None:
        return ""
    if path.is_file():
        entries = [("", path.stat())]
    else:
        walked = ((Path(folder), names) for folder, _, names in os.walk(path, followlinks=True))
        files = (folder / name for folder, names in walked if not folder.is_relative_to(root) for name in names)
        entries = sorted((str(file.relative_to(path)), file.stat()) for file in files if file.exists())
    for name, stat in entries:
        state.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return state.hexdigest()
