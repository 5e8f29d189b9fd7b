"""Where MLflow's database is: as the sweep says, or in the store, whatever characters its path has. How it is created."""

import contextlib
import glob
import re
import sqlite3
import time
import uuid
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

from ..spec.errors import UserError, show
from ..spec.models import SweepSpec
from ..spec.secrets import without_passwords
from ..store.files import Store

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
RELATIVE = re.compile(r"sqlite:///([^/:?].*)")
PLAIN = re.compile(r"sqlite:///([^#%?:]+)")
"""An address that says the path as it is: to import SQLAlchemy takes longer than all else here."""
NAME = "mlflow.db"
ARTIFACTS = "mlartifacts"
"""Folder beside a SQLite database with the files of its runs."""
ABANDONED_SECONDS = 3600.0
"""A file this old is not being made any more: that takes seconds."""
BUSY_SECONDS = 20.0
"""How long a lock of another program is waited for, here as in MLflow."""


def tracking_uri(spec: SweepSpec, store: Store, base: Path) -> str:
    """The sweep's `tracking`, or a database in the store (next to the sweep file if the store is remote).

    `base` is the sweep file's folder, from which a relative path of a SQLite database is taken.

    Raises:
        UserError: the sweep's is of a kind that MLflow does not have.
    """
    if spec.tracking is None:
        return sqlite_uri(store.path(NAME) if store.is_local else str(base / NAME))
    relative = RELATIVE.fullmatch(spec.tracking)
    if relative is not None:
        return sqlite_uri(str(base / relative[1]))
    scheme, separator, _ = spec.tracking.partition(":")
    if not separator or scheme.partition("+")[0] not in SCHEMES:
        allowed = "http://HOST:PORT, sqlite:///PATH, or another database's address"
        raise UserError(f"tracking: got {show(without_passwords(spec.tracking))}; must be {allowed}")
    return spec.tracking


def sqlite_uri(path: str) -> str:
    """The URI by which SQLAlchemy opens the database at `path`, whatever characters are in it.

    Raises:
        UserError: this version of SQLAlchemy cannot name it.
    """
    if path.isascii() and PLAIN.fullmatch(f"sqlite:///{path}"):
        return f"sqlite:///{path}"  # as nearly always

    from sqlalchemy.engine import make_url

    # MLflow makes the parent folder of what follows `sqlite:///`, which a quoted path is not; `+pysqlite` prevents it.
    for uri in (f"sqlite:///{path}", f"sqlite+pysqlite:///{quote(path)}"):
        url = make_url(uri)
        if url.database == path and not url.query:
            return uri
    raise UserError(f"storage: MLflow's database cannot be at '{path}'; set `tracking`, or use another folder")


def sqlite_path(uri: str) -> Path | None:
    """The file of a SQLite database; None if `uri` is of another kind, or in memory."""
    if not uri.startswith("sqlite"):
        return None
    plain = PLAIN.fullmatch(uri)
    if plain is not None:
        return Path(plain[1])

    from sqlalchemy.engine import make_url

    name = make_url(uri).database
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name)


def ready(uri: str) -> None:
    """Create the database at `uri` if it is a SQLite file that is not there, and see whether it can be read.

    Two processes may find no database at the same moment, and MLflow's migrations may not run side by side. So each makes
    one under a name of its own, complete, and the first one's gets the name that was asked for.

    Raises:
        OSError: the folder cannot be written to.
        sqlite3.Error: the file is locked for long, cannot be opened, or is no database. MLflow would try ten times.
    """
    path = sqlite_path(uri)
    if path is None:
        return
    if not path.exists():
        _create(path)
    with connection(path) as database:
        database.execute("pragma schema_version").fetchone()


def has_run(uri: str, run_id: str) -> bool:
    """Whether a SQLite file has a run that is not deleted; False for other databases and servers, which MLflow has to ask."""
    path = sqlite_path(uri)
    if path is None or not path.exists():
        return False
    query = "select 1 from runs where run_uuid = ? and lifecycle_stage = 'active'"
    try:
        with connection(path) as database:
            return database.execute(query, (run_id,)).fetchone() is not None
    except sqlite3.Error:
        return False


@contextlib.contextmanager
def connection(path: Path) -> Generator[sqlite3.Connection]:
    """The SQLite file at `path`, without implied transactions."""
    database = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        yield database
    finally:
        database.close()


def _create(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # by a process that was killed here
        if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
            left.unlink(missing_ok=True)
    own = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        own.touch()  # an unwritable folder fails here; MLflow would retry for two minutes
        SqlAlchemyStore(sqlite_uri(str(own)), str(path.with_name(ARTIFACTS))).engine.dispose()
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(own)  # fails if the name is taken, unlike a rename
    finally:
        own.unlink(missing_ok=True)
