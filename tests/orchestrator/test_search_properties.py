"""Searches drawn at random, with failures, crashes of the driver and edits of the file: what holds of every one."""

import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import Ran, Script, run, score_of
from ssl_sweep.orchestrator.search.points import Point
from ssl_sweep.orchestrator.search.space import contains
from ssl_sweep.orchestrator.spec.changes import scheduled
from ssl_sweep.orchestrator.spec.constraints import holds
from ssl_sweep.orchestrator.spec.domains import Choice
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_state import TrialState

AXES: dict[str, list[Any]] = {
    "method.temperature": [{"uniform": [0.1, 0.5]}, {"choice": [0.1, 0.2]}],
    "pretrain.optimizer.lr": [{"loguniform": [1e-4, 1e-2]}, {"choice": [0.001, 0.002, 0.003]}],
    "pretrain.batch_size": [{"randint": [16, 64]}, {"choice": [16, 32, 50]}],
    "pretrain.optimizer.exclude_norm_and_bias": [{"choice": [True, False]}],
    "pretrain.optimizer.name": [{"choice": ["adamw", "adam", "sgd"]}],
    "pretrain.optimizer.momentum": [{"uniform": [0.8, 0.99], "when": {"pretrain.optimizer.name": "sgd"}}],
}
CHANGEABLE: dict[str, list[Any]] = {
    "method.temperature": [{"uniform": [0.1, 0.5]}],
    "pretrain.optimizer.lr": [{"loguniform": [1e-4, 1e-2]}, {"choice": [0.001, 0.002, 0.003]}],
}
CONSTRAINTS = ["pretrain.batch_size % 4 == 0", "method.temperature < 0.4"]


@st.composite
def populations(draw: st.DrawFn) -> dict[str, Any]:
    """Searches whose settings change while a trial is pretrained."""
    keys = ["method.temperature", *draw(st.sampled_from([[], ["pretrain.optimizer.lr"]]))]
    population = {"interval_epochs": 1, "quantile": draw(st.sampled_from([0.25, 0.5])), "resample": 0.5}
    search: dict[str, Any] = {"space": {key: draw(st.sampled_from(CHANGEABLE[key])) for key in keys}}
    search |= {"algorithm": "pbt", "trials": draw(st.integers(1, 6)), "population": population}
    search |= draw(st.sampled_from([{}, {"limits": {"memory_gb": 2}}, {"constraints": CONSTRAINTS[1:]}]))
    return search | {"metric": "knn/top1"}


@st.composite
def sweeps(draw: st.DrawFn) -> dict[str, Any]:
    keys = draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=3, unique=True))
    if "pretrain.optimizer.momentum" in keys and "pretrain.optimizer.name" not in keys:
        keys.append("pretrain.optimizer.name")
    space = {key: draw(st.sampled_from(AXES[key])) for key in keys}
    finite = all("choice" in axis or "randint" in axis for axis in space.values())
    conditional = "pretrain.optimizer.momentum" in keys
    algorithms = ["random", "tpe", *(["grid"] if finite else []), *([] if conditional else ["qmc", "cmaes"]), "nsgaii"]
    search: dict[str, Any] = {"space": space, "algorithm": draw(st.sampled_from(algorithms))}
    search["trials"] = draw(st.integers(1, 6))
    stopping = draw(st.sampled_from([None, None, "asha", "hyperband", "median"]))
    if stopping is not None:
        search["early_stopping"] = {"name": stopping, "grace_epochs": 1, "reduction": 2}
    search |= draw(st.sampled_from([{}, {}, {"seeds": [0, 1]}, {"seeds": [3, 4, 5]}]))
    search |= draw(st.sampled_from([{}, {}, {"gpu_hours": 0.05}, {"wall_time": "1 h"}, {"limits": {"memory_gb": 2}}]))
    if draw(st.booleans()):
        search["constraints"] = [draw(st.sampled_from(CONSTRAINTS))]
    metric = draw(st.sampled_from(["knn/top1", "linear/top1"])) if stopping is None else "knn/top1"
    several = search["algorithm"] != "cmaes" and stopping is None and draw(st.booleans())
    search["metric"] = [metric, "hours"] if several else metric
    if draw(st.integers(0, 3)) == 0:
        search = draw(populations())
    return {
        "name": "small",
        "dataset": {"name": "digits", "train_images": draw(st.sampled_from([200, 300])), "test_images": 100},
        "backbone": "resnet18-cifar",
        "methods": draw(st.sampled_from([["simclr"], ["random", "simclr"], ["simclr", "byol"]])),
        "seeds": draw(st.sampled_from([[0], [1, 2]])),
        "pretrain": {"epochs": draw(st.sampled_from([2, 3])), "batch_size": 32, "knn_every": 1,
                     "optimizer": {"name": "adamw", "lr": 0.001}, "schedule": {"warmup_epochs": 0}},
        "evaluate": [{"name": "knn", "k": 5}, {"name": "linear", "epochs": 1}],
        "search": search,
        "resources": {"workers": draw(st.sampled_from([1, 2]))},
    }  # fmt: skip


