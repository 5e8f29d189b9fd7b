"""From Python, of a trial that has run: its results, its backbone, and the files to take away."""

from collections.abc import Callable
from pathlib import Path

import pytest
import ssl_sweep
import torch
from click.testing import CliRunner, Result
from in_process import carry, trials_of
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.report.tidy import COLUMNS


@pytest.fixture
def finished(sweep_file: Callable[..., Path], tmp_path: Path) -> Path:
    """The file of a sweep whose only trial has run."""
    path = sweep_file(pretrain={"epochs": 1, "batch_size": 32}, evaluate=[{"name": "knn", "k": 20}], features="none")
    carry(trials_of(path)[0], tmp_path / "runs")
    return path


def call(*arguments: str | Path, status: int = 0) -> Result:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == status, done.output
    return done


def test_results_are_typed_rows_and_tables(finished: Path) -> None:
    found = ssl_sweep.results(finished)
    (row,) = found.rows
    assert row.trial.method == "simclr" and row.evaluation is not None
    assert row.metrics["top1"] == row.evaluation.metrics["top1"] > 10
    assert found.to_arrow().column_names[: len(COLUMNS)] == list(COLUMNS)
    assert found.to_pandas()["top1"].tolist() == [row.metrics["top1"]]


def test_a_trial_s_backbone_is_exported_with_its_card_and_loaded(finished: Path, tmp_path: Path) -> None:
    call("export", finished, "--weights", "simclr seed 0", "-o", tmp_path / "taken")
    assert "knn" in (tmp_path / "taken" / "README.md").read_text()
    images = torch.rand(2, 3, 8, 8)
    from_store = ssl_sweep.load_backbone("simclr seed 0", storage=str(tmp_path / "runs"))
    from_file = ssl_sweep.load_backbone(tmp_path / "taken" / "backbone.safetensors")
    assert torch.equal(from_store(images), from_file(images))
    assert from_file(images).shape == (2, from_file.dim)


def test_weights_are_not_exported_to_nowhere(finished: Path, tmp_path: Path) -> None:
    assert "name the folder" in call("export", finished, "--weights", "simclr", status=2).stderr
    (tmp_path / "file").touch()
    done = call("export", finished, "--weights", "simclr", "-o", tmp_path / "file", status=2)
    assert "cannot be written" in done.stderr
