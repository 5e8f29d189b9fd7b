"""Recipe `lightly` is the published run, without a word more in the sweep; what a sweep has otherwise is listed."""

from pathlib import Path
from typing import Any

import pytest
from ssl_sweep.orchestrator.spec.departures import departures
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec


def trial(folder: Path, method: str, dataset: str = "cifar10", **keys: str) -> TrialSpec:
    backbones = {"cifar10": "resnet18-cifar", "imagenet1k": "resnet50"}
    values = {"backbone": backbones.get(dataset, "resnet18"), "recipe": "lightly"} | keys
    path = folder / "sweep.yaml"
    head = f"name: one\ndataset: {{name: {dataset}, path: {folder}}}\nmethods: [{method}]\n"
    path.write_text(head + "".join(f"{key}: {value}\n" for key, value in values.items()))
    return expand(*load_spec(path))[0]


def test_the_stem_and_the_precision_of_cifar10(tmp_path: Path) -> None:
    found = trial(tmp_path, "simclr")
    assert found.backbone.options == {"stem_relu": False, "torch_init": True}
    assert found.pretrain.precision == "float32"
    assert trial(tmp_path, "moco").backbone.options["split_batchnorm"] == 8
    assert not departures(found)


@pytest.mark.parametrize("method", ["moco", "nnclr"])
@pytest.mark.parametrize(("batch_size", "size"), [(128, 4096), (512, 8192)])
def test_queues_grow_with_the_batch(method: str, batch_size: int, size: int, tmp_path: Path) -> None:
    for keys in (
        {"pretrain": f"{{batch_size: {batch_size}}}"},
        {"grid": f"{{pretrain.batch_size: [{batch_size}]}}"},
    ):
        found: Any = trial(tmp_path, method, **keys).method
        assert found.queue_size == size


@pytest.mark.parametrize(("epochs", "warmup"), [(200, 20), (800, 40)])
def test_short_trainings_warm_up_in_half_the_epochs(epochs: int, warmup: int, tmp_path: Path) -> None:
    found = trial(tmp_path, "vicreg", "imagenette", pretrain=f"{{epochs: {epochs}}}")
    assert found.pretrain.schedule.warmup_epochs == warmup


@pytest.mark.parametrize(
    ("dataset", "std"), [("cifar10", None), ("imagenette", 0.2), ("imagenet100", 0.2), ("imagenet1k", 0.2)]
)
def test_the_head_of_dino_begins_as_published(dataset: str, std: float | None, tmp_path: Path) -> None:
    found: Any = trial(tmp_path, "dino", dataset)
    assert found.method.head_std == std
    assert not found.pretrain.optimizer.clip_each


def test_the_sweep_s_own_options_come_first(tmp_path: Path) -> None:
    found = trial(tmp_path, "simclr", backbone="{name: resnet18-cifar, options: {stem_relu: true}}")
    assert found.backbone.options == {"stem_relu": True, "torch_init": True}
    assert departures(found) == ("backbone.options.stem_relu true (recipe: false)",)


def test_what_differs_from_the_recipe_is_listed(tmp_path: Path) -> None:
    entry = "{name: simclr, temperature: 0.1, views: {global_views: [{count: 2}]}}"
    found = trial(tmp_path, entry, pretrain="{precision: bf16, epochs: 7, batch_size: 64}")
    assert departures(found) == (
        "method.views.global_views",
        "method.temperature 0.1 (recipe: 0.5)",
        "pretrain.precision 'bf16' (recipe: 'float32')",
    )
    assert not departures(trial(tmp_path, "simclr", grid="{pretrain.precision: [bf16]}"))  # an axis has a column
    assert not departures(trial(tmp_path, "simclr", recipe="paper", pretrain="{precision: bf16}"))
