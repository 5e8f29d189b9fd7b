"""Evaluations of other packages, and what a trial refuses of any."""

import logging
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from ssl_sweep.evaluation.registry import EVALUATIONS, changed_settings, resolve
from ssl_sweep.evaluation.task import NotFinite, Score
from ssl_sweep.methods import registry
from ssl_sweep.orchestrator.spec.identity import evaluation_id
from ssl_sweep.orchestrator.spec.models import SweepSpec
from ssl_sweep.orchestrator.trial import evaluations

PLUGIN = """
from typing import Literal
from ssl_sweep.evaluation.base import Evaluation, EvaluationConfig, Metric


class OtherConfig(EvaluationConfig):
    name: Literal["other"] = "other"
    protocol: Literal["other/a@1", "other/b@2"] = "other/a@1"
    size: int = 3


OTHER = Evaluation(
    "other", "Other", OtherConfig, (OtherConfig(), OtherConfig(protocol="other/b@2", size=5)), lambda task, config: None,
    metrics=(Metric("x", "x"), Metric("y", "y")),
    default=lambda backbone, _dataset: "other/b@2" if backbone.startswith("vit") else "other/a@1",
)
"""
MODULE = "a_package_with_an_evaluation"


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with one good entry point and three bad ones."""
    (tmp_path / f"{MODULE}.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    values = {"other": "OTHER", "knn": "OTHER", "another": "OTHER", "none": "OtherConfig", "broken": "Missing"}

    def entry_points(group: str) -> list[EntryPoint]:
        return [EntryPoint(name, f"{MODULE}:{value}", group) for name, value in values.items()]

    monkeypatch.setattr(registry, "entry_points", entry_points)
    monkeypatch.setattr(EVALUATIONS, "_plugins", None)
    monkeypatch.setattr(EVALUATIONS, "_loaded", {})
    yield
    sys.modules.pop(MODULE, None)


@pytest.mark.usefixtures("plugins")
def test_an_entry_point_is_an_evaluation_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    content = {"name": "a", "dataset": "digits", "backbone": "resnet18-cifar", "methods": ("simclr",)}
    spec = SweepSpec.model_validate({**content, "evaluate": ({"name": "other", "size": 4}, "knn")})
    config = resolve(spec.evaluate[0], "vit_tiny_patch16_224", "digits")
    assert (config.protocol, changed_settings(config)) == ("other/b@2", {"size": 4})
    assert evaluation_id(config).startswith("other-b@2-")
    assert list(EVALUATIONS)[:2] == ["knn", "linear"] and list(EVALUATIONS)[-1] == "other"
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [message.split("'")[1] for message in told] == ["knn", "another", "none", "broken"]
    ends = ("already in use", "it calls itself 'other'", "it is not an Evaluation", "no attribute 'Missing'")
    assert all(message.endswith(end) for message, end in zip(told, ends, strict=True))


@pytest.mark.usefixtures("plugins")
def test_without_entry_points_of_ours_nothing_is_imported() -> None:
    assert EVALUATIONS["knn"].title == "kNN"
    assert MODULE not in sys.modules


def declared(score: Score) -> dict[str, float]:
    return evaluations._declared(EVALUATIONS["other"], score)  # pyright: ignore[reportPrivateUsage]


@pytest.mark.usefixtures("plugins")
def test_a_score_has_the_metrics_that_are_declared() -> None:
    assert list(declared(Score({"y": 1.0, "x": 2.0}, 1))) == ["x", "y"]
    with pytest.raises(ValueError, match=r"evaluation 'other' declares \['x', 'y'\], but returned \['x'\]"):
        declared(Score({"x": 1.0}, 1))
    with pytest.raises(NotFinite, match=r"^y is not finite \(nan\)"):
        declared(Score({"x": 1.0, "y": float("nan")}, 1))
