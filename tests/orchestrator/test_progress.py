"""What the terminal shows of a sweep: a table, or lines; advice; the time that is left."""

import io
import re
import time
from pathlib import Path

import pytest
from rich.console import Console
from ssl_sweep.datasets.prepared import Prepared, SplitInfo
from ssl_sweep.orchestrator.cli.live_table import LiveTable
from ssl_sweep.orchestrator.spec.expand import groups, resolve
from ssl_sweep.orchestrator.spec.messages import validate
from ssl_sweep.orchestrator.spec.models import SweepSpec
from ssl_sweep.orchestrator.store.events import (
    AttemptLost,
    EpochDone,
    EvaluationDone,
    Event,
    StageStarted,
    StatusChanged,
)
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import StoredTrial
from ssl_sweep.orchestrator.store.records import Cost
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.sweep.pace import rest_of
from ssl_sweep.orchestrator.sweep.sizes import notes_of

TRAINING = StatusChanged(state=TrialState.RUNNING, attempt=1), StageStarted(stage="pretrain", chance=11.0)


def trial(method: str = "simclr", seed: int = 0, **pretrain: object) -> StoredTrial:
    values = {
        "name": "small",
        "dataset": "digits",
        "backbone": "resnet18-cifar",
        "methods": (method,),
        "seeds": (seed,),
    }
    spec = validate(SweepSpec, {**values, "pretrain": {"epochs": 10, **pretrain}, "evaluate": ("knn", "linear")})
    return StoredTrial(f"{method}-s{seed}-{seed:010}", resolve(spec, groups(spec)[0], seed))


def epoch(number: int, rank: float = 80.0, knn: float | None = None, seconds: float = 1.0) -> EpochDone:
    logs = {"features/rank": rank, "features/std": 0.9} | ({} if knn is None else {"knn/top1": knn})
    return EpochDone(
        epoch=number, epochs=10, step=number, loss=4.5, lr=0.1, seconds=number * seconds, images_per_second=1234.0,
        logs=logs, memory=2 * 10**9,
    )  # fmt: skip


def made(item: StoredTrial, name: str, top1: float, seconds: float = 8.0) -> EvaluationDone:
    """An evaluation of the trial."""
    config, known = next(
        (config, known)
        for config, known in zip(item.trial.evaluate, item.evaluation_ids, strict=True)
        if config.name == name
    )
    cost = Cost(seconds=seconds, workers=1, device="cpu")
    return EvaluationDone(
        stage=name, evaluation_id=known, name=name, protocol=config.protocol, settings={}, metrics={"top1": top1, "top5": 99.0},
        images=100, split="test", cost=cost,
    )  # fmt: skip


class Shown:
    """A screen, and a sweep that it hears of."""

    def __init__(self, *items: StoredTrial, width: int = 80, draws: bool = False, store: Store | None = None):
        self.out = io.StringIO()
        console = Console(file=self.out, width=width, height=30, force_terminal=draws, color_system=None)
        self.screen = LiveTable(console)
        self.status = {item.trial_id: TrialStatus() for item in items}
        if store is not None:
            self.screen.on_store(store)
        self.screen.on_trials(items, list(self.status.values()))

    def tell(self, item: StoredTrial, *events: Event) -> list[str]:
        """The lines that these events print, without their times."""
        self.out.seek(0)
        self.out.truncate()
        for event in events:
            self.status[item.trial_id] = self.status[item.trial_id].apply(event)
            self.screen.on_event(item, event, self.status[item.trial_id])
        return [line if self.screen.draws else line[21:] for line in self.out.getvalue().splitlines()]

    def table(self) -> list[str]:
        self.out.seek(0)
        self.out.truncate()
        self.screen.console.print(self.screen.table())
        return [line.rstrip() for line in self.out.getvalue().splitlines() if line.strip()]


def test_a_trial_that_ended_ends_otherwise_only_if_it_is_started_again() -> None:
    finished = TrialStatus(state=TrialState.FINISHED)
    with pytest.raises(AssertionError, match="finished cannot become failed"):
        finished.apply(StatusChanged(state=TrialState.FAILED))
    running = finished.apply(StatusChanged(state=TrialState.RUNNING, attempt=2))
    assert running.apply(StatusChanged(state=TrialState.FAILED)).state is TrialState.FAILED


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
    screen = LiveTable(Console(file=(out := io.StringIO())))
    screen.on_dataset(prepared)
    assert [line[21:] for line in out.getvalue().splitlines()] == [
        "folder: 2 of 3 test images are of classes without a training image",
        "folder: 1 damaged image left out, listed in x/meta.json",
    ]


def words(line: str) -> str:
    return " ".join(line.split())


def test_a_table_fits_the_terminal_and_has_the_scores(tmp_path: Path) -> None:
    first, second = trial(), trial("byol", 1)
    shown = Shown(first, second, draws=True, store=Store(str(tmp_path / "my runs")))
    shown.tell(first, *TRAINING, epoch(10, knn=41.0), made(first, "knn", 44.0), made(first, "linear", 55.0))
    shown.tell(first, StatusChanged(state=TrialState.FINISHED))
    shown.tell(second, *TRAINING, epoch(3, knn=30.0))
    wide = Shown(width=120, draws=True)
    wide.screen.rows = shown.screen.rows
    header, _, running, *_ = map(words, wide.table())
    assert header == "trial id stage epoch loss kNN linear left images/s memory"
    assert running == "byol seed 1 0000000001 pretrain 3/10 4.5000 30.0 % 7.0 s 1,234 2.0 GB"
    assert max(map(len, shown.table()[:4])) <= 80
    header, _, _, finished, counts, *log = map(words, shown.table())
    assert header == "trial id stage epoch loss kNN linear left"
    assert finished == "simclr seed 0 0000000000 finished 4.5000 44.0 % 55.0 %"
    assert re.fullmatch(r"1 running, 1 finished; 0\.\d s so far, about \S+ s left", counts)
    assert "".join(log).replace(" ", "") == f"log:ssl-sweeplogs0000000001-f--storage'{tmp_path}/myruns'"
    shown.screen.console.width = 50
    header, _, running, *_ = map(words, shown.table())
    assert header == "trial stage epoch kNN left" and "pretrain" in running


