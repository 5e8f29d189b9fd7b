"""A sweep with the evaluation `robustness`: from its file to the report."""

import json
from collections.abc import Callable
from pathlib import Path

from immutables import Map
from in_process import carry, trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.report import render_table, write_report
from ssl_sweep.orchestrator.report.tidy import tidy_table
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.sweep.results import collect
from ssl_sweep.orchestrator.sweep.state import SweepState


def test_from_a_sweep_file_to_the_report(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    few = {"name": "robustness", "k": 20, "corruptions": ["frost", "pixelate"], "severities": [1, 5], "images": 40}
    path = sweep_file(methods=["random"], evaluate=[few])
    (trial,) = trials_of(path)
    folder = carry(trial, tmp_path / "runs")
    record = folder.evaluation(trial.evaluate[0])
    assert record is not None and record.images == 40 and len(record.variants) == 4
    assert record.protocol == "robustness/imagenet-c-vit@1"
    assert set(record.metrics) == {"corrupted_top1", "clean_top1", "relative_drop"}

    store = Store(str(tmp_path / "runs"))
    planned = [PlannedTrial(folder.trial_id, trial, prepare(trial.dataset, data_root()))]
    state = SweepState(Map({folder.trial_id: folder.status()}))
    result = collect(load_spec(path)[0], planned, state, store, "test")
    (table,) = render_table(result)
    shown = [column.label for column in table.columns if column.group.startswith("robustness")]
    assert shown == ["corrupted top-1", "clean top-1", "relative drop"]
    (row,) = tidy_table(result).to_pylist()
    assert json.loads(row["variants"])[0]["settings"] == {"corruption": "frost", "severity": 1}
    text = write_report(result, tmp_path / "report").markdown.read_text()
    assert "the frost is synthetic" in text and "they are a part of the 100 there are, evenly spread" in text
    assert f"{record.metrics['corrupted_top1']:.1f}" in text
