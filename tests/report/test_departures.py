"""Rows that depart from their recipe say so under the table."""

import json

from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report import render_table
from ssl_sweep.orchestrator.report.tidy import COLUMNS, tidy_table

TEXT = "pretrain.precision 'bf16' (recipe: 'float32')"


def test_departures_are_listed_by_row() -> None:
    departing = [trial(name, 0, evaluation(80.0), departures=(TEXT,)) for name in ("simclr", "byol")]
    (table,) = render_table(sweep(*departing, trial("dino", 0, evaluation(80.0))))
    found = [text for text in table.remarks if text.startswith("Differs from recipe")]
    assert found == [f"Differs from recipe lightly: BYOL; SimCLR: {TEXT}."]


def test_departures_are_a_column_of_the_results() -> None:
    assert COLUMNS["departures"] == "string"
    row = tidy_table(sweep(trial("simclr", 0, evaluation(80.0), departures=(TEXT, "x")))).to_pylist()[0]
    assert row["departures"] == f"{TEXT}; x" and json.loads(row["axes"]) == {}
