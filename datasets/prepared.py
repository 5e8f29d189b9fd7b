"""What a prepared data set is, and where it lies. Free of torch and pyarrow, so that plans are made quickly."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ..methods.quantities import plural
from .config import ColumnsConfig, DatasetConfig
from .contents import Contents, Split, SplitInfo, arrow_files, is_whole, read_contents
from .errors import DataError
from .list_file import read_list
from .registry import DATASETS
from .walk import walk

LAYOUT = 2
"""Raised whenever the stored files change their meaning; older ones are then prepared again."""


class Prepared(Contents):
    """A data set that is ready: its contents, where they lie, and how the configuration wants them used."""

    folder: Path
    image_size: int
    holdout: float
    title: str = ""
    """What a user is shown; empty: the name."""

    def split(self, split: Split) -> SplitInfo:
        return self.train if split == "train" else self.test

    def arrow_files(self, split: Split) -> list[Path]:
        return arrow_files(self.folder, split, self.split(split))

    @property
    def checksums(self) -> dict[Path, str]:
        """SHA-256 of every file as it was written."""
        files = self.arrow_files("train") + self.arrow_files("test")
        return dict(zip(files, self.train.checksums + self.test.checksums, strict=True))


NAMED = 5
"""How many damaged images an error names."""


def refuse_damaged(damaged: Sequence[str], count: int) -> None:
    """Raise DataError that names some of the `damaged` ones of `count` images, if there are any."""
    if damaged:
        some = "; ".join(damaged[:NAMED]) + ("; ..." if len(damaged) > NAMED else "")
        rest = "with `damaged: skip` they are left out" if len(damaged) < count else "so none is left"
        raise DataError(f"{len(damaged)} of {plural(count, 'image')} cannot be read: {some} ({rest})")


def find_prepared(config: DatasetConfig, root: Path) -> Prepared | None:
    """The prepared data set under `root`; None if there is none, or with a warning if what is there is not whole.

    Raises DataError where the source itself does not exist, or where images were left out and the configuration does not
    allow it.
    """
    folder = prepared_folder(config, root)
    contents = read_contents(folder)
    if contents is None or not is_whole(folder, contents):
        return None
    if config.damaged == "fail":
        for split in (contents.train, contents.test):
            refuse_damaged(split.damaged, split.count + len(split.damaged))
    return _configured(contents, folder, config)


def find_known(config: DatasetConfig, fingerprint: str, root: Path) -> Prepared | None:
    """The data set with this fingerprint under `root`, or None: without a look at the source, which may have millions of files.

    Folders that are not whole are passed over with a warning.
    """
    for folder in sorted(root.resolve().glob(f"{config.kind}-*")):
        contents = read_contents(folder)
        if contents is not None and contents.fingerprint == fingerprint and is_whole(folder, contents):
            return _configured(contents, folder, config)
    return None


def _configured(contents: Contents, folder: Path, config: DatasetConfig) -> Prepared:
    return Prepared(
        **dict(contents), folder=folder, image_size=config.usual_size, holdout=config.holdout, title=config.display_name
    )


def prepared_folder(config: DatasetConfig, root: Path) -> Path:
    """Where `config` is prepared to: one folder for each source, state of the source, and subset."""
    if config.is_remote:
        from .remote_source import remote_state  # pyarrow

        where, state = str(config.path), remote_state(str(config.path))
    else:
        path = source_path(config)
        where, state = str(path), _state(path, root.resolve(), config)
    key: list[object] = [LAYOUT, where, state, config.train_images, config.test_images]
    if config.columns is not None:
        key.append(config.columns.model_dump(exclude_none=True))
    if reading := DATASETS[config.name].reading:
        key.append(f"reading {reading}")
    return root.resolve() / f"{config.kind}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"


def source_path(config: DatasetConfig) -> Path | None:
    """The configured path, absolute, or None. Raises DataError where nothing is there."""
    if config.path is None:
        return None
    path = Path(config.path).expanduser().resolve()
    if not path.exists():
        raise DataError(
            f"data set '{config.display_name}': there is nothing at {path}; `path` must be an existing file or folder"
        )
    return path


def _state(path: Path | None, root: Path, config: DatasetConfig) -> str:
    """Hash of the names, sizes and times of all files: it changes when any of them is added, removed or rewritten.

    Without those under `root`, where we write ourselves. Raises DataError if a folder or a list cannot be read.
    """
    state = hashlib.sha256()
    if path is None:
        return ""
    if path.is_file():
        listed = read_list(path, config.columns or ColumnsConfig()) if config.name == "list" else []
        entries = [("", path.stat()), *((one.path, one.file.stat()) for one in listed if one.file.exists())]
    else:
        walked = (found for found in walk(path) if not found.folder.is_relative_to(root))
        files = (found.folder / name for found in walked for name in found.files)
        entries = sorted((str(file.relative_to(path)), file.stat()) for file in files if file.exists())
    for name, stat in entries:
        state.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return state.hexdigest()
