"""Every evaluation in one trial of two workers through Ray: the scores are those of one worker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import ssl_sweep
from in_process import carry, trials_of
from ssl_sweep.orchestrator.spec.identity import evaluation_id
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore

pytestmark = [pytest.mark.timeout(1200), pytest.mark.slow]
EVALUATE: list[dict[str, Any]] = [
    {"name": "logistic", "C": [0.1, 1.0]},
    {"name": "ridge"},
    {"name": "attentive", "epochs": 2, "batch_size": 32, "lr": [0.0005, 0.002], "weight_decay": 0.05},
    {"name": "fewshot", "repeats": 2},
    {"name": "retrieval"},
    {"name": "kmeans", "restarts": 2},
    {"name": "health", "views": 4, "view_images": 51},
    {"name": "robustness", "k": 20, "corruptions": ["fog", "pixelate"], "severities": [1, 5], "images": 51},
]
COUNTED = 100 / 51 + 1e-6
"""Percent of one image of those that are fewest: rounding may turn it."""


def test_two_workers_of_ray_score_as_one_process(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    resources = {"workers": 2, "gpus_per_worker": 0, "concurrent_trials": 1}
    path = sweep_file(methods=["random"], evaluate=EVALUATE, resources=resources)
    (trial,) = trials_of(path)
    one = carry(trial, tmp_path / "one")
    ssl_sweep("submit", path)
    two = TrialStore(Store(str(tmp_path / "runs")), one.trial_id)
    found = two.status().evaluations
    assert set(found) == {evaluation_id(config) for config in trial.evaluate}
    for config in trial.evaluate:
        a, b = one.evaluation(config), two.evaluation(config)
        assert a is not None and b is not None and b.cost.workers == 2
        assert (a.images, a.settings, len(a.variants)) == (b.images, b.settings, len(b.variants))
        tolerance = 0.001 if config.name == "health" else COUNTED
        print(config.known_as, {key: abs(b.metrics[key] - value) for key, value in a.metrics.items()})
        assert b.metrics == pytest.approx(a.metrics, abs=tolerance), config.known_as
