"""The table of what was measured between the epochs."""

from pathlib import Path

from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report import write_report
from ssl_sweep.orchestrator.report.learning_table import learning_table
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.store.records import EpochRecord, SweepResult, TrialResult


def trained(method: str, seed: int, *scores: float | None, **changes: object) -> TrialResult:
    history = tuple(
        EpochRecord(
            epoch=i, step=i, loss=1, lr=0.1, images_per_second=1, seconds=i,
            logs={"features/rank": 10.0 * i, "features/std": 0.9} | ({} if score is None else {"knn/top1": score}),
        )
        for i, score in enumerate(scores, start=1)
    )  # fmt: skip
    return trial(method, seed, evaluation(70.0), history=history, **{"epochs": len(scores), **changes})


def rows(result: SweepResult) -> list[list[str]]:
    (data,) = data_tables(result)
    return [[cell.text for cell in row.cells] for row in learning_table(data).rows]


def test_best_and_last_epoch_of_each_setting() -> None:
    result = sweep(
        trained("simclr", 0, 40.0, 50.0, 49.0),
        trained("simclr", 1, 42.0, 50.0, 51.0),
        trained("byol", 0, 10.0, 10.5, 9.0, chance=11.0, pretrain=None, status="interrupted"),
        trained("dino", 0, None, None),
        trial("random", 0, evaluation(20.0), history=()),
    )
    assert rows(result) == [
        ["BYOL", "chance level", "2", "10.5", "20.0", "3", "9.0", "30.0", "none yet"],
        ["DINO", "not collapsed (rank 20)", "–", "–", "–", "2", "–", "20.0", "of epoch 2"],
        ["SimCLR", "learning", "2, 3", "50.5 ± 0.7", "25.0 ± 7.1", "3", "50.0 ± 1.4", "30.0 ± 0.0", "of epoch 3"],
    ]


def test_seeds_that_differ_are_counted() -> None:
    result = sweep(trained("simclr", 0, 10.0, 10.0, chance=11.0), trained("simclr", 1, 10.0, 30.0, chance=11.0))
    assert rows(result)[0][1] == "chance level (1); learning (1)"


def test_the_report_says_what_the_best_epoch_is_chosen_on(tmp_path: Path) -> None:
    write_report(sweep(trained("simclr", 0, 40.0, 50.0)), tmp_path)
    for file in ("report.html", "report.md"):
        text = (tmp_path / file).read_text()
        assert "Training, epoch by epoch" in text and "on the very images it is scored on" in text
    write_report(sweep(trained("simclr", 0, None, None)), tmp_path)
    assert "Chosen by kNN top-1 between" not in (tmp_path / "report.html").read_text()
