"""Walking a store, and deleting what lies under a lease."""

from pathlib import Path

import pytest
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.lease import acquire, held, holder
from ssl_sweep.orchestrator.store.removal import remove_files, remove_trial

TRIAL = "simclr-0123456789"
FILES = [f"trials/{TRIAL}/{name}" for name in ("state.json", "trial.json", "checkpoints/1.pt", "a/b/c d#%.txt")]


@pytest.fixture
def filled(store: Store) -> Store:
    for name in [*FILES, f"trials/{TRIAL}0/state.json", "sweeps/small/sweep.yaml", "mlflow.db"]:
        store.write(name, name.encode())
    return store


def names(store: Store, folder: str) -> set[str]:
    return {file.name for file in store.walk(folder)}


def test_a_walk_finds_files_with_their_sizes(filled: Store) -> None:
    found = {file.name: file for file in filled.walk(f"trials/{TRIAL}")}
    assert found.keys() == set(FILES)  # not those of the trial whose name begins alike
    assert all(found[name].bytes == len(name) and found[name].written > 1.7e9 for name in FILES)
    assert filled.walk("nothing") == []


def test_a_removed_trial_leaves_nothing(filled: Store) -> None:
    assert remove_trial(filled, TRIAL)
    assert names(filled, "trials") == {f"trials/{TRIAL}0/state.json"}
    assert filled.names("trials") == [f"{TRIAL}0"]
    assert names(filled, "sweeps") == {"sweeps/small/sweep.yaml"} and filled.exists("mlflow.db")
    lease = acquire(filled, f"trials/{TRIAL}")  # as by a sweep that computes it anew
    assert lease is not None
    lease.renew()
    assert not lease.lost
    lease.release()


def test_a_trial_that_somebody_runs_is_not_touched(filled: Store) -> None:
    with held(filled, f"trials/{TRIAL}") as lease:
        assert not remove_trial(filled, TRIAL)
        assert not remove_files(filled, f"trials/{TRIAL}", [FILES[2]])
        assert names(filled, f"trials/{TRIAL}") >= set(FILES)
        assert lease is not None and not lease.lost


def test_some_files_of_a_trial(filled: Store) -> None:
    assert remove_files(filled, f"trials/{TRIAL}", [FILES[2]])
    assert set(FILES) - names(filled, f"trials/{TRIAL}") == {FILES[2]}
    assert "checkpoints" not in filled.names(f"trials/{TRIAL}")
    assert holder(filled, f"trials/{TRIAL}") is None


@pytest.mark.parametrize("trial_id", ["", ".", "..", "../sweeps", "a/b"])
def test_only_a_trial_s_own_folder_is_deleted(filled: Store, trial_id: str) -> None:
    with pytest.raises(AssertionError):
        remove_trial(filled, trial_id)


def test_links_are_not_followed(tmp_path: Path) -> None:
    store, outside = Store(str(tmp_path / "runs")), tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("mine")
    store.write(f"trials/{TRIAL}/state.json", b"{}")
    (tmp_path / "runs/trials" / TRIAL / "link").symlink_to(outside)
    (tmp_path / "runs/trials" / TRIAL / "file").symlink_to(outside / "kept.txt")
    assert remove_trial(store, TRIAL)
    assert store.names("trials") == []
    assert (outside / "kept.txt").read_text() == "mine"
