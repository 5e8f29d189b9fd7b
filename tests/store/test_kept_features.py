"""Features that are kept next to a trial: in parts, and whole or not at all."""

import pytest
from ssl_sweep.orchestrator.store.checked import DamagedError
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.kept_features import FeaturesRecord, KeptFeatures
from ssl_sweep.orchestrator.store.trial_folder import TrialStore

PARTS = ["one", "two", "three"]
RECORD = FeaturesRecord(splits=("train", "test"))


def kept(store: Store, key: str = "key") -> KeptFeatures:
    return KeptFeatures(TrialStore(store, "trial"), key)


def test_parts_come_back_in_their_order(store: Store) -> None:
    assert kept(store).record("train") is None
    assert list(kept(store).keep("train", PARTS, str.encode, RECORD)) == PARTS
    record = kept(store).record("train")
    assert record is not None and list(kept(store).parts("train", record)) == [b"one", b"two", b"three"]
    assert kept(store, "other").record("train") is None


def test_the_newest_table_takes_the_place_of_others(store: Store) -> None:
    list(kept(store, "old").keep("train", PARTS, str.encode, RECORD))
    list(kept(store, "new").keep("train", PARTS[:1], str.encode, RECORD))
    assert store.names("trials/trial/features") == ["new-train-00000.arrow", "new-train.json"]


def test_what_is_not_read_to_its_end_is_not_kept(store: Store) -> None:
    parts = kept(store).keep("train", PARTS, str.encode, RECORD)
    assert [next(parts), next(parts)] == ["one", "two"]
    parts.close()
    assert store.names("trials/trial/features") == [] and kept(store).record("train") is None


@pytest.mark.parametrize("damage", [b"tow", None])
def test_a_part_that_is_not_as_written_is_not_used(damage: bytes | None, store: Store) -> None:
    list(kept(store).keep("train", PARTS, str.encode, RECORD))
    name = "trials/trial/features/key-train-00001.arrow"
    store.delete(name) if damage is None else store.write(name, damage)
    record = kept(store).record("train")
    assert record is not None
    parts = kept(store).parts("train", record)
    assert next(parts) == b"one"
    with pytest.raises(DamagedError, match=f"{name} is missing or damaged"):
        next(parts)


def test_splits_are_kept_beside_each_other(store: Store) -> None:
    list(kept(store).keep("train", PARTS, str.encode, RECORD))
    list(kept(store).keep("test", PARTS[:1], str.encode, RECORD))
    list(kept(store).keep("train", PARTS[:2], str.encode, RECORD.model_copy(update={"precision": "float16"})))
    record, other = kept(store).record("train"), kept(store).record("test")
    assert record is not None and (record.precision, len(record.parts)) == ("float16", 2)
    assert other is not None and (other.precision, len(other.parts)) == ("float32", 1)
    assert len(store.names("trials/trial/features")) == 5, "three parts and two records"
