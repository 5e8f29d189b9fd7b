"""What data sets are called: by their folders, or as the user says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from image_folders import FolderSweep, write_images
from in_process import trials_of
from ssl_sweep.datasets.config import DatasetConfig
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.report.main_table import render_table
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.sweep.plan import datasets_of, plan_trials
from ssl_sweep.orchestrator.sweep.status import stored_sweep
from ssl_sweep.orchestrator.tracking.mlflow_values import data_tags, dataset_input, parameters
from steered import no_tracking as no_tracking

pytestmark = pytest.mark.usefixtures("no_tracking")
SweepFile = Callable[..., Path]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"name": "folder", "path": "/data/pets"}, "pets"),
        ({"name": "folder", "path": "/data/pets/", "title": "Our pets"}, "Our pets"),
        ({"name": "parquet", "path": "s3://bucket/pets.parquet"}, "pets"),
        ({"name": "list", "path": "/data/pets.csv"}, "pets"),
        ({"name": "huggingface", "path": "/data/pets.v2"}, "pets.v2"),
        ({"name": "folder", "path": "/"}, "folder"),
        ({"name": "cifar10", "path": "/data/downloads"}, "cifar10"),
        ({"name": "torchvision", "class_name": "CIFAR100"}, "CIFAR100"),
    ],
)
def test_a_user_s_images_are_called_by_their_place_unless_they_have_a_title(config: dict[str, Any], name: str) -> None:
    assert DatasetConfig.model_validate(config).display_name == name


@pytest.mark.parametrize("title", ["", " ", "two\nlines"])
def test_a_title_is_a_line_of_text(title: str) -> None:
    with pytest.raises(ValueError, match="must be a line of text"):
        DatasetConfig(name="digits", title=title)


def planned(path: Path) -> PlannedTrial:
    trials = trials_of(path)
    (item,) = plan_trials(trials, {config: prepare(config, data_root()) for config in datasets_of(trials)})
    return item


@pytest.fixture
def sweep(sweep_file: SweepFile, tmp_path: Path) -> FolderSweep:
    return FolderSweep(sweep_file, tmp_path)


def test_a_new_title_changes_no_result(sweep: FolderSweep) -> None:
    before = planned(sweep.path)
    dataset = {"name": "folder", "path": "mine", "image_size": 8, "title": "All of mine"}
    other = {"name": "knn", "k": 5, "dataset": {"name": "folder", "path": "pets", "title": "Cats & dogs"}}
    after = planned(sweep.write(dataset=dataset, evaluate=[{"name": "knn", "k": 5}, other]))
    assert (after.trial_id, after.evaluation_ids) == (before.trial_id, before.evaluation_ids[:2])
    assert after.trial.evaluate[1].known_as == "knn-Cats-dogs"
    (kept,) = (value for key, value in parameters(after.trial).items() if key == "dataset.path")
    assert kept.endswith("/mine") and not [key for key in parameters(after.trial) if key.endswith("title")]


def test_results_have_the_names_of_today(sweep: FolderSweep) -> None:
    assert sweep.submit().outcome.exit_status == 0
    (table,) = render_table(stored_sweep(sweep.path).result(""))
    assert table.title == "mine"
    assert [note.changed for note in table.notes] == ["k = 5", "dataset = birds, k = 5", "dataset = pets, k = 5"]
    evaluate = [{"name": "knn", "k": 5, "dataset": {"name": "folder", "path": "pets", "title": "Cats"}}]
    dataset = {"name": "folder", "path": "mine", "image_size": 8, "title": "All of mine"}
    sweep.path = sweep.write(dataset=dataset, evaluate=evaluate)
    result = stored_sweep(sweep.path).result("")
    (table,) = render_table(result)
    assert table.title == "All of mine" and [note.changed for note in table.notes] == ["dataset = Cats, k = 5"]
    assert result.trials[0].evaluations[0].title == "knn-Cats"


def test_the_report_describes_each_data_set(sweep: FolderSweep) -> None:
    sweep.submit()
    folder = Path(sweep.call("report").stdout.split()[-1]).parent
    lines = (folder / "report.md").read_text().split("## Data sets\n")[1].splitlines()
    (row,) = [line for line in lines if line.startswith("| pets")]
    cells = [cell.strip().replace("\\", "") for cell in row.strip("|").split("|")]
    assert cells[:7] == ["pets", "folder", str(sweep.folder / "pets"), "2", "24", "8", "knn-pets"]
    rows = json.loads(sweep.call("export", "--format", "json").stdout)
    assert {(row["dataset"], row["dataset_kind"]) for row in rows} == {("mine", "folder")}


def test_two_folders_of_one_name_are_told_apart(sweep: FolderSweep) -> None:
    write_images(sweep.folder / "other" / "mine", seed=5)
    evaluate = [{"name": "knn", "k": 5, "as": "there", "dataset": "./other/mine"}]
    sweep.path = sweep.write(evaluate=evaluate)
    item = planned(sweep.path)
    there = item.trial.evaluate[0].fingerprint or ""
    result = stored_sweep(sweep.path).result("")
    assert result.trials[0].dataset == f"mine ({item.prepared.fingerprint[:6]})"
    assert [data.name for data in result.datasets] == [result.trials[0].dataset, f"mine ({there[:6]})"]


def test_a_grid_over_folders_has_their_names(sweep: FolderSweep) -> None:
    size = {"image_size": 8}
    values = [{"name": "folder", "path": name, **size} for name in ("pets", "birds")]
    path = sweep.write(grid={"dataset": values}, evaluate=[{"name": "knn", "k": 5}])
    assert [trial.axes for trial in trials_of(path)] == [{"dataset": "pets"}, {"dataset": "birds"}]


def test_mlflow_is_told_the_name(sweep: FolderSweep) -> None:
    trial = planned(sweep.path).trial
    assert data_tags(trial) == {"dataset": "mine"} and dataset_input(trial, "abc").dataset.name == "mine"
    assert {"evaluate.knn.k", "evaluate.knn-pets.k", "evaluate.knn-birds.k"} <= parameters(trial).keys()
