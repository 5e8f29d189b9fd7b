"""Which sweep a user means: its file, or its name in a store."""

from collections.abc import Sequence
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


def refuse_overrides(sweep: str, overrides: Sequence[str]) -> None:
    """Raise UserError if there are any, for a sweep that is named without its file."""
    if overrides:
        raise UserError(f"--set {overrides[0]}: '{sweep}' is no file; only values of a sweep file can be overridden")


def locate(sweep: str, storage: str, overrides: Sequence[str] = ()) -> Place:
    """The sweep of a file, with its `overrides`, or else the one that has this name in the store at `storage`.

    Raises:
        UserError: there is neither, or the file has errors.
    """
    if Path(sweep).exists():
        spec, _ = load_spec(Path(sweep), overrides)
        return Place(Store(spec.storage), spec.name)
    refuse_overrides(sweep, overrides)
    store = Store(storage)
    known = store.names("sweeps")
    if sweep not in known:
        listed = f"{did_you_mean(sweep, known)} (it has: {', '.join(known)})" if known else ", which has none"
        raise UserError(f"'{sweep}' is no file, and no sweep in {store.location}{listed}")
    return Place(store, sweep)
