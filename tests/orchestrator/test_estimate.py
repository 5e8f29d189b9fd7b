"""What a plan says that the missing trials will take, from what similar ones took."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import ssl_sweep
from scripted import COST, score_of, scripted_engine
from steered import Steered
from steered import no_tracking as no_tracking

SweepFile = Callable[..., Path]


def plan(path: Path) -> list[dict[str, Any]]:
    return json.loads(ssl_sweep("plan", path, "--json"))


@pytest.mark.usefixtures("no_tracking")
def test_similar_trials_tell_what_is_to_come(sweep_file: SweepFile) -> None:
    """Each stage of the scripted trials takes 36 s, and one GB: an epoch 18 s, an evaluation a hundredth of an hour."""
    changes: dict[str, Any] = {"evaluate": [{"name": "knn", "k": 20}], "seeds": [0, 1]}
    path = sweep_file(**changes)
    assert [row["device_hours"] for row in plan(path)] == [None, None]
    assert "hours are not known" in ssl_sweep("plan", path, "--price", "3")
    Steered(path, scripted_engine(score_of))
    assert [row["device_hours"] for row in plan(path)] == [None, None]  # nothing is missing

    longer = sweep_file(**changes | {"seeds": [2], "pretrain": {"epochs": 8, "batch_size": 32}})
    (row,) = plan(longer)
    assert row["device_hours"] == pytest.approx((8 * 18 + 36) / 3600)
    assert (row["memory"], row["device"], row["like"]) == (COST.resident, "cpu", 2)
    text = ssl_sweep("plan", longer, "--price", "100")
    assert "about 0.05 hours on cpu, as similar trials took, at 100 an hour 5" in text

    (row,) = plan(sweep_file(**changes | {"seeds": [2], "methods": ["byol"]}))
    assert row["device_hours"] is None

    more = changes | {"evaluate": [{"name": "knn", "k": 20}, {"name": "knn", "k": 10}][1:]}
    assert [row["device_hours"] for row in plan(sweep_file(**more))] == [pytest.approx(0.01)] * 2
