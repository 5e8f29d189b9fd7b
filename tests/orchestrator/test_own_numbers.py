"""A sweep whose file names published numbers of the user's own: they are in its report, whatever becomes of the file."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from ssl_sweep.orchestrator.cli.live_table import LiveTable
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.engine.interrupts import Interrupts
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.models import SweepSpec
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.sweep.status import stored_sweep
from ssl_sweep.orchestrator.sweep.submit import run_sweep

ROWS = """method,dataset,backbone,epochs,batch_size,evaluation,value,protocol,protocol_settings,settings,source
random,digits,vit_tiny_patch16_224,2,32,knn,50.0,knn/lightly-vit@1,k=200 temperature=0.07,pretrain.optimizer.lr=7,mine
"""


def test_own_numbers_are_in_the_report(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    numbers = tmp_path / "mine.csv"
    numbers.write_text(ROWS)
    path = sweep_file(dataset="digits", methods=["random"], seeds=[0, 1], evaluate=["knn"], published="mine.csv")

    def engine(spec: SweepSpec, store: Store, data: Path) -> InProcessEngine:
        numbers.unlink()  # while the sweep runs
        return InProcessEngine(spec, store, data)

    outcome = run_sweep(path, LiveTable(Console(file=io.StringIO())), Interrupts(), engine)
    assert outcome.exit_status == 0 and not numbers.exists()
    with (tmp_path / "runs/sweeps/small/report/reproduction.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["source"], row["published"], row["n"]) == ("mine", "50", "2")
    assert float(row["difference"]) == pytest.approx(float(row["mean"]) - 50)
    assert row["training"].startswith("optimizer.lr 7, ours ")

    with pytest.raises(SpecError, match="published: got"):
        stored_sweep(path)
    numbers.write_text(ROWS.replace("50.0", "60.0"))
    (found,) = stored_sweep(path).result("").published
    assert found.value == 60.0
