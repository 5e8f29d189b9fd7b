"""Which file a sweep's name belongs to: a second file with the same name must not take its trials and report away."""

import os
import platform
from pathlib import Path
from typing import ClassVar

from ..spec.errors import UserError
from ..spec.models import SweepSpec
from .files import Store
from .records import Record

ORIGIN = "SSL_SWEEP_ORIGIN"
"""Environment variable of a job on a cluster: the file that it was submitted from."""


class Origin(Record):
    """Where a sweep was submitted from."""

    lost: ClassVar[str] = "the next file with the sweep's name takes it over"

    file: str
    """``host:path``."""


def origin_of(path: Path) -> str:
    """The sweep file as ``host:path``."""
    return os.environ.get(ORIGIN) or f"{platform.node()}:{path.resolve()}"


def refuse_other_file(spec: SweepSpec, store: Store, path: Path, text: str, *, replace: bool) -> None:
    """Note the sweep's file, the first time or if it is the same one; a file that was only moved may differ in its place.

    `text`: of the file, with what the command line overrides.

    Raises:
        UserError: another file with other content has the name, and is not to be replaced.
    """
    name = f"sweeps/{spec.name}/origin.json"
    before, now = store.read_record(name, Origin), Origin(file=origin_of(path))
    if before is not None and before != now and not replace:
        content = store.read(f"sweeps/{spec.name}/sweep.yaml")
        if content != text.encode():
            raise UserError(
                f"name: '{spec.name}' in {store.location} is the sweep of {before.file}, and {path} differs from it;"
                " choose another name, or replace that sweep with --replace (trials are kept)"
            )
    if before != now:
        store.write_record(name, now)
