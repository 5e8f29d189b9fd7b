"""Recipes: every (data set, method) pair resolves, and those of the tables come to the published values."""

from pathlib import Path
from typing import Any

import pytest
from ssl_sweep.methods import METHODS
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.spec.recipes import SWEEPS, available, load_recipe

DATASETS = available("lightly")
PAIRS = [
    (dataset, method)
    for dataset in DATASETS
    for method in load_recipe(SWEEPS / "recipes" / f"lightly-{dataset}.yaml").methods
]


def resolved(
    folder: Path, dataset: str, method: str, batch_size: int | None = None, recipe: str = "lightly"
) -> TrialSpec:
    backbone = "vit_small_patch16_224" if METHODS[method].needs_vit else "resnet18"
    size = "" if batch_size is None else f"pretrain: {{batch_size: {batch_size}}}\n"
    path = folder / "sweep.yaml"
    path.write_text(
        f"name: one\ndataset: {{name: {dataset}, path: {folder}}}\nbackbone: {backbone}\nmethods: [{method}]\n"
        f"recipe: {recipe}\n{size}"
    )
    (trial,) = expand(*load_spec(path))
    return trial


@pytest.mark.parametrize(("dataset", "method"), PAIRS)
def test_every_pair_resolves(dataset: str, method: str, tmp_path: Path) -> None:
    trial = resolved(tmp_path, dataset, method)
    assert trial.method.name == method and trial.recipe == "lightly"


@pytest.mark.parametrize("method", [name for name in METHODS if METHODS[name].weights != "needed"])
def test_every_method_has_its_paper_s(method: str, tmp_path: Path) -> None:
    trial = resolved(tmp_path, "imagenet1k", method, recipe="paper")
    assert trial.pretrain.optimizer == METHODS[method].pretrain.optimizer


RATES: list[tuple[str, str, int, str, float, float]] = [
    # data set, method, batch, optimizer, peak rate, weight decay
    ("cifar10", "simclr", 512, "sgd", 0.24, 5e-4),
    ("cifar10", "simclr", 128, "sgd", 0.06, 5e-4),
    ("cifar10", "barlow_twins", 512, "sgd", 0.24, 5e-4),
    ("cifar10", "simsiam", 512, "sgd", 0.06, 5e-4),
    ("cifar10", "swav", 128, "adam", 1e-3, 1e-6),
    ("cifar10", "smog", 512, "sgd", 0.01, 1e-6),
    ("imagenette", "byol", 256, "sgd", 0.06, 5e-4),
    ("imagenette", "vicreg", 256, "lars", 0.3, 1e-4),
    ("imagenette", "tico", 256, "sgd", 0.3, 1e-4),
    ("imagenette", "msn", 256, "adamw", 1.5e-4, 0.05),
    ("imagenet100", "simclr", 256, "lars", 0.3, 1e-6),
    ("imagenet100", "byol", 256, "lars", 0.2, 1.5e-6),
    ("imagenet100", "moco", 256, "sgd", 0.03, 1e-4),
    ("imagenet100", "swav", 256, "sgd", 4.8, 1e-6),
    ("imagenet1k", "simclr", 256, "lars", 1.2, 1e-6),
    ("imagenet1k", "simclr", 1024, "lars", 2.4, 1e-6),
    ("imagenet1k", "byol", 256, "lars", 0.45, 1e-6),
    ("imagenet1k", "dino", 128, "sgd", 0.015, 1e-4),
    ("imagenet1k", "mae", 256, "adamw", 1.5e-4, 0.05),
    ("imagenet1k", "ibot", 128, "adamw", 2.5e-4, 0.04),
    ("imagenet1k", "lejepa", 512, "adamw", 5e-4, 0.05),
    ("imagenette", "simmim", 256, "adamw", 8e-4, 0.05),
]


@pytest.mark.parametrize("row", RATES, ids=lambda row: "-".join(map(str, row[:3])))
def test_rates_of_the_published_runs(row: Any, tmp_path: Path) -> None:
    dataset, method, batch_size, name, rate, decay = row
    optimizer = resolved(tmp_path, dataset, method, batch_size).pretrain.optimizer
    assert optimizer.name == name
    assert optimizer.peak_lr(batch_size) == pytest.approx(rate)
    assert optimizer.weight_decay == pytest.approx(decay)
    assert optimizer.exclude_norm_and_bias == (dataset == "imagenet1k" and method != "lejepa")


@pytest.mark.parametrize(("dataset", "method"), [pair for pair in PAIRS if pair[0] in ("cifar10", "imagenette")])
def test_the_small_tables_move_rates_by_epoch(dataset: str, method: str, tmp_path: Path) -> None:
    schedule = resolved(tmp_path, dataset, method).pretrain.schedule
    assert schedule.by == "epoch" and schedule.final_lr_factor == 0


CLIPPED = {("imagenet1k", "dino"): 3.0, ("imagenet1k", "ibot"): 3.0}
DECAY_MOVES = {("imagenet1k", "ibot"): 0.4}


@pytest.mark.parametrize(("dataset", "method"), PAIRS)
def test_no_clipping_or_moving_decay_falls_through_from_the_paper(dataset: str, method: str, tmp_path: Path) -> None:
    optimizer = resolved(tmp_path, dataset, method).pretrain.optimizer
    assert optimizer.clip_norm == CLIPPED.get((dataset, method))
    assert optimizer.final_weight_decay == DECAY_MOVES.get((dataset, method))
