"""Evaluations on other images than those of the pretraining."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from in_process import CPU, Ear, trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.engine.protocol import Job
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.spec.identity import evaluation_id
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.records import EvaluationRecord
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.sweep.plan import datasets_of, plan_trials
from ssl_sweep.orchestrator.trial.run import run_trial
from ssl_sweep.orchestrator.trial.runtime import Runtime

SweepFile = Callable[..., Path]
OTHER: dict[str, Any] = {"name": "digits", "train_images": 150, "test_images": 40}


def results(path: Path, storage: Path) -> list[EvaluationRecord]:
    """Of the file's only trial, as a worker runs it."""
    trials = trials_of(path)
    datasets = {config: prepare(config, data_root()) for config in datasets_of(trials)}
    (item,) = plan_trials(trials, datasets)
    folder = TrialStore(Store(str(storage)), item.trial_id)
    elsewhere = {prepared.fingerprint: prepared for prepared in datasets.values()}
    run_trial(item.trial, folder, datasets[item.trial.dataset], Runtime(CPU), Ear(), elsewhere=elsewhere)
    return [record for config in item.trial.evaluate if (record := folder.evaluation(config)) is not None]


def test_another_data_set_has_the_numbers_that_it_has_alone(sweep_file: SweepFile, tmp_path: Path) -> None:
    knn = {"name": "knn", "k": 5}
    both = sweep_file(methods=["random"], evaluate=[knn, knn | {"dataset": OTHER}])
    own, transfer = results(both, tmp_path / "both")
    (alone,) = results(sweep_file(methods=["random"], dataset=OTHER, evaluate=[knn]), tmp_path / "alone")
    assert (transfer.metrics, transfer.images) == (alone.metrics, 40) and own.images == 100
    assert transfer.changed == {"dataset": "digits", "k": 5}


def test_its_contents_are_part_of_what_it_is_and_its_place_is_not(sweep_file: SweepFile) -> None:
    path = sweep_file(evaluate=[{"name": "knn", "k": 5, "dataset": OTHER}, {"name": "knn", "k": 5}])
    trials = trials_of(path)
    datasets = {config: prepare(config, data_root()) for config in datasets_of(trials)}
    (item,) = plan_trials(trials, datasets)
    there, here = item.trial.evaluate
    assert there.dataset is not None
    assert (there.known_as, here.known_as) == ("knn-digits", "knn") and item.evaluation_ids[0] != item.evaluation_ids[1]
    elsewhere = there.model_copy(update={"dataset": there.dataset.model_copy(update={"path": "/elsewhere"})})
    changed = there.model_copy(update={"fingerprint": "another"})
    assert evaluation_id(elsewhere) == evaluation_id(there) != evaluation_id(changed)
    job = Job(item.trial_id, item.trial.model_dump_json(), item.prepared.fingerprint)
    needed = {prepared.fingerprint: config for config, prepared in datasets.items()}
    assert job.datasets() == needed and job.datasets(but=needed) == needed


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"k": 200},
            "evaluate[0]: knn-digits has k = 200 (write `k: 150` or less), and data set 'digits' 150 training images",
        ),
        (
            {"k": 20, "labels": "10%"},
            "evaluate[0]: knn-digits has k = 20 (write `k: 15` or less), and data set 'digits' 15 training images with labels of 150",
        ),
    ],
)
def test_what_does_not_fit_the_other_data_set_is_refused(
    entry: dict[str, Any], message: str, sweep_file: SweepFile
) -> None:
    trials = trials_of(sweep_file(evaluate=[{"name": "knn", "dataset": OTHER, **entry}]))
    datasets = {config: prepare(config, data_root()) for config in datasets_of(trials)}
    with pytest.raises(UserError) as caught:
        plan_trials(trials, datasets)
    assert str(caught.value) == message


def test_a_plan_prepares_it_too(sweep_file: SweepFile) -> None:
    path = sweep_file(evaluate=[{"name": "knn", "k": 5, "dataset": OTHER | {"test_images": 41}}])
    result = CliRunner().invoke(main, ["plan", str(path)])
    assert result.exit_code == 0, result.output
    assert "prepare digits, pretrain, knn-digits" in " ".join(result.output.split())
