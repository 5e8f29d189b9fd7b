"""What the report says of our numbers beside published ones: when it gives a difference, a verdict, and what differs."""

import csv
from pathlib import Path
from typing import Any

import pytest
from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.published import Published
from ssl_sweep.orchestrator.report import render_table, write_report
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.report.reproduction import COLUMNS, reproduction_table
from ssl_sweep.orchestrator.report.statistics import Spread, next_interval
from ssl_sweep.orchestrator.store.records import SweepResult, TrialResult

HEADS = ["setting", "evaluation", "source", "theirs", "ours", "difference", "within seed spread", "what differs"]


def mine(**changes: object) -> Published:
    fields: dict[str, object] = {
        "method": "simclr",
        "title": "SimCLR",
        "dataset": "cifar10",
        "backbone": "resnet18-cifar",
        "image_size": 32,
        "epochs": 200,
        "batch_size": 512,
        "evaluation": "linear",
        "metric": "top1",
        "value": 88.0,
        "protocol": "linear/simclr@1",
        "source": "mine",
    }
    return Published.model_validate(fields | changes)


def rows_of(result: SweepResult) -> list[dict[str, str]]:
    (data,) = data_tables(result)
    return [dict(zip(HEADS, (cell.text for cell in row.cells), strict=True)) for row in reproduction_table(data).rows]


def row_of(*trials: TrialResult, own: tuple[Published, ...] = (), source: str = "Lightly") -> dict[str, str]:
    return next(row for row in rows_of(sweep(*trials, published=own)) if row["source"] == source)


def test_several_seeds_have_a_difference_and_a_verdict() -> None:
    """Lightly printed 84.8 for SimCLR at batch 512 and 200 epochs: the best epoch on the test set."""
    seeds = [trial("simclr", i, evaluation(80.0, best_top1=best)) for i, best in enumerate((84.0, 85.0, 86.0))]
    row = row_of(*seeds)
    assert (row["theirs"], row["ours"], row["difference"]) == ("84.8*", "85.0 ± 1.0 (n = 3)*", "+0.2")
    assert row["within seed spread"] == "yes" and row["what differs"] == "nothing known"
    far = [trial("simclr", i, evaluation(80.0, best_top1=best)) for i, best in enumerate((70.0, 70.1, 70.2))]
    assert row_of(*far)["within seed spread"] == "no"


def test_one_seed_has_a_difference_and_no_verdict() -> None:
    row = row_of(trial("simclr", 0, evaluation(80.0, best_top1=85.1)))
    assert (row["difference"], row["within seed spread"]) == ("+0.3", "–")


def test_a_data_set_of_another_name_is_known_by_its_kind() -> None:
    called = trial("simclr", 0, evaluation(80.0, best_top1=85.1)).model_copy(
        update={"dataset": "Small pictures", "dataset_kind": "cifar10"}
    )
    assert row_of(called)["difference"] == "+0.3"


def test_where_one_more_seed_would_lie() -> None:
    low, high = next_interval(Spread(85.0, 1.0, 3)) or (0.0, 0.0)
    assert (low, high) == pytest.approx((85 - 4.9683, 85 + 4.9683), abs=1e-3)  # t(0.975, 2) = 4.3027, times sqrt(4/3)
    assert next_interval(Spread(85.0, None, 1)) is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"settings": {"k": 20, "temperature": 0.1}, "changed": {"k": 20}}, "published with k = 200, ours k = 20"),
        ({"protocol": "knn/instdisc@1"}, "published with knn/lightly@1 (k 200, temperature 0.1), ours knn/instdisc@1"),
        ({"split": "holdout"}, "ours on images held out from the training set"),
    ],
)
def test_another_measure_is_shown_with_what_differs(changes: dict[str, Any], said: str) -> None:
    row = row_of(*(trial("simclr", seed, evaluation(80.0, best_top1=85.1, **changes)) for seed in (0, 1)))
    assert said in row["what differs"]
    assert (row["theirs"], row["difference"], row["within seed spread"]) == ("84.8*", "–", "–")


