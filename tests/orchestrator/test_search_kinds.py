"""What a search can be asked for: conditions, constraints, seeds, budgets, limits, several objectives, other packages' samplers."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scripted import Ran, run, score_of
from ssl_sweep.orchestrator.search.early_stopping import Stopping
from ssl_sweep.orchestrator.search.optuna_sampler import OptunaSampler
from ssl_sweep.orchestrator.search.points import Notebook, Point, front_of
from ssl_sweep.orchestrator.search.space import contains
from ssl_sweep.orchestrator.spec.constraints import holds
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.spec.search import EarlyStopping
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_state import TrialState

TEMPERATURE, BATCH, NAME, MOMENTUM = (
    "method.temperature",
    "pretrain.batch_size",
    "pretrain.optimizer.name",
    "pretrain.optimizer.momentum",
)
CONDITIONAL: dict[str, Any] = {
    MOMENTUM: {"choice": [0.8, 0.9], "when": {NAME: "sgd"}},
    NAME: {"choice": ["sgd", "adam"]},
}


def sweep(space: dict[str, Any], **search: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "dataset": {"name": "digits", "train_images": 200, "test_images": 100},
        "backbone": "resnet18-cifar",
        "methods": ["simclr"],
        "pretrain": {"epochs": 4, "batch_size": 32, "knn_every": 1,
                     "optimizer": {"name": "adamw", "lr": 0.001}, "schedule": {"warmup_epochs": 0}},
        "evaluate": [{"name": "knn", "k": 5}],
        "search": {"space": space, **search},
    }  # fmt: skip


def ran(folder: Path, content: dict[str, Any], script: Any = score_of) -> Ran:
    done = run(folder, content, script)
    assert done is not None
    return done


def values(done: Ran) -> list[dict[str, Any]]:
    return [point.values for point in done.searches[0].known]


def test_a_grid_tries_every_point_once(tmp_path: Path) -> None:
    space = {TEMPERATURE: {"choice": [0.1, 0.2]}, BATCH: {"randint": [30, 32]}}
    tried = values(ran(tmp_path, sweep(space, algorithm="grid")))
    assert tried == [{TEMPERATURE: t, BATCH: b} for t in (0.1, 0.2) for b in (30, 31, 32)]
    assert values(ran(tmp_path, sweep(space, algorithm="grid", trials=4)))[:4] == tried[:4]


def test_an_axis_that_is_not_there_makes_no_points(tmp_path: Path) -> None:
    tried = values(ran(tmp_path, sweep(CONDITIONAL, algorithm="grid")))
    assert tried == [{NAME: "sgd", MOMENTUM: 0.8}, {NAME: "sgd", MOMENTUM: 0.9}, {NAME: "adam"}]


@pytest.mark.parametrize("algorithm", ["random", "tpe", "nsgaii"])
def test_conditions_hold_of_every_sampled_point(algorithm: str, tmp_path: Path) -> None:
    tried = values(ran(tmp_path, sweep(CONDITIONAL, algorithm=algorithm, trials=12)))
    assert {point[NAME] for point in tried} == {"sgd", "adam"}
    assert all((MOMENTUM in point) == (point[NAME] == "sgd") for point in tried)


def test_an_axis_of_some_methods(tmp_path: Path) -> None:
    space = {TEMPERATURE: {"uniform": [0.1, 0.5]}, BATCH: {"choice": [16, 32], "when": {"method": "byol"}}}
    done = ran(tmp_path, sweep(space, trials=2) | {"methods": ["simclr", "byol", "random"]})
    assert [list(search.space) for search in done.searches] == [[TEMPERATURE], [BATCH], []]


@pytest.mark.parametrize("algorithm", ["gp", "cmaes", "qmc", "nsgaii", "tpe", "random"])
def test_points_are_sampled_once_and_found_again(algorithm: str, tmp_path: Path) -> None:
    space = {TEMPERATURE: {"uniform": [0.1, 0.5]}, "pretrain.optimizer.lr": {"loguniform": [1e-4, 1e-2]}}
    six = ran(tmp_path, sweep(space, algorithm=algorithm, trials=6))
    eight = ran(tmp_path, sweep(space, algorithm=algorithm, trials=8))
    assert values(eight)[:6] == values(six)
    assert len({str(point) for point in values(eight)}) == 8
    assert len(eight.started) == 2 + (eight.searches[0].best != six.searches[0].best)


@pytest.mark.parametrize("algorithm", ["qmc", "random"])
def test_what_does_not_learn_has_one_sequence(algorithm: str, tmp_path: Path) -> None:
    space = {TEMPERATURE: {"uniform": [0.1, 0.5]}}
    (tmp_path / "at once").mkdir()
    at_once = ran(tmp_path / "at once", sweep(space, algorithm=algorithm, trials=8))
    ran(tmp_path, sweep(space, algorithm=algorithm, trials=3))
    assert values(ran(tmp_path, sweep(space, algorithm=algorithm, trials=8))) == values(at_once)


def test_constraints_over_what_is_searched_and_what_is_not(tmp_path: Path) -> None:
    space = {BATCH: {"randint": [16, 64]}, "pretrain.epochs": {"randint": [2, 6]}}
    constraints = [
        "pretrain.batch_size % 8 == 0 and pretrain.epochs * 10 < pretrain.batch_size",
        "method.temperature < 1",
    ]
    tried = values(ran(tmp_path, sweep(space, trials=6, constraints=constraints)))
    assert len(tried) == 6
    assert all(point[BATCH] % 8 == 0 and point["pretrain.epochs"] * 10 < point[BATCH] for point in tried)
    done = ran(tmp_path, sweep(space, trials=6, constraints=["pretrain.batch_size > 100"]))
    assert values(done) == [] and done.searches[0].best is None


@pytest.mark.parametrize(
    ("constraint", "result"),
    [
        ("a.b < 3", True), ("a.b < 2", False), ("1 < a.b <= 2", True), ("a.b == 2 or a.c == 'x'", True),
        ("not a.b == 2", False), ("a.c != 'x'", False), ("a.b * 2 + 1 == 5 and a.d == true", True), ("a.b // 2 == 1", True),
        ("a.none < 1", True), ("-a.b < 0", True), ("a.b / 4 == 0.5", True), ("a.e == null", True),
    ],
)  # fmt: skip
def test_what_a_constraint_says(constraint: str, result: bool) -> None:
    assert holds(constraint, {"a": {"b": 2, "c": "x", "d": True, "e": None}}) is result


def test_the_best_points_get_more_seeds(tmp_path: Path) -> None:
    space = {TEMPERATURE: {"choice": [i / 10 for i in range(1, 9)]}}
    done = ran(tmp_path, sweep(space, algorithm="grid", seeds=[0, 1, 2, 3]))
    assert Counter(point.seeds for point in done.searches[0].known) == {1: 4, 2: 2, 4: 2}
    points = {point.trial_id: point for point in done.searches[0].known}
    trials = [item.trial for item in done.driver.planned.values() if item.trial.split == "holdout"]
    for point in points.values():
        scores = [score_of(trial) for trial in trials if dict(trial.axes) == point.values]
        assert point.scores["knn/top1"] == pytest.approx(sum(scores) / len(scores))
    assert Counter(trial.seed for trial in trials) == {0: 8, 1: 4, 2: 2, 3: 2}
    assert ran(tmp_path, sweep(space, algorithm="grid", seeds=[0, 1, 2, 3])).started == []


def test_a_point_of_which_a_seed_fails_is_not_chosen(tmp_path: Path) -> None:
    def script(trial: TrialSpec) -> float | str:
        best = trial.axes[TEMPERATURE] == 0.3
        return "fails" if best and trial.seed == 1 else 90.0 if best else 10 * float(trial.axes[TEMPERATURE])

    done = ran(tmp_path, sweep({TEMPERATURE: {"choice": [0.1, 0.2, 0.3]}}, algorithm="grid", seeds=[0, 1]), script)
    assert done.searches[0].best == {TEMPERATURE: 0.2}


def test_hours_of_the_devices_bound_a_search(tmp_path: Path) -> None:
    """Each trial takes 72 seconds: 36 of pretraining and 36 of kNN."""
    done = ran(tmp_path, sweep({TEMPERATURE: {"uniform": [0.1, 0.5]}}, gpu_hours=0.05))
    assert len(values(done)) == 3
    assert len(values(ran(tmp_path, sweep({TEMPERATURE: {"uniform": [0.1, 0.5]}}, gpu_hours=0.1)))) == 5


def test_the_clock_of_a_search_goes_on_with_the_next_submit(tmp_path: Path) -> None:
    clock = [0.0]
    for number in range(3):
        notebook = Notebook(Store(str(tmp_path)), "small", clock=lambda: clock[0])
        clock[0] += 100
        assert notebook.seconds("a") == 100 * (number + 1)
        notebook.keep("a", [])


def test_a_search_whose_time_is_over_begins_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Notebook, "seconds", lambda notebook, search: 3600.0)
    done = ran(tmp_path, sweep({TEMPERATURE: {"uniform": [0.1, 0.5]}}, wall_time="60 min"))
    assert done.started == []
    (record,) = run_records(done)
    assert record.reason == "the search's time was over"
    later = ran(tmp_path, sweep({TEMPERATURE: {"uniform": [0.1, 0.5]}}, wall_time="61 min", trials=2))
    assert len(values(later)) == 2


def test_what_takes_more_than_allowed_is_not_chosen(tmp_path: Path) -> None:
    content = sweep({TEMPERATURE: {"uniform": [0.1, 0.5]}}, trials=2, limits={"memory_gb": 0.5})
    done = ran(tmp_path, content)
    assert done.searches[0].best is None
    (record,) = run_records(done)
    assert record.reason == "of the 2 points of its search with a score, none keeps to `limits`"
    assert ran(tmp_path, content | {"search": content["search"] | {"limits": {"memory_gb": 2}}}).searches[0].best


def run_records(done: Ran) -> Any:
    from ssl_sweep.orchestrator.sweep.searches import search_records

    return search_records(done.searches, ended=True)


def test_several_objectives(tmp_path: Path) -> None:
    def script(trial: TrialSpec) -> float | str:
        return 50.0 + trial.pretrain.batch_size

    metric = ["knn/top1", "hours", "images_per_second"]
    done = ran(tmp_path, sweep({BATCH: {"choice": [16, 32, 48]}}, algorithm="nsgaii", trials=6, metric=metric), script)
    assert done.searches[0].best == {BATCH: max(point[BATCH] for point in values(done))}
    front = front_of(done.searches[0].known, metric)
    assert {point.values[BATCH] for point in front} == {max(point[BATCH] for point in values(done))}
    assert all(point.scores.keys() == set(metric) for point in front)


def test_a_search_of_a_package_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"search.algorithm: 'zoopt' cannot be used here: .* pip install zoopt"):
        run(tmp_path, sweep({TEMPERATURE: {"uniform": [0.1, 0.5]}}, algorithm="zoopt"), score_of)


@pytest.mark.filterwarnings("ignore")  # of a package that is not ours
def test_a_searcher_of_ray_tune(tmp_path: Path) -> None:
    pytest.importorskip("hyperopt", reason="an optional package, which users install by themselves")
    space = {TEMPERATURE: {"uniform": [0.1, 0.5]}, BATCH: {"randint": [16, 64]}, NAME: {"choice": ["sgd", "adam"]}}
    six = ran(tmp_path, sweep(space, algorithm="hyperopt", trials=6))
    eight = ran(tmp_path, sweep(space, algorithm="hyperopt", trials=8))
    assert values(eight)[:6] == values(six) and len(values(eight)) == 8


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_what_falls_behind_ends_early(name: str, tmp_path: Path) -> None:
    """The first trials are the best, so that there is something to fall behind."""
    script = {i / 100: 90.0 - 5 * i for i in range(10, 18)}
    space = {TEMPERATURE: {"choice": list(script)}}
    stopping = {"name": name, "grace_epochs": 1, "reduction": 2}
    done = ran(
        tmp_path,
        sweep(space, algorithm="grid", early_stopping=stopping),
        lambda trial: script[float(trial.axes[TEMPERATURE])],
    )
    points = done.searches[0].known
    assert sum(point.stopped for point in points) >= 2
    assert done.searches[0].best == {TEMPERATURE: 0.1}
    states = {done.driver.state.trials[point.trial_id].state for point in points if point.stopped}
    assert states == {TrialState.STOPPED_EARLY}


HYPERBAND = {"name": "hyperband", "grace_epochs": 1, "reduction": 2}


def test_bohb_samples_within_conditions_and_takes_what_went_furthest_for_the_best(tmp_path: Path) -> None:
    content = sweep(CONDITIONAL | {TEMPERATURE: {"uniform": [0.1, 0.5]}}, algorithm="bohb", trials=14)
    content["search"]["early_stopping"] = HYPERBAND
    (search,) = ran(tmp_path, content).searches
    assert len(search.known) == 14 and all(contains(search.space, point.values) for point in search.known)
    assert ran(tmp_path, content).started == []

    sampler = OptunaSampler(search.search, search.space, seen=0)
    for i in range(12):  # those near 0.4 went to epoch 2, and scored less there than the others in epoch 1
        far, spot = i < 6, 0.01 * (i % 6)
        curve = {1: 50.0, 2: 60.0} if far else {1: 70.0}
        values = {NAME: "adam", TEMPERATURE: 0.4 + spot if far else 0.2 + spot}
        scores = {"knn/top1": curve[max(curve)]}
        sampler.tell(Point(trial_id=str(i), values=values, scores=scores, stopped=True, curve=curve))
    sampled = [point for point in (sampler.next() for _ in range(10)) if point is not None]
    assert sum(float(point[TEMPERATURE]) > 0.3 for point in sampled) > 5


def test_without_early_stopping_those_that_were_stopped_go_on(tmp_path: Path) -> None:
    space = {TEMPERATURE: {"choice": [0.1, 0.2, 0.3, 0.4]}}
    stopping = {"early_stopping": {"grace_epochs": 1, "reduction": 2}}
    first = ran(
        tmp_path, sweep(space, algorithm="grid", **stopping), lambda trial: 90 - 100 * float(trial.axes[TEMPERATURE])
    )
    assert any(point.stopped for point in first.searches[0].known)
    other = ran(tmp_path, sweep(space, algorithm="grid"), lambda trial: 90 - 100 * float(trial.axes[TEMPERATURE]))
    assert [point.stopped for point in other.searches[0].known] == [False] * 4
    assert len(other.searches[0].known) == 4 and all(point.scores for point in other.searches[0].known)


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_early_stopping_is_a_fold(name: str) -> None:
    """Repeated from the curves, it decides as before; of a trial that was to end, it says so again."""
    config = EarlyStopping.model_validate({"name": name, "grace_epochs": 1, "reduction": 2})
    heard = [(f"t{i}", epoch, 90.0 - 10 * i + epoch) for i in range(6) for epoch in range(1, 9)]
    first, second = Stopping(config, 8), Stopping(config, 8)
    decided = [first.stops(*one) for one in heard]
    assert any(decided) and not all(decided)
    assert [second.stops(*one) for one in heard] == decided
    assert [second.stops(*one) for one in heard] == [second.stops(*one) for one in heard]


def test_points_beyond_a_lowered_number_are_kept_for_later(tmp_path: Path) -> None:
    space = {TEMPERATURE: {"uniform": [0.1, 0.5]}}
    four = ran(tmp_path, sweep(space, algorithm="tpe", trials=4))
    ran(tmp_path, sweep(space, algorithm="tpe", trials=2))
    again = ran(tmp_path, sweep(space, algorithm="tpe", trials=4))
    assert values(again) == values(four) and again.started == []
