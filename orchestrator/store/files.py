"""The store: what trials and sweeps leave behind, in one place, on a disk or an object store.

    <storage>/trials/<trial id>/   trial.json  events/  checkpoints/  pretrain.json  backbone.safetensors
                                   evaluations/<evaluation id>.json  confusion/<evaluation id>.json  failure.json  log.txt  lease/
    <storage>/sweeps/<name>/       sweep.yaml  trials.json  search.json  report/
    <storage>/probes/              what kinds of trials need of a GPU

Every write is atomic: a reader finds the old content, or the new, and after a crash nothing half-written. What is read
is checked: a damaged file counts as absent, with a warning that names it. What is done is read from here and from
nowhere else, so a sweep resumes after the loss of any process, and of Ray's own state.
"""

import contextlib
import errno
import logging
import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ..spec.errors import UserError
from ..spec.locations import without_file_scheme
from ..spec.secrets import OF_STORES, has_credentials
from .checked import DamagedError, digest, sealed, sealed_record, unsealed, unsealed_record
from .disk import Disk, StoredFile
from .fault import Fault
from .records import Record

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Record)
S = TypeVar("S")
T = TypeVar("T")

LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""What a system says of a disk that is full or that may not be written to."""
READERS = 16
"""Threads of a parallel read."""
PROBES = 3
"""Calls that come first, one after another, to see whether they wait."""
WORTH_THREADS = 0.0005
"""Seconds of waiting in each call from which threads pay."""


class StoreError(UserError):
    """The store cannot be used; the message names it, and the cause is the system's own error."""

    @property
    def fault(self) -> Fault:
        """Whether this may pass, or nothing can be kept."""
        cause = self.__cause__
        lasting = isinstance(cause, OSError) and cause.errno in LASTING
        return Fault.STORE_FULL if lasting else Fault.STORE_ERROR


class Files(Protocol):
    """The few operations that a disk and an object store share; all else is made of them."""

    def read(self, name: str) -> bytes | None: ...
    def size(self, name: str) -> int | None: ...
    def names(self, folder: str) -> list[str]: ...
    def write(self, name: str, content: bytes, *, durable: bool) -> None: ...
    def create(self, name: str, content: bytes) -> bool: ...
    def delete(self, name: str) -> None: ...
    def walk(self, folder: str) -> list[StoredFile]: ...
    def prune(self, folder: str) -> None: ...


