"""Which sweep a user means: its file, or its name in a store."""

from pathlib import Path
from typing import NamedTuple

from ..spec.errors import UserError, did_you_mean
from ..spec.load import load_spec
from ..store.files import Store


class Place(NamedTuple):
    """A sweep in its store."""

    store: Store
    name: str

    @property
    def folder(self) -> str:
        """Its folder in the store, whose lease is that of its driver."""
        return f"sweeps/{self.name}"


def locate(sweep: str, storage: str) -> Place:
    """The sweep of a file, or else the one that has this name in the store at `storage`.

    Raises:
        UserError: there is neither, or the file has errors.
    """
    if Path(sweep).exists():
        spec, _ = load_spec(Path(sweep))
        return Place(Store(spec.storage), spec.name)
    store = Store(storage)
    known = store.names("sweeps")
    if sweep not in known:
        listed = f"{did_you_mean(sweep, known)} (it has: {', '.join(known)})" if known else ", which has none"
        raise UserError(f"'{sweep}' is no file, and no sweep in {store.location}{listed}")
    return Place(store, sweep)
