"""Prepared images that are damaged: the trial fails with a reason that names the file, and the next run puts them right."""

from collections.abc import Callable
from pathlib import Path

import pytest
from command import ssl_sweep
from in_process import carry, trials_of
from ssl_sweep.datasets import DataError
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState

SweepFile = Callable[..., Path]
KNN = [{"name": "knn", "k": 20}]


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the other tests' data, which are not to be damaged."""
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path / "data"))


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_trial_reads_no_damaged_images(split: str, sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file(evaluate=KNN))
    undisturbed = carry(trial, tmp_path / "undisturbed")
    prepared = prepare(trial.dataset, tmp_path / "data")
    (file,) = prepared.arrow_files("train" if split == "train" else "test")
    damage(file)
    with pytest.raises(DataError, match=f"{file} changed since it was prepared"):
        carry(trial, tmp_path / "runs")
    folder = carry(trial, tmp_path / "runs")
    assert folder.trial_id == undisturbed.trial_id
    one, other = folder.evaluation(trial.evaluate[0]), undisturbed.evaluation(trial.evaluate[0])
    assert one is not None and other is not None and one.metrics == other.metrics


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_on_damaged_images_fails_with_the_reason_and_the_next_one_prepares_them(
    sweep_file: SweepFile, tmp_path: Path
) -> None:
    sweep = sweep_file(methods=["random"], evaluate=KNN)
    (trial,) = trials_of(sweep)
    (file,) = prepare(trial.dataset, tmp_path / "data").arrow_files("train")
    damage(file)
    text = ssl_sweep("submit", sweep, expect=1)
    assert "changed since it was prepared: its checksum differs" in text and "Traceback" not in text
    (log,) = (tmp_path / "runs" / "trials").glob("*/log.txt")
    folder = TrialStore(Store(str(tmp_path / "runs")), log.parent.name)
    assert str(file) in (folder.status().reason or "")
    assert "Traceback" not in log.read_text()
    ssl_sweep("submit", sweep)
    assert folder.status().state is TrialState.FINISHED
