"""Where MLflow's database is: as the sweep says, or in the store, whatever characters its path has."""

from urllib.parse import quote

from sqlalchemy.engine import make_url

from ..spec.errors import UserError
from ..spec.models import SweepSpec
from ..store.files import Store


def tracking_uri(spec: SweepSpec, store: Store) -> str:
    """The sweep's `tracking`, or a database in the store (beside the sweep where the store is remote)."""
    if spec.tracking is not None:
        return spec.tracking
    return sqlite_uri(store.path("mlflow.db")) if store.is_local else "sqlite:///mlflow.db"


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
