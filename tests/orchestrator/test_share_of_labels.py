"""Classes that a share of the labels leaves without any: said before anything runs, and beside the number."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from in_process import carry, trials_of
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.sweep.sizes import sizes_of

SweepFile = Callable[..., Path]
FEW = [{"name": "knn", "k": 1, "labels": "2%"}]
NOTE = "note: evaluate: knn: labels: 2% of 320 training images is 6 labels, and leaves 4 of 10 classes without any: '"


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_it_is_said_before_anything_runs(command: str, sweep_file: SweepFile) -> None:
    path = sweep_file(evaluate=FEW)
    prepare(trials_of(path)[0].dataset, data_root())
    result = CliRunner().invoke(main, [command, str(path)])
    assert result.exit_code == 0, result.output
    assert result.output.count(NOTE) == 1


@pytest.mark.parametrize("command", ["validate", "plan"])
def test_more_shots_than_images_of_a_class(command: str, sweep_file: SweepFile) -> None:
    path = sweep_file(evaluate=[{"name": "fewshot", "shots": [5], "labels": "10%"}])
    prepare(trials_of(path)[0].dataset, data_root())
    result = CliRunner().invoke(main, [command, str(path)])
    assert result.exit_code == 2
    assert (
        "evaluate: fewshot has shots = 5 (write 3 or less), and data set 'digits' 3 training images of class '"
        in result.output
    )


def test_it_is_said_beside_the_number(sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=FEW))
    record = carry(trial, tmp_path / "runs").evaluation(trial.evaluate[0])
    assert record is not None and "4 of 10 classes have none of the 6 labelled images" in record.remarks


@pytest.mark.parametrize("split", ["test", "holdout"])
@pytest.mark.parametrize("labels", [None, 0.02, 0.1])
def test_counts_that_are_foretold_are_those_of_the_images(
    split: str, labels: float | None, sweep_file: SweepFile
) -> None:
    (trial,) = trials_of(sweep_file())
    prepared = prepare(trial.dataset, data_root())
    sizes = sizes_of(prepared, trial.dataset, split, labels)
    holdout = split == "holdout"
    train = ImageSet.open(prepared, "train", "fit" if holdout else "all")
    test = ImageSet.open(prepared, "train", "holdout") if holdout else ImageSet.open(prepared, "test")
    train = train if labels is None else train.share(labels)
    assert sizes.train == tuple(train.labels.bincount(minlength=10).tolist())
    assert sizes.test == tuple(test.labels.bincount(minlength=10).tolist())
    assert (sizes.train_images, sizes.test_images) == (len(train), len(test))


def test_a_method_that_does_not_train_needs_no_batch(sweep_file: SweepFile, tmp_path: Path) -> None:
    pretrain = {"epochs": 1, "batch_size": 999}
    (trial,) = trials_of(path := sweep_file(methods=["random"], pretrain=pretrain, evaluate=[{"name": "knn", "k": 20}]))
    result = CliRunner().invoke(main, ["validate", str(path)])
    assert result.exit_code == 0, result.output
    assert result.output == f"{path}: valid, 1 trial\n"
    assert len(carry(trial, tmp_path / "runs").status().evaluations) == 1
    path = sweep_file(methods=["random", "simclr"], pretrain=pretrain)
    refused = CliRunner().invoke(main, ["validate", str(path)])
    assert refused.exit_code == 2 and "pretrain.batch_size: got 999; data set 'digits' has 320" in refused.output
