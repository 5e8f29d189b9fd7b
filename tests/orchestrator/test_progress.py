"""What the live table shows of a trial."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from ssl_sweep.datasets.prepared import Prepared, SplitInfo
from ssl_sweep.orchestrator.cli.live_table import LiveTable, cells
from ssl_sweep.orchestrator.store.events import EpochDone, Event, ScoreDone, StageStarted, StatusChanged
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus


def test_a_row_follows_its_trial_through_its_stages() -> None:
    status = TrialStatus()

    def tell(event: Event) -> tuple[str, ...]:
        nonlocal status
        status = status.apply(event)
        return cells(status)

    assert tell(StatusChanged(state=TrialState.RUNNING, attempt=1))[0] == "running"
    tell(StageStarted(stage="pretrain"))
    shown = tell(
        EpochDone(
            epoch=50, epochs=200, step=500, loss=4.5, lr=0.1, seconds=600.0, images_per_second=1234.0,
            logs={"knn/top1": 41.0}, memory=2 * 10**9,
        )
    )  # fmt: skip
    assert shown == ("pretrain", "50/200", "4.5000", "41.0 %", "1,234", "2.0 GB", "30 min")
    assert tell(StageStarted(stage="linear"))[:2] == ("linear", "")
    shown = tell(ScoreDone(stage="linear", epoch=3, epochs=90, metrics={"top1": 50.0}, seconds=30.0))
    assert (shown[0], shown[1], shown[-1]) == ("linear", "3/90", "14 min")
    shown = tell(StatusChanged(state=TrialState.INTERRUPTED))
    assert (shown[0], shown[1], shown[-1]) == ("interrupted", "3/90", "")
    tell(StatusChanged(state=TrialState.RUNNING, attempt=2))
    shown = tell(StatusChanged(state=TrialState.FINISHED))
    assert (shown[0], shown[1], shown[-1]) == ("finished", "", "")


def test_a_trial_that_ended_ends_otherwise_only_if_it_is_started_again() -> None:
    finished = TrialStatus(state=TrialState.FINISHED)
    with pytest.raises(AssertionError, match="finished cannot become failed"):
        finished.apply(StatusChanged(state=TrialState.FAILED))
    running = finished.apply(StatusChanged(state=TrialState.RUNNING, attempt=2))
    assert running.apply(StatusChanged(state=TrialState.FAILED)).state is TrialState.FAILED


def test_what_a_data_set_lacks_is_said() -> None:
    def split(*counts: int, damaged: tuple[str, ...] = ()) -> SplitInfo:
        size = {"count": sum(counts), "encoding": "raw", "height": 8, "width": 8}
        return SplitInfo.model_validate({**size, "class_counts": counts, "damaged": damaged, "checksums": ("",)})

    content = {
        "name": "folder",
        "fingerprint": "f",
        "classes": ("a", "b"),
        "folder": Path("x"),
        "image_size": 8,
        "holdout": 0.1,
    }
    prepared = Prepared.model_validate(
        {**content, "train": split(5, 0, damaged=("y.png (cut off)",)), "test": split(1, 2)}
    )
    screen = LiveTable(Console(file=(out := io.StringIO())))
    screen.on_dataset(prepared)
    assert out.getvalue().splitlines() == [
        "folder: 2 of 3 test images are of classes without a training image",
        "folder: 1 damaged image left out, listed in x/meta.json",
    ]
