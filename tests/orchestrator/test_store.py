"""The store: atomic writes, whole lines, locks, and the same over another file system."""

import multiprocessing
from pathlib import Path

import pytest
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.records import Cost, PretrainRecord
from ssl_sweep.orchestrator.store.trial_folder import Failure, TrialStore


def test_what_is_written_is_read(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "runs"))
    assert store.read("a/b") is None
    store.write("a/b", b"one")
    store.write("a/b", b"two")
    assert store.read("a/b") == b"two"
    assert store.names("a") == ["b"]
    assert store.names("nothing") == []
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    store.write_json("c.json", {"x": [1, 2]})
    assert store.read_json("c.json") == {"x": [1, 2]}


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


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_line_that_a_crash_cut_is_dropped(tmp_path: Path, cut: int) -> None:
    store = Store(str(tmp_path))
    store.append("events", ['{"a": 1}', '{"a": 2}'])
    path = tmp_path / "events"
    path.write_bytes(path.read_bytes() + b'{"a": "long enough"}'[:cut])
    assert store.events("events") == [{"a": 1}, {"a": 2}]
    store.append("events", ['{"a": 3}'])
    assert store.events("events") == [{"a": 1}, {"a": 2}, {"a": 3}]


def test_a_store_behind_a_uri(tmp_path: Path) -> None:
    """Any file system of pyarrow serves; files written as on an object store, at once and without a rename."""
    store = Store(f"file://{tmp_path}/remote")
    assert not store.is_local
    (tmp_path / "remote" / "trials").mkdir()
    store.write("trials/a", b"one")
    store.append("trials/events", ['{"a": 1}'])
    store.append("trials/events", ['{"a": 2}'])
    assert store.read("trials/a") == b"one"
    assert store.events("trials/events") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("location", ["nosuch://bucket/runs", "/dev/null/runs"])
def test_a_store_that_cannot_be(location: str) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        Store(location)


def test_one_process_holds_a_lock(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with store.lock("x/lock") as mine:
        assert mine
        with store.lock("x/lock") as again:
            assert not again
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), held, release))
    process.start()
    assert held.wait(60)
    with store.lock("x/lock") as free:
        assert not free
    process.kill()
    process.join()
    with store.lock("x/lock") as free:
        assert free, "the kernel lets go of a dead process's lock"


def _hold(location: str, held, release) -> None:  # type: ignore[no-untyped-def]
    with Store(location).lock("x/lock"):
        held.set()
        release.wait(60)


def test_the_later_event_of_a_step_counts(tmp_path: Path) -> None:
    folder = TrialStore(Store(str(tmp_path)), "a")
    epoch = {"kind": "epoch", "stage": "pretrain", "lr": 0.1, "images_per_second": 1.0, "seconds": 1.0}
    folder.add_events([epoch | {"epoch": 1, "step": 10, "loss": 3.0}, epoch | {"epoch": 2, "step": 20, "loss": 2.0}])
    folder.add_events([epoch | {"epoch": 2, "step": 20, "loss": 2.5}, epoch | {"epoch": 3, "step": 30, "loss": 1.0}])
    assert [(record.epoch, record.loss) for record in folder.history()] == [(1, 3.0), (2, 2.5), (3, 1.0)]


def test_a_backbone_is_there_before_it_is_said_to_be(tmp_path: Path) -> None:
    folder = TrialStore(Store(str(tmp_path)), "a")
    folder.save_checkpoint(b"state")
    record = PretrainRecord(
        cost=Cost(seconds=1, workers=1, device="cpu"), epochs=1, final_loss=1.0, images_per_second=1
    )
    folder.finish_pretraining(record, b"weights")
    assert folder.pretrained() == record
    assert folder.backbone() == b"weights"
    assert folder.checkpoint() is None
    folder.fail(Failure(stage="knn", reason="no"))
    assert folder.failure() == Failure(stage="knn", reason="no")
