"""Features that are kept next to a trial: in parts, and whole or not at all."""

import pytest
from ssl_sweep.orchestrator.store.checked import DamagedError
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.kept_features import KeptFeatures
from ssl_sweep.orchestrator.store.trial_folder import TrialStore

PARTS = ["one", "two", "three"]


def kept(store: Store, key: str = "key") -> KeptFeatures:
    return KeptFeatures(TrialStore(store, "trial"), key)


def test_parts_come_back_in_their_order(store: Store) -> None:
    assert kept(store).record() is None
    assert list(kept(store).keep(PARTS, str.encode)) == PARTS
    record = kept(store).record()
    assert record is not None and list(kept(store).parts(record)) == [b"one", b"two", b"three"]
    assert kept(store, "other").record() is None


def test_the_newest_table_takes_the_place_of_others(store: Store) -> None:
    list(kept(store, "old").keep(PARTS, str.encode))
    list(kept(store, "new").keep(PARTS[:1], str.encode))
    assert store.names("trials/trial/features") == ["new-00000.arrow", "new.json"]


def test_what_is_not_read_to_its_end_is_not_kept(store: Store) -> None:
    parts = kept(store).keep(PARTS, str.encode)
    assert [next(parts), next(parts)] == ["one", "two"]
    parts.close()
    assert store.names("trials/trial/features") == [] and kept(store).record() is None


@pytest.mark.parametrize("damage", [b"tow", None])
def test_a_part_that_is_not_as_written_is_not_used(damage: bytes | None, store: Store) -> None:
    list(kept(store).keep(PARTS, str.encode))
    name = "trials/trial/features/key-00001.arrow"
    store.delete(name) if damage is None else store.write(name, damage)
    record = kept(store).record()
    assert record is not None
    parts = kept(store).parts(record)
    assert next(parts) == b"one"
    with pytest.raises(DamagedError, match=f"{name} is missing or damaged"):
        next(parts)
