"""What a store holds: bytes by sweep, and what no sweep asks for."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from ..search.points import Points
from ..spec.errors import UserError
from ..store.disk import StoredFile
from ..store.files import Store
from ..store.kept_features import FOLDER as FEATURES
from ..store.records import Record
from ..store.trial_list import TrialList

R = TypeVar("R", bound=Record)


class UsageRow(NamedTuple):
    """What a sweep takes; the last row is what no sweep asks for."""

    sweep: str | None
    trials: int
    """That have a folder."""
    bytes: int
    """Of its own folder and of all its trials."""
    frees: int
    """Of that, what `rm` would free: trials that no other sweep asks for."""
    features: int
    """Of `bytes`, kept features, which `gc --features` deletes."""


class Contents(NamedTuple):
    """The files of a store, by what they are of."""

    trials: Mapping[str, list[StoredFile]]
    sweeps: Mapping[str, list[StoredFile]]

    def bytes_of(self, trial_id: str) -> int:
        """Of a trial; 0 if it has no folder."""
        return sum(file.bytes for file in self.trials.get(trial_id, ()))

    def features_of(self, trial_id: str) -> int:
        """Bytes of a trial's kept features."""
        return sum(file.bytes for file in features_among(self.trials.get(trial_id, ()), trial_id))


def features_among(files: Iterable[StoredFile], trial_id: str) -> list[StoredFile]:
    """Of the files of a trial, those of its kept features."""
    return [file for file in files if file.name.startswith(f"trials/{trial_id}/{FEATURES}/") and not file.is_temporary]


def contents(store: Store) -> Contents:
    """All files below `trials/` and `sweeps/`."""
    return Contents(_by_folder(store, "trials"), _by_folder(store, "sweeps"))


def references(store: Store) -> dict[str, frozenset[str]]:
    """Of each sweep, the ids of its trials: those it lists, and those of its search's points.

    Raises:
        UserError: a list is damaged, so that it cannot be said what is in use.
    """
    found: dict[str, frozenset[str]] = {}
    for sweep in store.names("sweeps"):
        listed = _read(store, f"sweeps/{sweep}/trials.json", TrialList)
        points = _read(store, f"sweeps/{sweep}/search.json", Points)
        ids = {item.id for item in listed.trials} if listed else set[str]()
        found[sweep] = frozenset(ids | {point.trial_id for point in (points.points if points else ())})
    return found


def given_in_use(store: Store) -> frozenset[str]:
    """Names, up to the digest, of the copies of given weights and label lists that trials of any sweep use.

    Raises:
        UserError: as `references`.
    """
    found: set[str] = set()
    for sweep in store.names("sweeps"):
        listed = _read(store, f"sweeps/{sweep}/trials.json", TrialList)
        for item in listed.trials if listed else ():
            given = (item.trial.get("backbone") or {}).get("weights") or {}
            found |= {f"weights/{given['sha256']}"} if given.get("sha256") else set()
            lists = [entry.get("labels") for entry in item.trial.get("evaluate") or ()]
            found |= {f"labels/{labels['sha256']}" for labels in lists if isinstance(labels, dict)}
    return frozenset(found)


def usage_rows(storage: str) -> list[UsageRow]:
    """A row for each sweep, and one for the trials that none asks for."""
    store = Store(storage)
    held, asked = contents(store), references(store)
    users = Counter(trial_id for ids in asked.values() for trial_id in ids)
    rows: list[UsageRow] = []
    for sweep, ids in asked.items():
        own = sum(file.bytes for file in held.sweeps.get(sweep, ()))
        alone = sum(held.bytes_of(trial_id) for trial_id in ids if users[trial_id] == 1)
        whole = sum(map(held.bytes_of, ids))
        features = sum(map(held.features_of, ids))
        rows.append(UsageRow(sweep, len(ids & held.trials.keys()), own + whole, own + alone, features))
    unused = [trial_id for trial_id in held.trials if trial_id not in users]
    size = sum(map(held.bytes_of, unused))
    return [*rows, UsageRow(None, len(unused), size, size, sum(map(held.features_of, unused)))]


def total_bytes(storage: str) -> int:
    """Of everything below `trials/` and `sweeps/`, each file once."""
    held = contents(Store(storage))
    return sum(file.bytes for part in held for files in part.values() for file in files)


def _by_folder(store: Store, top: str) -> dict[str, list[StoredFile]]:
    found: dict[str, list[StoredFile]] = {}
    for file in store.walk(top):
        _, name, *rest = file.name.split("/")
        if rest:  # a file beside the folders is none of ours
            found.setdefault(name, []).append(file)
    return found


def _read(store: Store, name: str, record: type[R]) -> R | None:
    found = store.read_record(name, record)
    if found is None and store.exists(name):
        raise UserError(
            f"{store.path(name)} is damaged, so it is not known which trials the sweep uses;"
            " submit the sweep again, which writes it anew"
        )
    return found
