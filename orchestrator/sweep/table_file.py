"""A table that is written part by part, as a Parquet or an Arrow file, and appears under its name once it is whole."""

import contextlib
import uuid
from collections.abc import Generator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ..spec.errors import UserError
from ..spec.locations import is_address
from ..store.disk import TEMPORARY

SUFFIXES = (".parquet", ".arrow")


def table_file(name: str, *, force: bool) -> Path:
    """The file that `TableFile` is to write, by its name.

    Raises:
        UserError: no table can have this name, or the file exists and is not to be replaced.
    """
    out = Path(name)
    if is_address(name) or out.suffix not in SUFFIXES:
        raise UserError(f"got '{name}'; must be a file on a disk, named .parquet or .arrow (Arrow IPC)")
    if out.is_dir():
        raise UserError(f"{out} is a folder; name a file")
    if out.exists() and not force:
        raise UserError(f"{out} exists; name another file, or replace it with --force")
    return out


class TableFile:
    """Use it in a `with` block: if the block fails, no file is left.

    All that is written raises UserError if it is impossible.
    """

    def __init__(self, out: Path):
        self.out = out
        self._temporary = out.with_name(f".{out.name}.{uuid.uuid4().hex}{TEMPORARY}")
        self._stream: BinaryIO | None = None
        self._writer: pa.ipc.RecordBatchFileWriter | pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        with self._errors():
            self._stream = self._temporary.open("xb")
        return self

    def write(self, part: pa.RecordBatch) -> None:
        """Add rows; those of one part are a row group of their own."""
        with self._errors():
            if self._writer is None:
                self._writer = self._opened(part.schema)
            self._writer.write_batch(part)

    def _opened(self, schema: pa.Schema) -> "pa.ipc.RecordBatchFileWriter | pq.ParquetWriter":
        if self.out.suffix == ".arrow":
            return pa.ipc.new_file(self._stream, schema)
        texts: Any = [field.name for field in schema if pa.types.is_string(field.type)]
        plain: Any = [field.name for field in schema if not pa.types.is_nested(field.type)]
        # Features are as good as random bits: compression and dictionaries cost time and gain nothing.
        return pq.ParquetWriter(self._stream, schema, compression="none", use_dictionary=texts, write_statistics=plain)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None
        try:
            with self._errors() if error is None else contextlib.suppress(Exception):
                if self._writer is not None:
                    self._writer.close()
                self._stream.close()
                if error is None:
                    self._temporary.replace(self.out)
        finally:
            with contextlib.suppress(OSError):
                self._stream.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink()

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.out} cannot be written: {error.strerror or error}") from None
