"""Population based training: who ends for whom, with which settings, and what a driver that dies leaves of it."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import Ran, Script, run, score_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.search.base import Create, Stop
from ssl_sweep.orchestrator.search.group_search import GroupSearch
from ssl_sweep.orchestrator.search.points import Point, Points
from ssl_sweep.orchestrator.search.population import Member, donors, explored
from ssl_sweep.orchestrator.search.space import contains
from ssl_sweep.orchestrator.spec.domains import Choice, IntegerRange, LogUniform, Uniform
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.spec.search import PopulationConfig
from ssl_sweep.orchestrator.store.events import EpochDone, StatusChanged
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from ssl_sweep.orchestrator.sweep.searches import make_searches, search_records

SweepFile = Callable[..., Path]
TEMPERATURE, LR = "method.temperature", "pretrain.optimizer.lr"
EPOCHS, INTERVAL = 6, 2


def sweep(trials: int = 4, space: dict[str, Any] | None = None, **search: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "dataset": {"name": "digits", "train_images": 200, "test_images": 100},
        "backbone": "resnet18-cifar",
        "methods": ["simclr"],
        "pretrain": {"epochs": EPOCHS, "batch_size": 32, "knn_every": 1,
                     "optimizer": {"name": "adamw", "lr": 0.001}, "schedule": {"warmup_epochs": 0}},
        "evaluate": [{"name": "knn", "k": 5}],
        "search": {
            "space": space or {TEMPERATURE: {"uniform": [0.1, 0.5]}, LR: {"loguniform": [1e-4, 1e-2]}},
            "algorithm": "pbt", "trials": trials, "population": {"interval_epochs": INTERVAL}, **search,
        },
    }  # fmt: skip


# -- what is decided --


def member(name: str, *scores: float) -> Member:
    return Member(name, {10 * (i + 1): score for i, score in enumerate(scores)})


FOUR = [member("a", 10, 90), member("b", 20, 20), member("c", 30), member("d", 40, 50)]


@pytest.mark.parametrize(
    ("trial_id", "epoch", "quantile", "expected"),
    [
        ("a", 10, 0.25, ["d"]),
        ("b", 10, 0.25, []),
        ("b", 10, 0.5, ["c", "d"]),
        ("b", 20, 0.25, ["a"]),  # c, which is slower, counts by what it scored last
        ("b", 20, 0.5, ["d", "a"]),
        ("c", 20, 0.5, ["d", "a"]),
        ("a", 30, 0.25, []),
        ("b", 30, 0.25, []),  # none of the others has come as far
    ],
)
def test_the_worst_end_for_the_best(trial_id: str, epoch: int, quantile: float, expected: list[str]) -> None:
    assert donors(trial_id, epoch, FOUR, PopulationConfig(quantile=quantile)) == expected


@pytest.mark.parametrize("members", [[], [member("a", 10)], [member("a", 10), member("b", 10)]])
def test_nobody_ends_for_one_that_is_no_better(members: list[Member]) -> None:
    assert donors("a", 10, members, PopulationConfig(quantile=0.5)) == []


def test_settings_are_explored_near_by_and_within_the_space() -> None:
    space = {
        "a": Uniform(uniform=(0.1, 0.5)), "b": LogUniform(loguniform=(1e-4, 1e-2)), "c": Choice(choice=(1, 2, 4)),
        "d": IntegerRange(randint=(1, 10)),
    }  # fmt: skip
    values = {"a": 0.2, "b": 1e-2, "c": 1, "d": 5}
    near = [explored(space, values, 0.0, random.Random(i)) for i in range(50)]
    assert {round(float(found["a"]), 6) for found in near} == {0.16, 0.24}
    assert {float(found["b"]) for found in near} == {8e-3, 1e-2} and {found["c"] for found in near} == {1, 2}
    assert {found["d"] for found in near} == {4, 6}
    fresh = [explored(space, values, 1.0, random.Random(i)) for i in range(50)]
    assert len({found["a"] for found in fresh}) == 50 and {found["c"] for found in fresh} == {1, 2, 4}
    assert all(contains(space, found) for found in near + fresh)


# -- members that run side by side --


class SideBySide:
    """A search whose trials take turns, epoch by epoch."""

    def __init__(self, path: Path):
        spec, document = load_spec(path)
        datasets = {trial.dataset: prepare(trial.dataset, data_root()) for trial in expand(spec, document)}
        (self.search,) = make_searches(spec, Store(spec.storage), datasets)
        self.running: dict[str, int] = {}
        self.trials: dict[str, TrialSpec] = {}

    def begin(self, creates: list[Create]) -> None:
        for create in creates:
            name = f"t{len(self.trials)}"
            self.trials[name] = create.trial
            self.search.created(name, create.trial)
            self.running[name] = create.trial.changes[-1].after_epoch if create.trial.changes else 0

    def turn(self, name: str, score: float) -> None:
        self.running[name] += 1
        done = EpochDone(
            epoch=self.running[name], step=1, loss=1.0, lr=0.1, images_per_second=9.0, epochs=EPOCHS, seconds=1.0,
            logs={"knn/top1": score},
        )  # fmt: skip
        for action in self.search.on_event(name, done, TrialStatus(state=TrialState.RUNNING)):
            if isinstance(action, Stop):
                assert any(point.replaces == name for point in self.search.points), "known before the member ends"
                del self.running[name]
                ended = StatusChanged(state=TrialState.STOPPED_EARLY)
                self.search.on_event(name, ended, TrialStatus(state=TrialState.STOPPED_EARLY))
            else:
                self.begin([action])


def test_a_member_goes_on_from_a_better_one_with_other_settings(sweep_file: SweepFile) -> None:
    path = sweep_file(**sweep())
    told = SideBySide(path)
    told.begin(told.search.more(1))
    assert len(told.running) == 4 and all(trial.keep_every == INTERVAL for trial in told.trials.values())
    for _ in range(INTERVAL):
        for i in (1, 2, 3, 0):  # the worst comes last
            told.turn(f"t{i}", 10.0 * i)
    assert sorted(told.running) == ["t1", "t2", "t3", "t4"]
    child, donor = told.trials["t4"], told.trials["t3"]
    (change,) = child.changes
    assert change.after_epoch == INTERVAL and child.after(0).method == donor.method
    assert all(child.axes[key] == f"{donor.axes[key]:.3g},{value:.3g}@2" for key, value in change.values.items())
    for _ in range(INTERVAL):
        for i, name in enumerate(("t4", "t3", "t2", "t1")):
            told.turn(name, 60.0 - i)
    grandchild = told.trials["t5"]
    assert grandchild.changes[0] == change and len(grandchild.changes) == 2, "of the best one's whole schedule"
    assert [point.replaces for point in told.search.points] == ["", "", "", "", "t0", "t1"]
    for name in list(told.running):
        for _ in range(INTERVAL):
            told.turn(name, 1.0)
    assert len(told.trials) == 6, "nobody begins when the training is over"


def test_each_interval_is_decided_once(sweep_file: SweepFile) -> None:
    """Whatever is heard again, and whatever is known later."""
    told = SideBySide(sweep_file(**sweep(trials=2)))
    told.begin(told.search.more(1))
    told.turn("t0", 1.0)
    told.turn("t0", 1.0)
    told.turn("t1", 50.0)
    told.turn("t1", 50.0)  # t0, which is worse, was alone when it was compared
    told.running["t0"] = 1
    told.turn("t0", 1.0)
    told.turn("t0", 1.0)
    assert sorted(told.running) == ["t0", "t1"]
    told.search.keep(now=True)
    again = SideBySide(told_path(told))
    assert [point.compared for point in again.search.known] == [2, 2]


def told_path(told: SideBySide) -> Path:
    return Path(told.search.notebook.store.location).parent / "sweep.yaml"


# -- through the driver --


def rising(trial: TrialSpec) -> float | str:
    """The warmer the better, in whatever part."""
    return 10.0 + 80 * float(trial.after(trial.pretrain.epochs).method.model_dump()["temperature"])


def ran(folder: Path, content: dict[str, Any], script: Script = rising) -> Ran:
    done = run(folder, content, script)
    assert done is not None
    return done


def points_of(search: GroupSearch) -> list[Point]:
    return list(search.known)


def test_a_search_ends_with_a_schedule_that_anybody_can_repeat(tmp_path: Path) -> None:
    done = ran(tmp_path, sweep(trials=6))
    (search,) = done.searches
    points = points_of(search)
    assert sum(not point.replaces for point in points) == 6
    best = search.best_point
    assert best is not None and best.scores["knn/top1"] == max(point.scores["knn/top1"] for point in points)
    (final,) = [item.trial for item in done.driver.planned.values() if item.trial.split == "test"]
    assert final.changes == best.changes and final.keep_every == 0
    (record,) = search_records(done.searches, ended=True)
    assert record.best is not None and record.best.values == dict(final.axes)
    assert ran(tmp_path, sweep(trials=6)).started == [], "nothing is missing"


@pytest.mark.parametrize("crash_after", [1, 9, 17, 25, 33, 41])
def test_a_driver_that_dies_changes_no_decision(crash_after: int, tmp_path: Path) -> None:
    content = sweep(trials=4)
    assert run(tmp_path, content, rising, crash_after) is None
    (before,) = make(tmp_path)
    kept = {point.trial_id: point for point in points_of(before)}
    done = ran(tmp_path, content)
    after = points_of(done.searches[0])
    assert [point.trial_id for point in after][: len(kept)] == list(kept)
    for point in after[: len(kept)]:
        old = kept[point.trial_id]
        assert (point.values, point.changes, point.replaces) == (old.values, old.changes, old.replaces)
        assert point.compared >= old.compared
    assert sum(not point.replaces for point in after) == 4
    replaced = [point.replaces for point in after if point.replaces]
    assert len(replaced) == len(set(replaced)), "nobody is replaced twice"
    assert all(status.state.is_over for status in done.driver.state.trials.values())


def test_a_member_that_was_replaced_and_did_not_hear_it_ends(tmp_path: Path) -> None:
    """The driver died between the two."""
    content = sweep(trials=2)
    done = ran(tmp_path, content)
    store, name = done.driver.store, "sweeps/small/search.json"
    kept = store.read_record(name, Points)
    assert kept is not None
    first, second, *_ = kept.points
    store.write_record(name, Points(points=(first, second.model_copy(update={"replaces": first.trial_id}))))
    TrialStore(store, first.trial_id).write_status(TrialStatus(state=TrialState.INTERRUPTED, attempts=1))
    again = ran(tmp_path, content)
    assert first.trial_id not in again.started
    assert again.driver.state.trials[first.trial_id].state is TrialState.STOPPED_EARLY
    assert again.searches[0].known[0].stopped


def make(folder: Path) -> list[GroupSearch]:
    spec, document = load_spec(folder / "sweep.yaml")
    datasets = {trial.dataset: prepare(trial.dataset, data_root()) for trial in expand(spec, document)}
    return make_searches(spec, Store(spec.storage), datasets)


def test_a_space_of_few_points_has_few_members(tmp_path: Path) -> None:
    done = ran(tmp_path, sweep(trials=5, space={TEMPERATURE: {"choice": [0.1, 0.2]}}), score_of)
    assert [point.values for point in done.searches[0].known if not point.replaces] in (
        [{TEMPERATURE: 0.1}, {TEMPERATURE: 0.2}],
        [{TEMPERATURE: 0.2}, {TEMPERATURE: 0.1}],
    )