def test_the_last_epoch_is_not_compared_with_the_best() -> None:
    row = row_of(trial("simclr", 0, evaluation(80.0)))
    assert (row["ours"], row["difference"]) == ("80.0 (n = 1)", "–")
    assert "published: the best epoch on the test set, ours the last" in row["what differs"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epochs": 100}, "epochs 200, ours 100"),
        ({"batch_size": 1024}, "batch size 512, ours 1024"),
        ({"axes": {"method.temperature": 0.5}}, "ours is of a grid over method.temperature"),
    ],
)
def test_the_nearest_training_is_shown_with_what_differs(changes: dict[str, object], said: str) -> None:
    row = row_of(trial("simclr", 0, evaluation(80.0, best_top1=85.0), **changes))
    assert said in row["what differs"] and row["difference"] == "–"


@pytest.mark.parametrize("changes", [{"full_dataset": False}, {"weights": "0" * 64}, {"image_size": 64}])
def test_nothing_is_published_of_a_part_of_the_data_or_given_weights(changes: dict[str, object]) -> None:
    assert not rows_of(sweep(trial("simclr", 0, evaluation(80.0), **changes)))


def test_known_settings_of_the_training_are_said_and_compared_all_the_same() -> None:
    ours = {"pretrain.optimizer.name": "sgd", "pretrain.optimizer.lr": 0.06, "method.temperature": 0.2}
    theirs = {"pretrain.optimizer.name": "lars", "pretrain.optimizer.lr": 0.4, "method.temperature": 0.2}
    own = mine(settings=theirs, recipe="paper")
    row = row_of(trial("simclr", 0, evaluation(87.0, "linear"), trained_with=ours), own=(own,), source="mine")
    assert row["difference"] == "−1.0"
    assert row["what differs"] == (
        "recipe paper, ours lightly; optimizer.name lars, ours sgd; optimizer.lr 0.4, ours 0.06"
    )


def test_what_a_source_does_not_state_is_not_taken_as_equal() -> None:
    row = row_of(trial("simclr", 0, evaluation(87.0, "linear")), own=(mine(batch_size=None),), source="mine")
    assert row["difference"] == "–" and "batch size not stated, ours 512" in row["what differs"]


def test_the_user_s_rows_are_in_the_main_table_too() -> None:
    (table,) = render_table(sweep(trial("simclr", 0, evaluation(87.0, "linear")), published=(mine(),)))
    (shown,) = [i for i, column in enumerate(table.columns) if column.label == "mine top-1"]
    assert table.rows[0].cells[shown].text == "88.0 (−1.0)"


def test_an_online_probe_is_never_compared_with_a_linear_one() -> None:
    """solo-learn: 90.74, online, after 1000 epochs at batch 256."""
    row = row_of(trial("simclr", 0, evaluation(90.0, "linear"), epochs=1000, batch_size=256), source="solo-learn")
    assert (row["theirs"], row["difference"]) == ("90.74", "–")
    assert "published with online probe" in row["what differs"] and "ours linear/simclr@1" in row["what differs"]


def test_superseded_figures_say_so() -> None:
    setting = {"dataset": "imagenet1k", "backbone": "vit_small_patch16_224", "image_size": 224, "batch_size": 512}
    (data,) = data_tables(sweep(trial("lejepa", 0, evaluation(47.0), epochs=100, **setting)))
    assert any("superseded: predates a fix of the loss" in text for text in reproduction_table(data).remarks)


def test_in_all_files(tmp_path: Path) -> None:
    files = write_report(sweep(trial("simclr", 0, evaluation(80.0, best_top1=85.1))), tmp_path)
    assert "<summary>Reproduction</summary>" in files.html.read_text()
    assert "### Reproduction" in files.markdown.read_text()
    with files.reproduction.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == list(COLUMNS)
    (row,) = [row for row in rows if row["source"] == "Lightly"]
    assert (row["published"], row["mean"], row["within"], row["epoch"]) == ("84.8", "85.1", "", "best")
    assert float(row["difference"]) == pytest.approx(0.3)
