"""A trial's id is of what can change its numbers, and of nothing else."""

from pathlib import Path

import pytest
from ssl_sweep.evaluation.registry import EVALUATIONS
from ssl_sweep.orchestrator.spec import identity
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.identity import evaluation_id, kind_id, trial_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec

BASE = {
    "name": "good",
    "dataset": "{name: folder, path: images, image_size: 32}",
    "backbone": "{name: vit_tiny_patch16_224, options: {depth: 2, embed_dim: 96}}",
    "methods": "[{name: byol, momentum: 0.99, hidden_dim: 64}]",
    "seeds": "[0]",
    "pretrain": "{epochs: 3, batch_size: 64, optimizer: {name: sgd, lr: 0.1}}",
    "evaluate": "[knn, {name: linear, epochs: 3, augment: false}]",
}
FINGERPRINT = "0123456789abcdef"


def trial(folder: Path, reverse: bool = False, **changes: str) -> TrialSpec:
    path = folder / "sweep.yaml"
    lines = [f"{key}: {value}" for key, value in (BASE | changes).items()]
    path.write_text("\n".join(reversed(lines) if reverse else lines))
    (only,) = expand(*load_spec(path))
    return only


SAME = [
    {"name": "another"},
    {"resources": "{workers: 2, gpus_per_worker: 0, max_failures: 0, compile: true}"},
    {"storage": "s3://elsewhere"},
    {"tracking": "http://elsewhere"},
    {"published": str(Path(__file__).with_name("own_numbers.csv"))},
    {"evaluate": "[finetune]"},
    {"evaluate": "[{name: knn, k: 5}]"},
    {"dataset": "{name: folder, path: /elsewhere, image_size: 32}"},
    {"dataset": "{name: folder, path: images, image_size: 32, holdout: 0.3}"},  # no part in a run on the test set
    {"grid": "{pretrain.epochs: [3]}"},
    {"grid": "{pretrain.epochs: [3]}", "pretrain": "{epochs: 9, batch_size: 64, optimizer: {name: sgd, lr: 0.1}}"},
    {"pretrain": "{epochs: 3, batch_size: 64, optimizer: {name: sgd, lr: 1e-1, lr_scaling: linear}}"},  # its default
    {
        "backbone": "resnet18-cifar",
        "methods": "[{name: byol, momentum: 0.99, hidden_dim: 64, backbone: {name: vit_tiny_patch16_224,"
        " options: {depth: 2, embed_dim: 96}}}]",
    },
    {"methods": "[{hidden_dim: 64, momentum: 0.99, name: byol, pretrain: {epochs: 3}}]"},
]
OTHER = [
    {"seeds": "[1]"},
    {"methods": "[{name: byol, momentum: 0.98, hidden_dim: 64}]"},
    {"methods": "[simclr]"},
    {"pretrain": "{epochs: 4, batch_size: 64, optimizer: {name: sgd, lr: 0.1}}"},
    {"pretrain": "{epochs: 3, batch_size: 128, optimizer: {name: sgd, lr: 0.1}}"},
    {"pretrain": "{epochs: 3, batch_size: 64, precision: bf16, optimizer: {name: sgd, lr: 0.1}}"},
    {"pretrain": "{epochs: 3, batch_size: 64, optimizer: {name: sgd, lr: 0.2}}"},
    {"pretrain": "{epochs: 3, batch_size: 64, optimizer: {name: adamw, lr: 0.1}}"},
    {"dataset": "{name: folder, path: images, image_size: 64}"},
    {"backbone": "resnet18-cifar"},
    {"backbone": "{name: vit_tiny_patch16_224, options: {depth: 3, embed_dim: 96}}"},
]


@pytest.mark.parametrize("changes", SAME, ids=str)
def test_the_same_trial(changes: dict[str, str], tmp_path: Path) -> None:
    assert trial_id(trial(tmp_path, **changes), FINGERPRINT) == trial_id(trial(tmp_path), FINGERPRINT)


@pytest.mark.parametrize("changes", OTHER, ids=str)
def test_another_trial(changes: dict[str, str], tmp_path: Path) -> None:
    assert trial_id(trial(tmp_path, **changes), FINGERPRINT) != trial_id(trial(tmp_path), FINGERPRINT)


def test_other_images_are_another_trial(tmp_path: Path) -> None:
    assert trial_id(trial(tmp_path), FINGERPRINT) != trial_id(trial(tmp_path), FINGERPRINT[::-1])


def test_the_order_of_keys_says_nothing(tmp_path: Path) -> None:
    changed = {
        "backbone": "{options: {embed_dim: 96, depth: 2}, name: vit_tiny_patch16_224}",
        "pretrain": "{optimizer: {lr: 0.1, name: sgd}, batch_size: 64, epochs: 3}",
        "evaluate": "[knn, {augment: false, epochs: 3, name: linear}]",
    }
    one, other = trial(tmp_path), trial(tmp_path, reverse=True, **changed)
    assert trial_id(one, FINGERPRINT) == trial_id(other, FINGERPRINT)
    assert [evaluation_id(item) for item in one.evaluate] == [evaluation_id(item) for item in other.evaluate]


