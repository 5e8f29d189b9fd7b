"""Numbers of the main table, worked by hand; which numbers share a column; what is compared with published ones."""

import io
import statistics

import pytest
from made_by_hand import evaluation, full_sweep, searched, sweep, trial
from rich.console import Console
from ssl_sweep.evaluation.base import Metric
from ssl_sweep.methods.quantities import duration, integer, plural
from ssl_sweep.orchestrator.report import render_table, terminal_table
from ssl_sweep.orchestrator.report.formats import accuracy, difference, memory
from ssl_sweep.orchestrator.report.search import front_table, search_table
from ssl_sweep.orchestrator.report.sections import cost_table, environment_table, restarts_table, unfinished_table
from ssl_sweep.orchestrator.report.settings import group_settings, labels
from ssl_sweep.orchestrator.report.statistics import Spread, spread
from ssl_sweep.orchestrator.report.table import NONE, Table
from ssl_sweep.orchestrator.report.terminal import MOST_ROWS
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.records import Cost, PretrainRecord, Restart


def column(table: Table, label: str, group: str = "") -> list[str]:
    index = next(i for i, c in enumerate(table.columns) if c.label == label and c.group.startswith(group))
    return [row.cells[index].text for row in table.rows]


def test_mean_and_sample_deviation() -> None:
    assert spread([84.0, 85.0, 86.0]) == Spread(85.0, 1.0, 3)
    assert spread([1.0, 4.0]) == Spread(2.5, statistics.stdev([1.0, 4.0]), 2)  # 2.1213, not the population's 1.5
    assert spread([3.0]) == Spread(3.0, None, 1)
    assert spread([]) is None


def test_formats() -> None:
    assert accuracy(Spread(84.96, 0.14, 3), 3) == "85.0 ± 0.1"
    assert accuracy(Spread(84.96, None, 1)) == "85.0 (n = 1)"
    assert accuracy(Spread(-0.004, 0.001, 2), 2, digits=2) == "0.00 ± 0.00"  # and not −0.00
    assert Metric("loss", "loss", digits=2).text(-0.004) == "loss 0.00"
    assert [plural(n, noun) for n, noun in ((1, "trial"), (0, "trial"), (1, "class"), (12_000, "test class"))] == [
        "1 trial", "0 trials", "1 class", "12\u202f000 test classes",
    ]  # fmt: skip
    assert [duration(s) for s in (0.42, 41, 245, 3599, 11520, 7200)] == [
        "0.4 s", "41 s", "4 min 5 s", "1 h", "3 h 12 min", "2 h",
    ]  # fmt: skip
    assert [memory(b) for b in (1_540_000_000, 812_000_000, 999_600_000)] == ["1.5 GB", "812 MB", "1.0 GB"]
    assert [difference(84.96, 84.8), difference(84.0, 84.8), difference(84.84, 84.8)] == ["+0.2", "−0.8", "0.0"]
    assert [integer(n) for n in (9000, 10_000, 1_281_167)] == ["9000", "10\u202f000", "1\u202f281\u202f167"]


def test_rows_of_the_full_sweep() -> None:
    (table,) = render_table(full_sweep())
    assert column(table, "method") == ["BYOL", "DINO", "SimCLR", "random"]  # baselines last
    assert column(table, "n") == ["1 of 2 ▲", "0 of 1 ▲", "3", "1"]
    assert column(table, "top-1", "kNN") == ["86.0", "–", "85.0 ± 1.0", "40.0"]
    assert column(table, "best epoch*") == ["86.5", "–", "86.0 ± 1.0", "–"]
    assert column(table, "epochs") == ["200", "200", "200", "–"]
    assert column(table, "peak memory") == ["1.5 GB", "–", "1.5 GB", "–"]
    assert [row.incomplete for row in table.rows] == [True, True, False, False]
    top1 = next(i for i, c in enumerate(table.columns) if c.label == "top-1")
    assert [row.cells[top1].best for row in table.rows] == [True, False, False, False]


def test_a_baseline_is_never_best() -> None:
    (table,) = render_table(
        sweep(
            trial("simclr", 0, evaluation(80.0)),
            trial("byol", 0, evaluation(81.0)),
            trial("supervised", 0, evaluation(94.0)),
        )
    )
    bold = {row.cells[0].text for row in table.rows if any(cell.best for cell in row.cells)}
    assert "supervised" not in bold and "BYOL" in bold


