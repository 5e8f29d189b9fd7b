"""Deleting what lies under a lease: whoever deletes holds it, so nothing that runs loses a file."""

from collections.abc import Iterable, Sequence

from .files import Store, parallel
from .lease import Lease, acquire

FIRST = ("state.json", "trial.json")
"""Deleted before all else: should the rest survive a crash, it is no trial any more."""


def remove_trial(store: Store, trial_id: str) -> bool:
    """Delete the folder of a trial; False, and nothing is deleted, if somebody runs it."""
    assert trial_id.strip(".") and "/" not in trial_id, "a folder of its own"
    lease = acquire(store, f"trials/{trial_id}")
    if lease is None:
        return False
    remove_held(lease)
    return True


def remove_files(store: Store, folder: str, names: Sequence[str]) -> bool:
    """Delete some files of a trial's folder; False, and nothing is deleted, if somebody runs it."""
    lease = acquire(store, folder)
    if lease is None:
        return False
    try:
        _delete(store, names)
        for place in {name.rpartition("/")[0] for name in names} - {folder}:
            store.prune(place)
    finally:
        lease.release()
    return True


def remove_held(lease: Lease) -> None:
    """Delete the folder whose lease this is, and the lease last. Should the store fail, the lease is released."""
    store, folder = lease.store, lease.folder
    try:
        names = [file.name for file in store.walk(folder) if not file.name.startswith(f"{folder}/lease/")]
        first = [f"{folder}/{name}" for name in FIRST]
        for name in first:
            store.delete(name)
        _delete(store, [name for name in names if name not in first])
        lease.delete()
    finally:
        lease.release()  # unless it is deleted
    store.prune(folder)


def _delete(store: Store, names: Iterable[str]) -> None:
    names = list(names)
    assert all(name.startswith(("trials/", "sweeps/")) for name in names), "nothing else is ours to delete"
    parallel(store.delete, names)