def test_a_changed_evaluation_has_another_id(tmp_path: Path) -> None:
    one, other = trial(tmp_path), trial(tmp_path, evaluate="[knn, {name: linear, epochs: 4, augment: false}]")
    ids = [[evaluation_id(item) for item in found.evaluate] for found in (one, other)]
    assert ids[0][0] == ids[1][0]
    assert ids[0][1] != ids[1][1]


def test_readable(tmp_path: Path) -> None:
    start = "byol-vit_tiny_patch16_224-folder-b64-e3-s0-"
    found = trial_id(trial(tmp_path), FINGERPRINT)
    assert found.startswith(start)
    assert len(found) == len(start) + 10


def test_identities_are_those_of_earlier_versions(tmp_path: Path) -> None:
    """But of what drew by the rank (drop path, mixup, erasing), and of kNN, whose top-5 counted classes without a vote."""
    assert trial_id(trial(tmp_path), FINGERPRINT) == "byol-vit_tiny_patch16_224-folder-b64-e3-s0-4f89f19656"
    earlier = {
        "knn-lightly@1-e286d03a28",  # was c3c4d67cb0
        "knn-lightly-vit@1-546fa5a241",
        "knn-lightly-imagenet100@1-da42005272",
        "knn-instdisc@1-e7a308c141",
        "knn-dinov2@1-c2fb79badc",
        "linear-simclr@1-1f150a4d34",
        "linear-mae@1-af9c44a000",
        "linear-dinov2@1-bf7f8b57d6",
        "logistic-dinov2@1-ca16b501b3",
        "ridge-loo@1-6e388114fa",
        "finetune-simclr@1-9aecf2df72",
        "finetune-mae@1-ecf625d7d2",  # was f92b362773
    }
    assert earlier <= {evaluation_id(config) for item in EVALUATIONS.values() for config in item.protocols}


@pytest.mark.parametrize(
    ("changes", "draws"),
    [
        ({"backbone": "{name: vit_tiny_patch16_224, options: {drop_path_rate: 0.1}}"}, True),
        ({"backbone": "{name: vit_tiny_patch16_224, options: {drop_path_rate: 0.0}}"}, False),
        ({"backbone": "swin_tiny_patch4_window7_224"}, True),
        ({"methods": "[mae]", "pretrain": "{batch_size: 64, accumulate: 2}"}, True),
        ({"methods": "[mae]", "pretrain": "{batch_size: 64}"}, False),
        ({"pretrain": "{batch_size: 64, accumulate: 2}"}, False),
    ],
)
def test_what_draws_by_image_has_its_version_in_its_identity(
    changes: dict[str, str], draws: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = trial(tmp_path, **changes)
    before = trial_id(found, FINGERPRINT)
    monkeypatch.setattr(identity, "DRAWS_VERSION", 3)
    assert (trial_id(found, FINGERPRINT) != before) == draws


def kind(folder: Path, **changes: str) -> str:
    found = trial(folder, **changes)
    return kind_id(found, FINGERPRINT, found.resources, compiled=False)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": "[1]"},
        {"methods": "[{name: byol, momentum: 0.98, hidden_dim: 64}]"},
        {"pretrain": "{epochs: 4, batch_size: 64, optimizer: {name: sgd, lr: 0.2}}"},
        {"evaluate": "[knn, {name: linear, epochs: 30, lr: 0.3, augment: false}]"},
        {"resources": "{gpus_per_worker: auto, concurrent_trials: 4}"},
        {"storage": "s3://elsewhere"},
    ],
    ids=str,
)
def test_a_kind_takes_the_same_of_a_gpu(changes: dict[str, str], tmp_path: Path) -> None:
    assert kind(tmp_path, **changes) == kind(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"methods": "[{name: byol, momentum: 0.99, hidden_dim: 128}]"},
        {"methods": "[dino]"},
        {"backbone": "{name: vit_tiny_patch16_224, options: {depth: 3, embed_dim: 96}}"},
        {"dataset": "{name: folder, path: images, image_size: 64}"},
        {"pretrain": "{epochs: 3, batch_size: 128, optimizer: {name: sgd, lr: 0.1}}"},
        {"pretrain": "{epochs: 3, batch_size: 64, accumulate: 2, optimizer: {name: sgd, lr: 0.1}}"},
        {"pretrain": "{epochs: 3, batch_size: 64, precision: bf16, optimizer: {name: sgd, lr: 0.1}}"},
        {"pretrain": "{epochs: 3, batch_size: 64, optimizer: {name: adamw, lr: 0.1}}"},
        {"evaluate": "[knn, finetune]"},
        {"resources": "{cpus_per_worker: 4}"},
    ],
    ids=str,
)
def test_another_kind_takes_something_else(changes: dict[str, str], tmp_path: Path) -> None:
    assert kind(tmp_path, **changes) != kind(tmp_path)


def test_fractions_of_what_a_network_sees_make_a_kind(tmp_path: Path) -> None:
    base = kind(tmp_path, methods="[mae]")
    assert kind(tmp_path, methods="[{name: mae, mask_ratio: 0.5}]") != base
    local = [f"[{{name: dino, views: {{local_views: [{{resolution: {part}}}]}}}}]" for part in (0.5, 0.75)]
    assert kind(tmp_path, methods=local[0]) != kind(tmp_path, methods=local[1])
    assert base.startswith("mae-vit_tiny_patch16_224-")
