"""McNemar's test between trained models: which are paired, and what a reader is told."""

import base64
import csv
from pathlib import Path

from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report import write_report
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.report.statistics import mcnemar
from ssl_sweep.orchestrator.report.trained_models import NO_DIFFERENCE, SCOPE_REMARK, models_table
from ssl_sweep.orchestrator.store.records import TrialResult

IMAGES = 40


def model(method: str, hits: str | None, seed: int = 0) -> TrialResult:
    """Hits as ones and zeros, repeated for forty images."""
    bits = None if hits is None else (hits * IMAGES)[:IMAGES]
    packed = None if bits is None else base64.b64encode(int(bits, 2).to_bytes(IMAGES // 8, "big")).decode()
    right = 20 if bits is None else bits.count("1")
    top1 = 100 * right / IMAGES
    return trial(method, seed, evaluation(top1, correct1=right, images=IMAGES, hits=packed), setting=method)


def compared(*trials: TrialResult) -> list[list[str]]:
    (data,) = data_tables(sweep(*trials))
    return [
        [cell.text for cell in row.cells]
        for row in models_table(data.models, data.protocols, data.names, data.detailed).rows
    ]


def test_the_model_with_the_most_hits_against_each_other() -> None:
    rows = compared(model("byol", "11111110"), model("dino", "11111100"), model("simclr", "1000"), model("random", "1"))
    p = [3 * mcnemar(25, 0), 2 * mcnemar(5, 0)]
    assert p[0] < 0.05 < p[1]
    assert rows == [
        ["kNN¹ top-1", "BYOL", "DINO", "0", "40", "5", "0", f"{p[1]:.4f}", NO_DIFFERENCE],
        ["kNN¹ top-1", "BYOL", "SimCLR", "0", "40", "25", "0", "< 0.0001", "the model of BYOL is better"],
    ]


def test_models_of_one_seed_are_paired() -> None:
    rows = compared(model("byol", "10", 1), model("dino", "10", 2), model("simclr", "01", 1), model("simclr", "01", 2))
    assert [row[1:7] for row in rows] == [["BYOL", "SimCLR", "1", "40", "20", "20"]]


def test_results_without_hits_have_no_such_test() -> None:
    assert compared(model("byol", "110"), model("simclr", None)) == []


def test_where_seeds_are_tested_images_are_not() -> None:
    trials = [model(method, hits, seed) for method, hits in (("byol", "110"), ("simclr", "10")) for seed in range(3)]
    assert compared(*trials) == []


def test_what_the_report_and_the_table_say(tmp_path: Path) -> None:
    files = write_report(sweep(model("byol", "111110"), model("simclr", "100")), tmp_path)
    assert "### Comparison of trained models" in files.markdown.read_text()
    assert SCOPE_REMARK.split(":")[0] in files.markdown.read_text() and SCOPE_REMARK in files.html.read_text()
    with files.statistics.open() as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "top1" and row["epoch"] == "last"]
    told = [[row[f"mcnemar_{key}"] for key in ("seed", "against", "only_own", "only_other")] for row in rows]
    assert told == [["0", "", "", ""], ["0", "byol", "0", "20"]]
    assert float(rows[1]["mcnemar_p"]) == mcnemar(20, 0)
