"""What the live table shows of a trial."""

import io
from pathlib import Path

from rich.console import Console
from ssl_sweep.datasets.prepared import Prepared, SplitInfo
from ssl_sweep.orchestrator.cli.live_table import Display, Row, cells


def test_a_row_follows_its_trial_through_its_stages() -> None:
    display = Display(Console(file=io.StringIO()))
    row = display.rows["t"] = Row("simclr seed 0", epochs=200)

    def tell(kind: str, **event: object) -> tuple[str, ...]:
        display.event("t", {"kind": kind, **event})
        return cells(row)

    tell("status", status="running")
    tell("stage", stage="pretrain")
    last = {"loss": 4.5, "images_per_second": 1234.0, "logs": {"knn/top1": 41.0}, "memory": 2 * 10**9}
    shown = tell("epoch", epoch=50, epochs=200, seconds=600.0, **last)
    assert shown == ("simclr seed 0", "pretrain", "50/200", "4.5000", "41.0 %", "1,234", "2.0 GB", "30 min")
    assert tell("stage", stage="linear")[:3] == ("simclr seed 0", "linear", "")
    shown = tell("score", stage="linear", epoch=3, epochs=90, metrics={"top1": 50.0}, seconds=30.0)
    assert (shown[1], shown[2], shown[-1]) == ("linear", "3/90", "14 min")
    shown = tell("status", status="finished")
    assert (shown[1], shown[2], shown[-1]) == ("finished", "", "")


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
    display = Display(Console(file=(out := io.StringIO())))
    display.remarks(prepared)
    assert out.getvalue().splitlines() == [
        "folder: 2 of 3 test images are of classes without a training image",
        "folder: 1 damaged image left out, listed in x/meta.json",
    ]