def test_differing_settings_stand_in_columns_of_their_own() -> None:
    other = evaluation(70.0, settings={"k": 20, "temperature": 0.1}, changed={"k": 20})
    (table,) = render_table(sweep(trial("simclr", 0, evaluation(80.0)), trial("byol", 0, other)))
    groups = [group for group, _ in table.header_groups() if group.startswith("kNN")]
    assert len(groups) == 2 and "k = 20 " in " ".join(groups) and "k = 200" in " ".join(groups)
    assert column(table, "top-1", groups[0]) != column(table, "top-1", groups[1])
    assert [note.changed for note in table.notes].count("k = 20") == 1


@pytest.mark.parametrize("changes", [{"protocol": "knn/lightly@2"}, {"split": "holdout"}])
def test_other_protocols_and_splits_stand_apart(changes: dict[str, object]) -> None:
    (table,) = render_table(
        sweep(trial("simclr", 0, evaluation(80.0)), trial("simclr", 1, evaluation(60.0, **changes)))
    )
    assert len(table.notes) == 2
    shown = {cell.text for cell in table.rows[0].cells}
    assert {"80.0 (n = 1)", "60.0 (n = 1)"} <= shown  # two seeds finished, one number each


def test_trials_that_repeat_a_seed_are_not_averaged() -> None:
    settings = group_settings(
        [trial("byol", 0, evaluation(80.0), trial_id="a"), trial("byol", 0, evaluation(90.0), trial_id="b")]
    )
    assert [len(setting.trials) for setting in settings] == [1, 1]
    assert labels(settings) == ["BYOL #a", "BYOL #b"]


def test_settings_with_another_hash_are_rows_of_their_own() -> None:
    (table,) = render_table(sweep(*(trial("byol", seed, evaluation(80.0), setting=s) for seed in (0, 1) for s in "xy")))
    assert column(table, "method") == ["BYOL #x", "BYOL #y"] and column(table, "n") == ["2", "2"]


def test_grid_axes_are_columns_and_sorted_as_numbers() -> None:
    trials = [
        trial(
            "simclr", 0, evaluation(80.0), axes={"method.temperature": t, "pretrain.batch_size": 512}, trial_id=str(t)
        )
        for t in (10.0, 0.5, 2.0)
    ]
    (table,) = render_table(sweep(*trials))
    assert column(table, "temperature") == ["0.5", "2", "10"]
    assert "batch_size" not in {c.label for c in table.columns}  # the batch size has its column


def test_data_sets_have_tables_of_their_own() -> None:
    tables = render_table(
        sweep(
            trial("simclr", 0, evaluation(80.0)),
            trial("simclr", 1, evaluation(30.0), full_dataset=False),
            trial("simclr", 2, status="waiting", dataset_fingerprint="", pretrain=None),
        )
    )
    assert [table.title for table in tables] == ["cifar10, a part of it (data abc)", "cifar10 (data abc)"]
    assert [len(table.rows) for table in tables] == [1, 1]
    assert column(tables[1], "n") == ["1 of 2 ▲"]


def test_published_best_epoch_is_compared_with_the_best_epoch() -> None:
    (table,) = render_table(sweep(trial("simclr", 0, evaluation(80.0, best_top1=85.1))))
    assert column(table, "Lightly best epoch") == ["84.8 (+0.3)"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"best_top1": 85.1, "changed": {"k": 20}}, {"best_top1": 85.1, "settings": {"k": 20, "temperature": 0.1}}],
)
def test_no_difference_where_the_published_figure_is_another_measure(changes: dict[str, object]) -> None:
    (table,) = render_table(sweep(trial("simclr", 0, evaluation(80.0, **changes))))
    assert "84.8 ‡" in {cell.text for cell in table.rows[0].cells}


@pytest.mark.parametrize(
    ("protocol", "text"),
    [("finetune/lightly-vit@1", "79.8 (+0.2)"), ("finetune/mae@2", "79.8 ‡"), ("finetune/simclr@1", "79.8 ‡")],
)
def test_a_published_fine_tuning_is_compared_under_its_own_protocol(protocol: str, text: str) -> None:
    record = evaluation(79.0, "finetune", protocol=protocol, best_top1=80.0)
    setting = {"dataset": "imagenet1k", "backbone": "vit_small_patch16_224", "image_size": 224, "batch_size": 128}
    (table,) = render_table(sweep(trial("dino", 0, record, epochs=100, **setting)))
    assert text in {cell.text for cell in table.rows[0].cells}