class Store:
    """A folder of files, local or remote. Names are relative, with ``/``.

    Every method raises StoreError if the location cannot be used.
    """

    def __init__(self, location: str):
        """Open the store at `location`: a folder, or an address such as ``s3://bucket/runs``. Creates nothing.

        Raises:
            StoreError: there is no such kind of location.
        """
        if has_credentials(location):
            raise StoreError(f"storage {OF_STORES}")
        self.location = location
        self._reported: set[str] = set()
        self._disk: Disk | None = None
        self._files: Files
        try:
            local = without_file_scheme(location)
            self.is_local = "://" not in local
            if self.is_local:
                self.location = str(Path(local).expanduser().absolute())
                self._files = self._disk = Disk(self.location)
            else:
                from .bucket import Bucket  # imports obstore, which those who read a folder do not need

                self.location = location.rstrip("/")
                self._files = Bucket(self.location)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: `~user` of nobody
            raise StoreError(f"storage '{location.partition('?')[0]}' cannot be used: {error}") from error

    def path(self, name: str) -> str:
        """Full path of `name`, as users and other tools write it."""
        return f"{self.location}/{name}"

    # -- files --

    def read(self, name: str) -> bytes | None:
        """The content of `name`, or None if there is no such file."""
        with self._errors():
            return self._files.read(name)

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        """As `read`, of many files in parallel, in the order of `names`."""
        with self._errors():
            return parallel(self._files.read, names)

    def size(self, name: str) -> int | None:
        """Bytes of `name`, or None if there is no such file."""
        with self._errors():
            return self._files.size(name)

    def exists(self, name: str) -> bool:
        return self.size(name) is not None

    def names(self, folder: str) -> list[str]:
        """Names of the files and folders in `folder`, sorted; none if there is no such folder."""
        with self._errors():
            return self._files.names(folder)

    def write(self, name: str, content: bytes, *, durable: bool = True) -> None:
        """Write `name` at once: an object is replaced as a whole; on a disk a synced temporary file is renamed.

        Unless `durable`, it is not synced: a power cut may leave the old content, or an empty file, which counts as damaged.
        """
        with self._errors():
            self._files.write(name, content, durable=durable)

    def create(self, name: str, content: bytes) -> bool:
        """Write `name` only if it is absent: of any number of callers at once, exactly one gets True."""
        with self._errors():
            return self._files.create(name, content)

    def append(self, name: str, lines: Sequence[str]) -> None:
        """Add whole lines to a file on a disk. Objects cannot grow: see `segments`."""
        assert self._disk is not None, "objects cannot grow"
        with self._errors():
            self._disk.append(name, "".join(f"{line}\n" for line in lines).encode())

    def delete(self, name: str) -> None:
        with self._errors():
            self._files.delete(name)

    def walk(self, folder: str) -> list[StoredFile]:
        """All files below `folder`, leftovers of writes that were cut short included."""
        with self._errors():
            return self._files.walk(folder)

    def prune(self, folder: str) -> None:
        """Remove `folder` if no file is left below it, and the empty folders in it."""
        with self._errors():
            self._files.prune(folder)

    # -- JSON with checksums --

    def read_json(self, name: str, lost: str = Record.lost) -> Any:
        """The JSON in `name`; None if there is no such file, or a damaged one (then a warning says that `lost`)."""
        return self._checked(name, unsealed, lost)

    def write_json(self, name: str, value: Mapping[str, object]) -> None:
        self.write(name, sealed(value))

    def read_record(self, name: str, record: type[R]) -> R | None:
        """The record in `name`; None if there is no such file, or a damaged one (with a warning)."""
        return self._checked(name, lambda content: unsealed_record(content, record), record.lost)

    def write_record(self, name: str, record: Record, *, durable: bool = True) -> None:
        self.write(name, sealed_record(record), durable=durable)

    # -- blobs --

    def write_blob(self, name: str, content: bytes) -> str:
        """Write large content; returns the digest to read it with, which the caller keeps."""
        self.write(name, content)
        return digest(content)

    def read_blob(self, name: str, expected: str, lost: str) -> bytes | None:
        """Content whose digest starts with `expected`; None if it is absent or damaged (with a warning)."""

        def intact(content: bytes) -> bytes:
            if not digest(content).startswith(expected):
                raise DamagedError("its checksum differs" if content else "it is empty")
            return content

        return self._checked(name, intact, lost)

    def _checked(self, name: str, check: Callable[[bytes], T], lost: str) -> T | None:
        content = self.read(name)
        if content is None:
            return None
        try:
            return check(content)
        except DamagedError as error:
            self.report_damage(name, str(error), lost)
            return None

    def report_damage(self, name: str, how: str, lost: str) -> None:
        """Warn of a damaged file, once: `how` it shows and what is `lost`, as parts of a sentence."""
        message = f"{self.path(name)} is damaged ({how}): {lost}"
        if message not in self._reported:
            self._reported.add(message)
            log.warning("%s", message)

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        """What the system or the object store says, as one error that names the store."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"storage '{self.location}' cannot be used: {_reason(error)}") from error


def parallel(function: Callable[[S], T], items: Sequence[S]) -> list[T]:
    """`function` of each item, in their order; on several threads if the first calls wait, as for a network.

    A call that only computes, or reads what the system has in memory, is slower with threads: they take turns.
    """
    done: list[T] = []
    waits = [math.inf]
    for item in items[:PROBES]:
        began, used = time.perf_counter(), time.thread_time()
        done.append(function(item))
        waits.append(time.perf_counter() - began - (time.thread_time() - used))
    rest = items[PROBES:]
    if not rest or min(waits) < WORTH_THREADS:
        return [*done, *map(function, rest)]
    # A slice for each thread: a task for each item would cost more than a small read.
    with ThreadPoolExecutor(READERS) as pool:
        slices = list(pool.map(lambda i: [function(item) for item in rest[i::READERS]], range(READERS)))
    return [*done, *(slices[i % READERS][i // READERS] for i in range(len(rest)))]


def _reason(error: OSError) -> str:
    place = f": '{error.filename}'" if error.filename else ""
    return f"{error.strerror}{place}" if error.strerror else str(error)