def test_lines_have_times_scores_and_the_log(tmp_path: Path) -> None:
    item = trial()
    shown = Shown(item, store=Store(str(tmp_path)))
    began, *_ = shown.tell(item, TRAINING[0])
    assert began == f"simclr seed 0 [0000000000]: running; log: {tmp_path}/trials/{item.trial_id}/log.txt"
    time.strptime(shown.out.getvalue()[:19], "%Y-%m-%d %H:%M:%S")
    shown.tell(item, epoch(10), made(item, "knn", 44.0), made(item, "linear", 55.0))
    (finished,) = shown.tell(item, StatusChanged(state=TrialState.FINISHED))
    assert finished == "simclr seed 0 [0000000000]: finished: kNN 44.0 %, linear 55.0 %"


@pytest.mark.parametrize("draws", [True, False])
def test_restarts_and_failures_are_told_with_their_reason(draws: bool, tmp_path: Path) -> None:
    item = trial()
    shown = Shown(item, draws=draws, width=300, store=Store(str(tmp_path)))
    shown.tell(item, *TRAINING)
    lost = AttemptLost(fault=Fault.WORKER_DIED, reason="the worker died")
    assert shown.tell(item, lost) == [
        "simclr seed 0 [0000000000]: restart 1: the worker died; it goes on from its last checkpoint"
    ]
    shown.tell(item, StatusChanged(state=TrialState.RUNNING, attempt=2))
    assert "pretrain (restart 1: worker died)" in " ".join(shown.table())
    (failed,) = shown.tell(item, StatusChanged(state=TrialState.FAILED, reason="no luck"))
    assert failed == f"simclr seed 0 [0000000000]: failed: no luck; log: {tmp_path}/trials/{item.trial_id}/log.txt"


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    item = trial()
    shown = Shown(item, draws=True)
    with shown.screen.live():
        assert shown.tell(item, *TRAINING, epoch(1)) == [
            "simclr seed 0 [0000000000]: running",
            "simclr seed 0 [0000000000]: epoch 1/10, loss 4.5000, 1,234 images/s, 9.0 s left",
        ]


@pytest.mark.parametrize("draws", [True, False])
def test_a_collapse_is_advised_once(draws: bool) -> None:
    item = trial()
    shown = Shown(item, draws=draws, width=1000)
    assert not any("advice" in line for line in shown.tell(item, *TRAINING, epoch(4, rank=1.2)))  # it may pass
    *_, told = shown.tell(item, epoch(5, rank=1.2))
    assert told.startswith(
        "advice: simclr seed 0 [0000000000]: its features have collapsed (rank 1.2, spread 0.9): lower"
    )
    assert "`pretrain.optimizer.lr` (now 0.3)" in told
    assert not any("advice" in line for line in shown.tell(item, epoch(6, rank=1.1)))


def test_chance_level_is_advised() -> None:
    item = trial()
    shown = Shown(item)
    shown.tell(item, *TRAINING, epoch(1, knn=10.0))
    *_, told = shown.tell(item, epoch(2, knn=10.5))
    assert told.startswith(
        "advice: simclr seed 0 [0000000000]: kNN 10.5 % is what guessing gives, after 2 epochs: raise"
    )
    other = trial("byol", 1)
    shown = Shown(other)
    *_, told = shown.tell(other, *TRAINING, epoch(1), made(other, "linear", 9.0))
    assert told.startswith(
        "advice: byol seed 1 [0000000001]: linear top-1 9.0 % is what guessing gives: raise `pretrain.epochs`"
    )


def test_a_warm_up_longer_than_the_training_is_noted() -> None:
    (note,) = notes_of([trial(schedule={"warmup_epochs": 12}).trial], {})
    assert note.startswith(
        "simclr: the warm-up takes 12 epochs and the training 10, so the learning rate only rises: lower"
    )
    assert "`pretrain.schedule.warmup_epochs` to about 1" in note
    assert notes_of([trial(schedule={"warmup_epochs": 2}).trial, trial("random").trial], {}) == []


def test_the_rest_of_a_sweep_is_estimated_from_its_trials() -> None:
    first, second, third = trial(), trial(seed=1), trial("byol", 2)
    waiting, status = TrialStatus(), TrialStatus()
    for event in (*TRAINING, epoch(5, seconds=2.0)):
        status = status.apply(event)
    assert rest_of([(first, waiting)]) is None
    assert rest_of([(first, status), (second, waiting), (third, waiting)]) == (10.0 + 20.0 + 20.0, True)
    for event in (made(first, "knn", 40.0, 3.0), made(first, "linear", 50.0, 7.0)):
        status = status.apply(event)
    assert rest_of([(first, status), (second, waiting)]) == (10.0 + 20.0 + 3.0 + 7.0, False)
    together = [(first, status), (second, TrialStatus(state=TrialState.RUNNING))]
    assert rest_of(together) == (30.0, False), "as long as the longer of both"
