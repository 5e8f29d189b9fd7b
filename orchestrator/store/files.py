"""The store: what trials and sweeps leave behind, in one place, on a disk or an object store, through `pyarrow.fs`.

    <storage>/trials/<trial id>/   trial.json  events.jsonl  checkpoints/  pretrain.json  backbone.safetensors
                                   evaluations/<evaluation id>.json  failure.json  log.txt
    <storage>/sweeps/<name>/       sweep.yaml  trials.json  report/

Every write is atomic: a reader finds the old content, or the new, and after a crash nothing half-written. What is done
is read from here and from nowhere else, so a sweep resumes after the loss of any process, and of Ray's own state.
"""

import contextlib
import json
import os
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import ArrowInvalid, fs

from ..spec.errors import UserError
from .records import Record

R = TypeVar("R", bound=Record)


class Store:
    """A folder of files, local or remote. Paths are relative, with ``/``."""

    def __init__(self, location: str):
        """Open the store at `location`: a folder, or a URI such as ``s3://bucket/runs``.

        Raises:
            UserError: the location cannot be used.
        """
        self.location = location
        self.is_local = "://" not in location
        try:
            if self.is_local:
                self.location = str(Path(location).expanduser().absolute())
                self.fs, self.root = fs.LocalFileSystem(), self.location
            else:
                self.fs, self.root = fs.FileSystem.from_uri(location)
            self.fs.create_dir(self.root, recursive=True)
        except (OSError, ArrowInvalid) as error:
            raise UserError(f"storage '{location}' cannot be used: {error}") from None

    def path(self, name: str) -> str:
        """Full path of `name`, as users and other tools write it."""
        return f"{self.location}/{name}"

    def exists(self, name: str) -> bool:
        return self.fs.get_file_info(f"{self.root}/{name}").type != fs.FileType.NotFound

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders in `folder`, sorted; none where there is no such folder."""
        selector = fs.FileSelector(f"{self.root}/{folder}", allow_not_found=True)
        return sorted(info.base_name for info in self.fs.get_file_info(selector) if not info.base_name.endswith(".tmp"))

    def read(self, name: str) -> bytes | None:
        """The content of `name`, or None where there is no such file."""
        try:
            with self.fs.open_input_file(f"{self.root}/{name}") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write `name` at once: object stores replace whole objects; on a disk a temporary file is renamed."""
        target = f"{self.root}/{name}"
        if not self.is_local:
            with self.fs.open_output_stream(target) as stream:
                stream.write(content)
            return
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)

    def append(self, name: str, lines: list[str]) -> None:
        """Add whole lines. A line that a crash cut short is dropped first."""
        text = "".join(f"{line}\n" for line in lines).encode()
        if not self.is_local:
            self.write(name, _whole_lines(self.read(name) or b"") + text)
            return
        path = Path(f"{self.root}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            if size:
                stream.seek(-1, os.SEEK_END)
                if stream.read(1) != b"\n":
                    stream.seek(0)
                    stream.truncate(len(_whole_lines(stream.read())))
            stream.write(text)

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.fs.delete_file(f"{self.root}/{name}")

    def read_json(self, name: str) -> Any:
        """The JSON in `name`, or None where there is no such file."""
        content = self.read(name)
        return None if content is None else json.loads(content)

    def write_json(self, name: str, value: Any) -> None:
        self.write(name, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())

    def read_record(self, name: str, record: type[R]) -> R | None:
        content = self.read(name)
        return None if content is None else record.model_validate_json(content)

    def write_record(self, name: str, record: Record) -> None:
        self.write(name, record.model_dump_json(indent=2).encode())

    def lines(self, name: str) -> list[str]:
        """The whole lines of a file of lines."""
        return _whole_lines(self.read(name) or b"").decode().splitlines()

    @contextlib.contextmanager
    def lock(self, name: str) -> Generator[bool]:
        """Hold `name` for one process; yields whether it was free. The kernel lets go of it when a process dies.

        Only disks have locks: on an object store it is always free, and the caller's own order has to do.
        """
        if not self.is_local:
            yield True
            return
        import fcntl

        path = Path(f"{self.root}/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def _whole_lines(content: bytes) -> bytes:
    return content[: content.rfind(b"\n") + 1]
