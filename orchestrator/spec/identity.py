"""What makes two trials the same: hashes over everything that can change a number, and over nothing else."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ...evaluation.base import EvaluationConfig
from ...methods.backbones import draws, is_rotary
from ...methods.config import PretrainConfig
from ...methods.weights_config import WeightsConfig
from .models import ShapeConfig, TrialSpec

PIPELINE_VERSION = 2
"""Raised whenever a change to the training loop, the views or all evaluations changes numbers; of one, it raises its `version`."""

DRAWS_VERSION = 2
"""Of drop path, dropout, mixup and their kin, and of masks of accumulated batches: hashed with what has any of them."""

WEIGHTS_VERSION = 1
"""Of how a backbone is found in a file of given weights: hashed with what begins with some."""

ROTARY_VERSION = 1
"""Of how timm's `eva` models are built and evaluated: hashed with them. Before 1 they were not ViTs here."""

LABELS_VERSION = 2
"""Of which images a share of the labels has: hashed with the evaluations on one. Before 2 it favoured the first classes."""

NO_SIZES: dict[str, Any] = {"epochs": True, "as_name": True, "every": True, "dataset": {"title"}}
"""What of an evaluation changes neither memory nor speed of a step."""

SEEN = ("mask", "resolution")
"""In the names of settings that are shares of patches or of a side in pixels: their fractions change memory and speed."""


def trial_id(trial: TrialSpec, fingerprint: str) -> str:
    """Readable slug and hash of the pretraining: ``simclr-resnet18-cifar-cifar10-b512-e200-s0-1f2e3d4c5b``.

    Resources, storage and tracking are not in it, nor where the data and given weights lie: `fingerprint` is of the data's content.
    Evaluations are not in it either, so that a changed evaluation never pretrains again.
    """
    content: dict[str, Any] = {
        "pipeline": PIPELINE_VERSION,
        "data": fingerprint,
        "image_size": trial.image_size,
        "backbone": trial.backbone.model_dump(mode="json", exclude={"weights"}),
        "method": trial.method.model_dump(mode="json", exclude=trial.method.late) | {"version": trial.method.version},
        "pretrain": trial.pretrain.model_dump(mode="json", exclude=_unsaid(trial.pretrain)),
        "seed": trial.seed,
        "split": trial.split,
    }
    if trial.split == "holdout":
        content["holdout"] = trial.dataset.holdout
    if draws(trial.backbone) or (trial.method.masks_patches and trial.pretrain.accumulate > 1):
        content["draws"] = DRAWS_VERSION
    if is_rotary(trial.backbone.name):
        content["rotary"] = ROTARY_VERSION
    if trial.backbone.weights is not None:
        content["weights"] = _given(trial.backbone.weights)
    if trial.changes:
        content["changes"] = [change.model_dump(mode="json") for change in trial.changes]
    parts = (
        trial.method.name,
        trial.backbone.name,
        trial.dataset.kind,
        f"b{trial.pretrain.batch_size}",
        f"e{trial.pretrain.epochs}",
        f"s{trial.seed}",
    )
    return f"{_slug(parts)}-{digest(content)}"


def _given(weights: WeightsConfig) -> dict[str, Any]:
    """What of given weights changes numbers: their content, wherever it lies, and what is taken of it."""
    assert weights.sha256 is not None, "the sweep's weights are looked up before its trials have identities"
    content: dict[str, Any] = {"version": WEIGHTS_VERSION, "sha256": weights.sha256}
    return content | weights.model_dump(mode="json", include={"prefix", "partial"}, exclude_defaults=True)


def kind_id(trial: TrialSpec, fingerprint: str, resources: ShapeConfig, *, compiled: bool) -> str:
    """Slug and hash of what a trial's memory and speed depend on: ``simclr-resnet18-cifar-cifar10-b512-1f2e3d4c5b``.

    Trials of one kind differ in their seed, their epochs, and in rates and other numbers that change no size.
    """
    pretrain = trial.pretrain
    content: dict[str, Any] = {
        "data": fingerprint,
        "split": trial.split,
        "image_size": trial.image_size,
        "backbone": trial.backbone.model_dump(mode="json", exclude={"weights"}),
        "method": _sizes(trial.method.model_dump(mode="json", exclude=trial.method.late)),
        "pretrain": [pretrain.batch_size, pretrain.accumulate, pretrain.precision, pretrain.optimizer.name],
        "evaluate": [_sizes(config.model_dump(mode="json", exclude=NO_SIZES)) for config in trial.evaluate],
        **({"rates": pretrain.model_dump(mode="json")["rates"]} if pretrain.rates else {}),
        "worker": [resources.cpus_per_worker, resources.decoders(gpu=True), compiled],
    }
    parts = (trial.method.name, trial.backbone.name, trial.dataset.kind, f"b{pretrain.batch_size}")
    return f"{_slug(parts)}-{digest(content)}"


def _sizes(value: Any) -> Any:
    """JSON values without the fractions in them, but for those that change how much a network sees."""
    if isinstance(value, dict):
        return {key: item if any(word in key for word in SEEN) else _sizes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_sizes(item) for item in value]
    return None if isinstance(value, float) else value


def _unsaid(config: PretrainConfig) -> dict[str, Any]:
    """Settings that came later and say nothing."""
    unsaid: dict[str, Any] = {"optimizer": config.optimizer.late}
    return unsaid if config.rates else unsaid | {"rates": True}


def _slug(parts: Iterable[str]) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(parts)).lower()


def evaluation_id(config: EvaluationConfig) -> str:
    """File name of an evaluation of one trial: protocol and hash of its settings, ``linear-simclr@1-0a1b2c3d4e``."""
    content: dict[str, Any] = {"pipeline": PIPELINE_VERSION, "settings": config.identity}
    if config.version > 1:
        content["version"] = config.version
    if config.draws:
        content["draws"] = DRAWS_VERSION
    if config.labels is not None:
        content["labels"] = LABELS_VERSION
    return f"{config.protocol.replace('/', '-')}-{digest(content)}"


def digest(content: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits of the SHA-256 of JSON values, in whatever order their keys are."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]
