"""After a store was moved to another folder: its database still has the former places of the artifacts."""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..store.files import Store
from .database import ARTIFACTS, BUSY_SECONDS, sqlite_path

PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"))


def follow_store(store: Store, uri: str) -> None:
    """Point the experiments and runs of the database at `uri`, if it is inside `store`, to the artifacts' present place.

    Only places that such a database gets are rewritten, in one transaction; nothing is written if all are as they should be.
    A place that still has its artifacts is kept if there are none here.

    Raises:
        sqlite3.Error: the database cannot be used now.
    """
    database = sqlite_path(uri)
    if database is None or not store.is_local or not database.exists():
        return
    if not database.resolve().is_relative_to(Path(store.location).resolve()):
        return
    present = Path(store.path(ARTIFACTS))
    with contextlib.closing(sqlite3.connect(database, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        former = [place for place in _locations(connection) if _is_former(place, present)]
        if not former:
            return
        connection.execute("begin immediate")
        for place in former:
            for table, column in PLACES:
                connection.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) where {column} = ? or substr({column}, 1, ?) = ?",
                    (present.as_uri(), len(place) + 1, place, len(place) + 1, f"{place}/"),
                )
        connection.execute("commit")


def _locations(connection: sqlite3.Connection) -> list[str]:
    """Of the experiments that have one of their own; none in a database that MLflow has not set up."""
    if connection.execute("select 1 from sqlite_master where name = 'experiments'").fetchone() is None:
        return []
    found = connection.execute("select distinct artifact_location from experiments where artifact_location is not null")
    return [str(location) for (location,) in found]


def _is_former(place: str, present: Path) -> bool:
    """Whether `place` is where a database of a store elsewhere has its artifacts, and they are not there, or here as well."""
    parts = urlsplit(place)
    if parts.scheme != "file" or not parts.path.endswith(f"/{ARTIFACTS}") or place == present.as_uri():
        return False
    return present.is_dir() or not Path(unquote(parts.path)).exists()