@pytest.mark.parametrize(
    "changes",
    [
        {"full_dataset": False},
        {"image_size": 64},
        {"backbone": "resnet18"},
        {"axes": {"method.temperature": 0.5}},
        {"epochs": 100},
        {"dataset": "digits"},
        {"method": "mocov3"},
    ],
)
def test_no_published_figure_in_another_setting(changes: dict[str, object]) -> None:
    (table,) = render_table(
        sweep(trial(**{"method": "simclr", **changes}).model_copy(update={"evaluations": (evaluation(80.0),)}))
    )
    assert not any(c.beside for c in table.columns)


def test_a_search_shows_its_best_point_beside_the_others() -> None:
    result = sweep(searches=(searched(70.0, 72.0, 71.0, None),))
    (row,) = search_table(result).rows
    assert [cell.text for cell in row.cells][3:] == [
        NONE, "3 of 4", "method.t = 1", "72.0", "1", "71.0", "kNN top-1, knn/lightly@1"
    ]  # fmt: skip
    assert render_table(result) == () and front_table(result).rows == ()


def test_the_pareto_front_of_several_objectives() -> None:
    search = searched(70.0, 72.0, costs=(0.5, 2.0))
    (first, second) = front_table(sweep(searches=(search,))).rows
    assert [cell.text for cell in first.cells][3:] == ["method.t = 1", "72.0", "2.00", "2.0", "yes"]
    assert [cell.text for cell in second.cells][3:] == ["method.t = 0", "70.0", "0.50", "0.5", NONE]


def test_a_search_that_found_nothing_is_no_trial_without_a_result() -> None:
    search = searched(None).model_copy(update={"reason": "none of the 1 points of its search has a score"})
    (row,) = unfinished_table(sweep(searches=(search,)), None).rows
    assert [cell.text for cell in row.cells][:4] == ["failed", "SimCLR", NONE, search.reason]


def test_restarts_by_kind_of_fault() -> None:
    lost = [
        Restart(fault=Fault.WORKER_DIED, reason="its worker died", time=1_700_000_000.0),
        Restart(fault=Fault.HUNG, reason="rank 1 gave no sign of life for 130 s", time=1_700_000_060.0),
        Restart(fault=Fault.WORKER_DIED, reason="its worker died\nagain", time=1_700_000_120.0),
    ]
    table = restarts_table(sweep(trial("simclr", 0), trial("byol", 1, restarts=lost)))
    assert [[cell.text for cell in row.cells][:6] for row in table.rows] == [
        ["BYOL", "1", "worker died", "2", "its worker died again", "2023-11-14 22:15"],
        ["BYOL", "1", "hung", "1", "rank 1 gave no sign of life for 130 s", "2023-11-14 22:14"],
    ]


def test_unfinished_trials_with_reason_and_log() -> None:
    table = unfinished_table(full_sweep(), lambda t: f"../{t.trial_id}/log.txt" if t.status == "failed" else None)
    failed, missing = table.rows
    assert [cell.text for cell in failed.cells][:4] == [
        "failed",
        "BYOL",
        "1",
        "loss became nan at step 3 (after epoch 4 of 200)",
    ]
    assert failed.cells[5].text == "trials/byol-1/log.txt" and failed.cells[5].href == "../byol-1-/log.txt"
    assert [cell.text for cell in missing.cells][:4] == ["waiting", "DINO", "0", "not started"]


def test_cost_and_environment() -> None:
    cpu = PretrainRecord(
        cost=Cost(seconds=30, workers=1, device="cpu", resident=5), epochs=1, final_loss=None, images_per_second=1
    )
    result = sweep(
        trial("simclr", 0, evaluation(80.0), environment={"torch": "2.13", "python": "3.11"}),
        trial("simclr", 1, environment={"torch": "2.14", "python": "3.11"}, pretrain=cpu),
    )
    stages = [[cell.text for cell in row.cells] for row in cost_table(result).rows]
    assert stages[0] == ["pretraining", "2", "1 min 30 s", "45 s", "2 min 30 s", "CPU, NVIDIA H200"]
    assert stages[-1][:3] == ["all", "3", "2 min 30 s"]
    found = {row.cells[0].text: row.cells[1].text for row in environment_table(result).rows}
    assert found["torch"] == "2.13 (1 trial); 2.14 (1 trial)" and found["python"] == "3.11"


def test_a_terminal_shows_the_first_rows_and_counts_the_rest() -> None:
    result = sweep(
        *(trial("simclr", 0, evaluation(80.0), setting=f"{i:03d}", axes={"lr": i}) for i in range(MOST_ROWS + 20))
    )
    console = Console(file=io.StringIO(), width=160)
    console.print(terminal_table(result))
    shown = console.file.getvalue()
    assert shown.count("SimCLR") == MOST_ROWS
    assert "… and 20 more rows in the report." in shown
