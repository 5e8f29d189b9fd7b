"""After a store was moved to another folder: its database still has the former places of the artifacts."""

import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..store.files import Store
from .database import ARTIFACTS, connection, sqlite_path

PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"))


def follow_store(store: Store, uri: str) -> None:
    """Point the experiments and runs of the database at `uri`, if it is inside `store`, to the artifacts' present place.

    Only places that such a database gets are rewritten, in one transaction; nothing is written if all are as they should be.
    A place that still has its artifacts is kept if there are none here.

    Raises:
        sqlite3.Error: the database cannot be used now.
    """
    path = sqlite_path(uri)
    if path is None or not store.is_local or not path.exists():
        return
    if not path.resolve().is_relative_to(Path(store.location).resolve()):
        return
    present = path.absolute().with_name(ARTIFACTS)
    with connection(path) as database:
        former = [place for place in _locations(database) if _is_former(place, present)]
        if not former:
            return
        database.execute("begin immediate")
        for place in former:
            for table, column in PLACES:
                database.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) where {column} = ? or substr({column}, 1, ?) = ?",
                    (present.as_uri(), len(place) + 1, place, len(place) + 1, f"{place}/"),
                )
        database.execute("commit")


def _locations(database: sqlite3.Connection) -> list[str]:
    """Of the experiments that have one of their own; none in a database that MLflow has not set up."""
    if database.execute("select 1 from sqlite_master where name = 'experiments'").fetchone() is None:
        return []
    found = database.execute("select distinct artifact_location from experiments where artifact_location is not null")
    return [str(location) for (location,) in found]


def _is_former(place: str, present: Path) -> bool:
    """Whether `place` is where a database of a store elsewhere has its artifacts, and they are not there, or here as well."""
    parts = urlsplit(place)
    if parts.scheme != "file" or not parts.path.endswith(f"/{ARTIFACTS}") or place == present.as_uri():
        return False
    return present.is_dir() or not Path(unquote(parts.path)).exists()
