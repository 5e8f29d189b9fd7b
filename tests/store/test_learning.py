"""The word for what a pretraining does."""

import pytest
from ssl_sweep.orchestrator.store.events import EpochDone, StageStarted
from ssl_sweep.orchestrator.store.learning import Learning, learning_of
from ssl_sweep.orchestrator.store.records import EpochRecord
from ssl_sweep.orchestrator.store.trial_status import TrialStatus


def epoch(number: int, score: float | None = None, rank: float | None = 80.0, loss: float = 5.0) -> EpochRecord:
    logs = {} if rank is None else {"features/rank": rank, "features/std": 0.9}
    logs |= {} if score is None else {"knn/top1": score}
    return EpochRecord(epoch=number, step=number, loss=loss, lr=0.1, images_per_second=1, seconds=number, logs=logs)


def word(*scores: float | None, chance: float | None = 11.0, epochs: int = 20) -> str:
    return learning_of(epoch(i, score) for i, score in enumerate(scores, start=1)).word(epochs, chance)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((), ""),
        ((40.0,), "too early"),
        ((10.0, 10.8, 9.5), "chance level"),
        ((10.0, 10.8, 20.0), "learning"),
        ((30.0, 40.0, 40.3, 40.2, 40.4), "flat since epoch 2"),
        ((30.0, 40.0, 40.3, 40.6, 40.7), "learning"),  # slowly, but it adds up
        ((30.0, 40.0, 35.0, 34.0), "falling since epoch 2"),
        ((30.0, 40.0, 35.0, 39.0), "learning"),  # once may be chance
        ((None, None), "not collapsed (rank 80)"),
    ],
)
def test_the_word_follows_the_scores(scores: tuple[float | None, ...], expected: str) -> None:
    assert word(*scores) == expected


def test_a_long_training_is_flat_later() -> None:
    assert word(30.0, 40.0, 40.0, 40.0, 40.0, epochs=200) == "learning"
    assert word(30.0, *[40.0] * 21, epochs=200) == "flat since epoch 2"


def test_without_a_known_chance_nothing_is_at_its_level() -> None:
    assert word(10.0, 10.1, chance=None) == "learning"


def test_collapsed_features_come_before_scores() -> None:
    found = learning_of([epoch(1, 40.0), epoch(2, 45.0, rank=1.234)])
    assert found.word(20, 11.0) == "collapsed (rank 1.23)"
    assert learning_of([epoch(1, rank=float("nan"))]).word(20, None) == "collapsed (rank nan)"


@pytest.mark.parametrize(
    ("losses", "expected"),
    [((5.0, 60.0), "diverging"), ((5.0, 40.0), "learning"), ((0.01, 7.0), "learning"), ((-1.0, 30.0), "diverging")],
)
def test_a_loss_that_explodes_is_diverging(losses: tuple[float, ...], expected: str) -> None:
    """Small ones may grow: the loss of MoCo begins near 0."""
    assert learning_of(epoch(i, 20.0 + i, loss=loss) for i, loss in enumerate(losses, 1)).word(20, 11.0) == expected


def test_epochs_that_a_resume_repeats_count_once() -> None:
    epochs = [epoch(i, score) for i, score in enumerate((30.0, 40.0, 40.1, 40.2), start=1)]
    assert learning_of([*epochs[:3], *epochs[1:]]) == learning_of(epochs)


def test_the_first_of_equal_scores_is_the_best() -> None:
    found = learning_of([epoch(1, 40.0, rank=50.0), epoch(2, 45.0, rank=60.0), epoch(3, 45.0)])
    assert found.best is not None and (found.best.epoch, found.best.rank) == (2, 60.0)
    assert found.last is not None and found.last.epoch == 3


def test_the_state_of_a_trial_has_it() -> None:
    status = TrialStatus().apply(StageStarted(stage="pretrain", chance=11.0))
    assert status.learning is None and "learning" not in status.model_dump()
    for i, score in enumerate((9.0, 10.0), start=1):
        status = status.apply(EpochDone(**dict(epoch(i, score)), epochs=20))
    status = TrialStatus.model_validate_json(status.apply(StageStarted(stage="knn")).model_dump_json())
    assert isinstance(status.learning, Learning) and status.learning.word(20, status.chance) == "chance level"
