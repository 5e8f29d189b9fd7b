"""What may be deleted from a store, and its deletion: a sweep (`rm`), or what nothing needs any more (`gc`)."""

import re
import shlex
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..spec.errors import UserError
from ..store.disk import StoredFile
from ..store.files import Store
from ..store.lease import held, holder
from ..store.removal import FIRST, remove_files, remove_held, remove_trial
from ..store.trial_folder import TrialStore
from .place import Place
from .usage import Contents, contents, features_among, given_in_use, references

OLD_SECONDS = 24 * 3600.0
"""A write takes no longer: a temporary file of this age is of a process that died."""


class Removal(NamedTuple):
    """What the removal of a sweep deletes."""

    trials: Sequence[str]
    """That no other sweep asks for."""
    shared: int
    """Trials that stay, because others do."""
    bytes: int


class Garbage(NamedTuple):
    """Something that nothing needs."""

    kind: str
    """``trial``, ``checkpoints``, ``features``, ``weights`` or ``leftovers``."""
    folder: str
    """In the store, of a trial or a sweep; of weights, their files without the ending."""
    bytes: int
    names: Sequence[str]
    """The files."""


def plan_removal(place: Place) -> Removal:
    """What `remove_sweep` would delete. Raises UserError while the sweep runs."""
    _refuse_running(place)
    return _removal(place)


def remove_sweep(place: Place, first: Callable[[], object]) -> list[str]:
    """Delete a sweep's trials, but for those that others ask for, then its folder; returns the trials that run and stay.

    `first` is called when it is certain that the sweep does not run.

    Raises:
        UserError: it runs.
    """
    with held(place.store, place.folder) as lease:
        if lease is None:
            _refuse_running(place)
            raise UserError(f"sweep '{place.name}' is running; stop it first")
        first()
        running = [trial_id for trial_id in _removal(place).trials if not remove_trial(place.store, trial_id)]
        remove_held(lease)
    return running


def find_garbage(store: Store, now: float | None = None, *, features: bool = False) -> list[Garbage]:
    """Trials, given weights and label lists that no sweep asks for, checkpoints of what is done, and leftovers of writes.

    `features`: also the kept features of trials that sweeps ask for. Nothing that somebody runs; of given files and leftovers
    what is older than a day, for a sweep lists its trials once its data are prepared.
    """
    files, sweeps = contents(store), references(store)
    asked = frozenset().union(*sweeps.values())
    running = [name for name in sweeps if holder(store, f"sweeps/{name}") is not None]
    searched = frozenset().union(*(sweeps[name] for name in running))
    old = (time.time() if now is None else now) - OLD_SECONDS
    found: list[Garbage] = []
    for trial_id, held_files in files.trials.items():
        folder = f"trials/{trial_id}"
        if trial_id not in asked:
            if _is_trial(held_files, folder) and holder(store, folder) is None:
                found.append(_garbage("trial", folder, held_files))
            continue
        done = _of_what_is_done(store, trial_id, held_files, searched=trial_id in searched)
        kept = features_among(held_files, trial_id) if features else []
        if (done or kept) and holder(store, folder) is None:
            found += [
                _garbage(kind, folder, part) for kind, part in (("checkpoints", done), ("features", kept)) if part
            ]
    leftovers = _leftovers(files, {item.folder for item in found if item.kind == "trial"}, old)
    return found + _unused(store, "weights", old) + _unused(store, "labels", old) + leftovers


def collect_garbage(store: Store, garbage: Sequence[Garbage]) -> list[Garbage]:
    """Delete it; returns what was deleted. What a sweep asks for or somebody runs by now stays."""
    asked = frozenset().union(*references(store).values())
    return [item for item in garbage if _delete(store, item, asked)]


def _delete(store: Store, item: Garbage, asked: frozenset[str]) -> bool:
    if item.kind == "trial":
        trial_id = item.folder.partition("/")[2]
        return trial_id not in asked and remove_trial(store, trial_id)
    if item.kind in ("checkpoints", "features"):
        return remove_files(store, item.folder, item.names)
    if item.kind in ("weights", "labels") and item.folder in given_in_use(store):
        return False
    for name in item.names:
        store.delete(name)
    return True


def _unused(store: Store, top: str, old: float) -> list[Garbage]:
    asked = given_in_use(store)
    held: dict[str, list[StoredFile]] = {}
    for file in store.walk(top):  # weights/<digest>.safetensors, labels/<digest>-<fingerprint>.json
        held.setdefault(re.split("[.-]", file.name)[0], []).append(file)
    unused = {name: files for name, files in held.items() if name not in asked}
    return [_garbage(top, name, files) for name, files in unused.items() if all(file.written < old for file in files)]


def _is_trial(files: Sequence[StoredFile], folder: str) -> bool:
    """Whether a folder is ours: `--storage` may have been given a folder that is no store."""
    return any(
        file.name.removeprefix(f"{folder}/") in FIRST or file.name.startswith(f"{folder}/lease/") for file in files
    )


def _of_what_is_done(store: Store, trial_id: str, files: Sequence[StoredFile], *, searched: bool) -> list[StoredFile]:
    """Checkpoints of a pretraining or an evaluation whose result is kept: a crash came before their deletion.

    Those that a member of a population keeps for others stay while its sweep runs: `searched`.
    """
    pretraining, evaluations = f"trials/{trial_id}/checkpoints/", f"trials/{trial_id}/evaluations/checkpoints/"
    checkpoints = [file for file in files if file.name.startswith((pretraining, evaluations)) and not file.is_temporary]
    if not checkpoints:
        return []
    status = TrialStore(store, trial_id).status()
    done = tuple(f"{evaluations}{name}/" for name in status.evaluations)
    if status.pretrain is not None and TrialStore(store, trial_id).pretrained() is not None:
        done = (pretraining, *done)
    kept = f"{pretraining}kept/"
    if status.state.is_over:
        done = (kept, *done)
    found = [file for file in checkpoints if file.name.startswith(done)]
    return [file for file in found if not (searched and file.name.startswith(kept))]


def _leftovers(files: Contents, deleted: set[str], old: float) -> list[Garbage]:
    found: list[Garbage] = []
    for top, part in (("trials", files.trials), ("sweeps", files.sweeps)):
        for name, held_files in part.items():
            left = [file for file in held_files if file.is_temporary and file.written < old]
            if left and f"{top}/{name}" not in deleted:
                found.append(_garbage("leftovers", f"{top}/{name}", left))
    return found


def _garbage(kind: str, folder: str, files: Sequence[StoredFile]) -> Garbage:
    return Garbage(kind, folder, sum(file.bytes for file in files), [file.name for file in files])


def _removal(place: Place) -> Removal:
    files, asked = contents(place.store), references(place.store)
    own = asked.pop(place.name, frozenset())
    shared = own & frozenset().union(*asked.values())
    alone = sorted((own - shared) & files.trials.keys())
    size = sum(file.bytes for file in files.sweeps.get(place.name, ())) + sum(map(files.bytes_of, alone))
    return Removal(alone, len(shared), size)


def _refuse_running(place: Place) -> None:
    driver = holder(place.store, place.folder)
    if driver is not None:
        raise UserError(
            f"sweep '{place.name}' is running on {driver.host} (process {driver.pid});"
            f" stop it first: ssl-sweep stop {place.name} --storage {shlex.quote(place.store.location)}"
        )