def check(ran: Ran, script: Script) -> None:
    """What holds of every search that has ended."""
    config = ran.spec.search
    assert config is not None
    finals = [item.trial for item in ran.driver.planned.values() if item.trial.split == "test"]
    for search in ran.searches:
        points = search.known
        chosen = [trial for trial in finals if trial.method.name == search.group.entry.name]
        if not search.space:
            assert len(chosen) == len(ran.spec.seeds) and not points
            continue
        for point in points:
            assert all(contains(search.space, point.values_after(epoch)) for epoch in range(4))
        begun = [point for point in points if not point.replaces]
        if config.gpu_hours is None and config.algorithm != "grid" and points:
            few = config.pbt is not None and all(isinstance(axis, Choice) for axis in search.space.values())
            assert len(begun) == config.points or few, "a population has each point once"
        assert len(begun) <= config.points
        replaced = Counter(point.replaces for point in points if point.replaces)
        assert replaced.keys() <= {point.trial_id for point in points} and all(n == 1 for n in replaced.values())
        best = search.best
        if best is None:
            assert not chosen and not any(point.scores and not point.stopped for point in points)
            continue
        shown = best | scheduled(best, search.best_changes)
        assert [dict(trial.axes) for trial in chosen] == [shown] * len(ran.spec.seeds)
        parts = [chosen[0].after(epoch).model_dump() for epoch in range(4)]
        assert all(holds(constraint, part) for constraint in config.constraints for part in parts)
        assert chosen[0].pretrain.batch_size % ran.spec.resources.workers == 0
        for point in points:
            tried = ran.driver.planned[point.trial_id].trial
            failed = script(tried) in ("fails", "nan")
            assert not (failed and point.scores), "a point that fails has no score"
            if len(search.seeds) == 1 and point.scores and not point.stopped:
                assert point.scores[config.main] == score_of(tried)
        ended = [point for point in points if point.scores and not point.stopped]
        most = max(point.seeds for point in ended)
        first = max((point for point in ended if point.seeds == most), key=lambda point: point.scores[config.main])
        assert (best, search.best_changes) == (first.values, first.changes)
    assert all(status.state is not TrialState.RUNNING for status in ran.driver.state.trials.values())


def script_for(kind: str, seed: int) -> Script:
    def script(trial: TrialSpec) -> float | str:
        if trial.split == "test" or kind == "none":
            return score_of(trial)
        if kind == "all":
            return "fails"
        draw = random.Random(f"{seed} {trial.model_dump_json(exclude={'axes'})}").random()
        return kind if draw < 0.4 else score_of(trial)

    return script


def a_search(
    first: dict[str, Any], edited: dict[str, Any] | None, failures: str, seed: int, crash_after: int | None
) -> None:
    script = script_for(failures, seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ran = run(folder, first, script, crash_after) or run(folder, first, script)
        assert ran is not None
        check(ran, script)
        assert set(Store(ran.spec.storage).names("trials")) <= ran.driver.planned.keys(), "no trial is forgotten"
        again = run(folder, first, script)
        assert again is not None
        check(again, script)
        if failures in ("none", "killed"):
            assert again.started == [], "nothing is missing"
        for one, other in zip(ran.searches, again.searches, strict=True):
            assert [_decided(point) for point in other.known][: len(one.known)] == list(map(_decided, one.known))
        if edited is not None:
            other = run(folder, edited, script, crash_after) or run(folder, edited, script)
            assert other is not None
            check(other, script)


def _decided(point: Point) -> tuple[object, ...]:
    return point.trial_id, point.values, point.changes, point.replaces


def of(searches: int) -> Callable[..., None]:
    draws = given(
        sweeps(),
        st.none() | sweeps(),
        st.sampled_from(["none", "fails", "nan", "killed", "all"]),
        st.integers(0, 9),
        st.none() | st.integers(1, 40),
    )
    limits = settings(max_examples=searches, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    return limits(draws(a_search))


test_some_searches = of(80)
test_every_search = pytest.mark.slow(of(400))
