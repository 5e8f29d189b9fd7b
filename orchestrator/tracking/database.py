"""Where MLflow's database is: as the sweep says, or in the store, whatever characters its path has."""

from urllib.parse import quote

from sqlalchemy.engine import make_url

from ..spec.errors import UserError, show
from ..spec.models import SweepSpec
from ..store.files import Store

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")


def tracking_uri(spec: SweepSpec, store: Store) -> str:
    """The sweep's `tracking`, or a database in the store (next to the sweep if the store is remote).

    Raises:
        UserError: the sweep's is of a kind that MLflow does not have.
    """
    if spec.tracking is None:
        return sqlite_uri(store.path("mlflow.db")) if store.is_local else "sqlite:///mlflow.db"
    scheme, separator, _ = spec.tracking.partition(":")
    if not separator or scheme.partition("+")[0] not in SCHEMES:
        allowed = "http://HOST:PORT, sqlite:///PATH, or another database's address"
        raise UserError(f"tracking: got {show(spec.tracking)}; must be {allowed}")
    return spec.tracking


def sqlite_uri(path: str) -> str:
    """The URI by which SQLAlchemy opens the database at `path`, whatever characters are in it.

    Raises:
        UserError: this version of SQLAlchemy cannot name it.
    """
    # MLflow makes the parent folder of what follows `sqlite:///`, which a quoted path is not; `+pysqlite` prevents it.
    for uri in (f"sqlite:///{path}", f"sqlite+pysqlite:///{quote(path)}"):
        url = make_url(uri)
        if url.database == path and not url.query:
            return uri
    raise UserError(f"storage: MLflow's database cannot be at '{path}'; set `tracking`, or use another folder")
