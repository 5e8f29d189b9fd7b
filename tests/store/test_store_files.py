"""Files of the store: atomic, created once, read in parallel; the same over a disk and over S3."""

import logging
import os
import uuid
from pathlib import Path

import pytest
from racing import ROUNDS, winners
from ssl_sweep.orchestrator.store.files import Store, StoreError
from ssl_sweep.orchestrator.store.lease import holder
from ssl_sweep.orchestrator.store.records import Cost, PretrainRecord
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_list import ListedTrial, TrialList
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus

RECORD = PretrainRecord(cost=Cost(seconds=1, workers=1, device="cpu"), epochs=1, final_loss=1.5, images_per_second=1)


def test_what_is_written_is_read(store: Store) -> None:
    assert store.read("a/b") is None
    store.write("a/b", b"one")
    store.write("a/b", b"two")
    store.write("a/c/d", b"")
    assert store.read("a/b") == b"two"
    assert store.read("a/c/d") == b""
    assert store.size("a/b") == 3
    assert store.names("a") == ["b", "c"]
    assert store.names("") == ["a"]
    assert store.names("nothing") == []
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    store.write_json("c.json", {"x": [1, 2], "y": None})
    assert store.read_json("c.json") == {"x": [1, 2], "y": None}


def test_names_are_taken_literally(store: Store) -> None:
    for name in ("a#b", "a b", "100%25", "ü", "x?y=1", "a+b"):
        store.write(f"odd/{name}", name.encode())
    assert store.names("odd") == sorted(("a#b", "a b", "100%25", "ü", "x?y=1", "a+b"))
    assert all(store.read(f"odd/{name}") == name.encode() for name in store.names("odd"))


def test_many_are_read_at_once_in_their_order(store: Store) -> None:
    names = [f"many/{i}" for i in range(50)]
    for name in names[::2]:
        store.write(name, name.encode())
    assert store.read_many([]) == []
    assert store.read_many(names) == [None if i % 2 else name.encode() for i, name in enumerate(names)]


def test_to_open_and_read_creates_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "runs"))
    folder = TrialStore(store, "a")
    assert (store.names("sweeps"), holder(store, "sweeps/x")) == ([], None)
    assert (folder.pretrained(), folder.events(), folder.checkpoint(), folder.log_content()) == (None, [], None, None)
    assert list(tmp_path.iterdir()) == []


def _create(store: Store, number: int) -> bool:
    return store.create(f"race/{number}", uuid.uuid4().hex.encode())


def test_one_of_all_that_create_a_file_wins(location: str) -> None:
    assert winners(location, _create) == [1] * ROUNDS
    store = Store(location)
    assert len(store.names("race")) == ROUNDS
    assert all(len(store.read(f"race/{i}") or b"") == 32 for i in range(ROUNDS))


@pytest.mark.parametrize("operation", ["write", "create"])
def test_a_full_disk_leaves_the_old_content_and_nothing_else(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    store.write("a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="cannot be used: No space left on device"):
        getattr(store, operation)("a" if operation == "write" else "b", b"new")
    assert store.read("a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_crash_in_a_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    store.write("a", b"old")

    def crash(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        store.write("a", b"new")
    assert store.read("a") == b"old"
    assert store.names("") == ["a"]


def test_what_must_survive_a_power_cut_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    store = Store(str(tmp_path / "runs"))
    store.write("a", b"content")
    store.create("b", b"content")
    assert [name.split(".")[0] for name in synced] == ["a", "b", "runs"]
    store.write("c", b"content", durable=False)
    TrialStore(store, "trial").write_status(TrialStatus())  # what it sums up is synced
    assert len(synced) == 3


def test_a_file_address_is_its_folder(tmp_path: Path) -> None:
    Store(f"file://{tmp_path}/my%20runs").write("a", b"one")
    store = Store(str(tmp_path / "my runs"))
    assert store.is_local
    assert store.read("a") == b"one"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nosuch://bucket/runs", "Unable to recognise URL"),
        ("s3://bucket/runs?region=x", "set them in the environment"),
        ("file://relative/runs", "takes an absolute path"),
        ("~nobody-of-this-name/runs", "home"),
    ],
)
def test_a_store_that_cannot_be(place: str, message: str) -> None:
    with pytest.raises(StoreError, match="cannot be used: .*" + message) as error:
        Store(place)
    assert f"'{place.partition('?')[0]}'" in str(error.value)  # options may be secrets
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("operation", [lambda s: s.read("a"), lambda s: s.names("a"), lambda s: s.write("a", b"")])
def test_a_folder_that_cannot_be_is_named(operation, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=f"storage '{tmp_path}/file/runs' cannot be used: Not a directory"):
        operation(Store(str(tmp_path / "file/runs")))


@pytest.mark.usefixtures("location")
@pytest.mark.parametrize("location", ["s3"], indirect=True)
def test_a_bucket_that_is_not_there_is_named() -> None:
    store = Store("s3://no-such-bucket/runs")
    with pytest.raises(StoreError, match="storage 's3://no-such-bucket/runs' cannot be used: ") as error:
        store.write("a", b"one")
    assert "\n" not in str(error.value)


def test_a_trial_s_files(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    folder = TrialStore(store, "a")
    folder.save_checkpoint(3, b"state")
    assert folder.checkpoint() == b"state"
    folder.finish_pretraining(RECORD, b"weights")
    kept = folder.pretrained()
    assert kept is not None
    assert kept.model_copy(update={"backbone_sha256": None, "backbone_bytes": None}) == RECORD
    assert folder.backbone() == b"weights"
    assert folder.checkpoint() is None
    failed = TrialStatus(state=TrialState.FAILED, reason="no")
    folder.write_status(failed)
    assert folder.status() == failed
    folder.add_log(["one", "two"])
    TrialStore(store, "a").add_log(["three"])  # of another rank
    assert folder.log_content() == b"one\ntwo\nthree\n"
    assert caplog.records == []


def test_files_of_an_earlier_version(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """They have no checksums, and lists without a key."""
    folder = TrialStore(store, "a")
    store.write(folder.name("pretrain.json"), RECORD.model_dump_json(indent=2).encode())
    store.write(folder.name("backbone.safetensors"), (2).to_bytes(8, "little") + b"{}")
    store.write("trials.json", b'[{"id": "a", "trial": {"seed": 0}}]')
    store.write("old.json", b'{"x": 1}')
    store.write(folder.name("log.txt"), b"old\n")
    store.write(folder.name("trial.json"), b'{"dataset_fingerprint": "feedbeef", "environment": {"torch": "2.13.0"}}')
    store.write(folder.name("failure.json"), b'{"stage": "knn", "reason": "no"}')
    status = folder.status()
    assert (status.state, status.reason, status.pretrain) == (TrialState.FAILED, "no", RECORD)
    assert (status.dataset_fingerprint, status.environment) == ("feedbeef", {"torch": "2.13.0"})
    assert folder.pretrained() == RECORD
    assert folder.backbone() == (2).to_bytes(8, "little") + b"{}"
    assert store.read_record("trials.json", TrialList) == TrialList(trials=(ListedTrial(id="a", trial={"seed": 0}),))
    assert store.read_json("old.json") == {"x": 1}
    folder.add_log(["new"])
    assert folder.log_content() == b"old\nnew\n"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
