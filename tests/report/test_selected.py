"""Which of several settings a number has, and how far apart the others are."""

from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.report.selected import selected_table
from ssl_sweep.orchestrator.store.records import EvaluationRecord, Variant


def heads(*top1: float) -> EvaluationRecord:
    """The first was selected; all share their weight decay."""
    rates = {80.0: 0.1, 60.0: 1.0, 81.5: 10.0}
    variants = tuple(Variant(settings={"lr": rates[one], "weight_decay": 0.0}, metrics={"top1": one}) for one in top1)
    return evaluation(top1[0], "linear", variants=variants)


def test_what_each_trial_selected_is_counted() -> None:
    trials = [
        trial("simclr", 0, heads(80.0, 60.0)),
        trial("simclr", 1, heads(60.0, 81.5)),
        trial("byol", 0, heads(80.0, 60.0)),
    ]
    trials.append(trial("simclr", 2, heads(80.0, 60.0)))
    (data,) = data_tables(sweep(*trials))
    rows = [[cell.text for cell in row.cells] for row in selected_table(data).rows]
    assert rows == [
        ["linear¹ top-1", "BYOL", "lr = 0.1", "60.0 to 80.0"],
        ["linear¹ top-1", "SimCLR", "lr = 0.1 (2); lr = 1 (1)", "60.0 to 81.5"],
    ]


def test_parts_of_what_is_scored_are_no_settings() -> None:
    parts = tuple(Variant(settings={"corruption": name}, metrics={"top1": 50.0}) for name in ("fog", "snow"))
    (data,) = data_tables(
        sweep(trial("simclr", 0, evaluation(40.0, variants=parts)), trial("byol", 0, evaluation(41.0)))
    )
    assert not selected_table(data).rows
