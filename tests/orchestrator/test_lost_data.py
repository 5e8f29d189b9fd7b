"""A sweep whose images are deleted, moved or changed after it ran: what is stored is shown all the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from image_folders import FolderSweep, write_images
from ssl_sweep.orchestrator.spec.errors import SpecError
from steered import no_tracking as no_tracking

pytestmark = pytest.mark.usefixtures("no_tracking")


@pytest.fixture
def sweep(sweep_file: Callable[..., Path], tmp_path: Path) -> FolderSweep:
    found = FolderSweep(sweep_file, tmp_path)
    assert found.submit().outcome.exit_status == 0
    return found


def warning(done: Result) -> str:
    """The only one."""
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: ")
    return line.removeprefix("warning: ")


@pytest.mark.parametrize(("lost", "place"), [("mine", "dataset"), ("pets", "evaluate[1].dataset")])
def test_lost_images_cost_one_warning(lost: str, place: str, sweep: FolderSweep) -> None:
    whole = sweep.call("export").stdout
    assert '"knn-pets"' in whole and '"knn-birds"' in whole
    sweep.lose(lost)
    for command in ("status", "report", "export", "plan"):
        done = sweep.call(command)
        text = warning(done)
        assert text.startswith(f"{sweep.path}:") and f" {place}: data set '{lost}': there is nothing at" in text
        assert text.endswith("what is shown is of its images at the last submit")
    assert "1 of 1 trial finished" in sweep.call("status").stdout
    assert "1 trial, 1 done" in sweep.call("plan").stdout
    assert without_times(sweep.call("export").stdout) == without_times(whole)


def without_times(rows: str) -> list[list[str]]:
    """Of `created`, which is the second column."""
    return [[cell for i, cell in enumerate(row.split(",")) if i != 1] for row in rows.splitlines()]


@pytest.mark.parametrize(("lost", "place"), [("mine", "dataset"), ("pets", "evaluate[1].dataset")])
def test_nothing_is_run_without_its_images(lost: str, place: str, sweep: FolderSweep) -> None:
    sweep.lose(lost)
    assert sweep.submit().outcome.exit_status == 0  # nothing is missing
    sweep.path = sweep.write(seeds=[0, 1])
    line = next(i for i, text in enumerate(sweep.path.read_text().splitlines(), 1) if lost in text)
    text = sweep.call("plan", expect=2).stderr
    assert text.splitlines()[-1].partition(" ")[2].startswith(f"{place}: data set '{lost}': there is nothing at")
    assert abs(int(text.splitlines()[-1].split(":")[1]) - line) <= 1
    with pytest.raises(SpecError, match="there is nothing at"):
        sweep.submit()
    assert "1 of 2 trials finished" in sweep.call("status").stdout


def test_a_store_is_enough(sweep: FolderSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another machine: the sweep file and the store, at other places, without any image."""
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path / "no data"))
    (tmp_path / "elsewhere").mkdir()
    before = json.loads(sweep.call("export", "--format", "json").stdout)
    text = sweep.path.read_text().replace(str(tmp_path / "runs"), "runs")
    shutil.move(tmp_path / "runs", tmp_path / "elsewhere" / "runs")
    sweep.path = tmp_path / "elsewhere" / "sweep.yaml"
    sweep.path.write_text(text)
    for name in ("mine", "pets", "birds"):
        sweep.lose(name)
    assert "1 of 1 trial finished" in sweep.call("status").stdout
    after = json.loads(sweep.call("export", "--format", "json").stdout)
    assert [row["metrics"] for row in after] == [row["metrics"] for row in before] and len(after) == 3
    assert "knn-pets" in (Path(sweep.call("report").stdout.split()[-1]).parent / "report.md").read_text()


def test_a_plan_knows_what_a_changed_folder_leaves_as_it_is(sweep: FolderSweep) -> None:
    write_images(sweep.folder / "pets", seed=7)
    done = sweep.call("plan", "--json")
    (row,) = json.loads(done.stdout)
    assert row["trial"].startswith("random-") and row["missing"] == ["prepare pets"]
    assert "evaluate[1].dataset: data set 'pets' is not prepared here, or has changed" in warning(done)
    assert done.stderr.endswith("if they have changed, what depends on them runs again\n")
    assert sweep.submit().outcome.exit_status == 0
    assert sweep.call("plan").stderr == "" and "1 trial, 1 done" in sweep.call("plan").stdout


def test_a_sweep_of_an_earlier_version(sweep: FolderSweep) -> None:
    """Its folder has the fingerprints of evaluations' data sets, and nothing else of its images."""
    (sweep.folder / "runs/sweeps/small/data.json").unlink()
    assert sweep.call("status").stderr == ""
    sweep.lose("pets")
    for command in ("status", "report", "plan"):
        assert "evaluate[1].dataset" in warning(sweep.call(command))
    assert "1 trial, 1 done" in sweep.call("plan").stdout
    sweep.lose("mine")
    done = sweep.call("status")
    assert "1 of 1 trial finished" in done.stdout and " dataset: data set 'mine'" in warning(done)
    text = sweep.call("report", expect=2).stderr
    assert text.startswith(f"error: {sweep.path}:") and text.endswith("runs/sweeps/small/report/report.html\n")


def test_another_folder_under_the_old_name_is_not_taken_for_the_old_one(sweep: FolderSweep) -> None:
    write_images(sweep.folder / "new" / "mine", seed=9)
    sweep.path = sweep.write(dataset={"name": "folder", "path": "new/mine", "image_size": 8})
    assert "nothing has run" not in sweep.call("status").stdout
    (row,) = json.loads(sweep.call("plan", "--json").stdout)
    assert row["missing"] == ["prepare mine", "pretrain", "knn", "knn-pets", "knn-birds"]


def test_images_without_labels_are_no_data_set_of_an_evaluation(
    sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    sweep = FolderSweep(sweep_file, tmp_path)
    sweep.lose("pets")
    write_images(tmp_path / "pets", labelled=False)
    done = sweep.call("submit", expect=2)
    lines = done.output.splitlines()
    found = [line for line in lines if "labels" in line]
    assert found == [line for line in lines if line.startswith(f"{sweep.path}:")]
    assert found[0].endswith("evaluate[1].dataset: data set 'pets' has no labels, which evaluations on it need")
