"""Whole trials on ViTs with rotary positions (timm's `eva`): pretrained, and evaluated in every way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.store.events import EpochDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from steered import Steered
from steered import no_tracking as no_tracking

TINY = {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
DINOV3 = {"name": "vit_small_patch16_dinov3", "options": TINY}  # registers, and no positions but the angles
DROPPING = DINOV3 | {"options": TINY | {"drop_path_rate": 0.2, "rope_rescale_coords": 2.0}}
EVA02 = {"name": "eva02_tiny_patch14_224", "options": TINY}  # positions are added too
MIXED = {"name": "vit_small_patch16_rope_mixed_ape_224", "options": TINY}  # angles that are learned
METHODS: list[dict[str, Any]] = [
    {"name": "dino", "output_dim": 64, "backbone": DINOV3},
    {"name": "mae", "decoder_dim": 32, "decoder_depth": 1, "decoder_heads": 2, "backbone": MIXED},
    {"name": "ijepa", "predictor_dim": 32, "predictor_depth": 1, "predictor_heads": 2, "backbone": DROPPING},
    {"name": "ibot", "output_dim": 64, "backbone": EVA02},
]
EVALUATE: list[dict[str, Any]] = [
    {"name": "knn", "k": 20},
    {"name": "linear", "epochs": 1, "features": ["pooled", "cls+mean"]},
    {"name": "attentive", "epochs": 1, "batch_size": 64, "lr": 0.001, "weight_decay": 0.05},
    {"name": "finetune", "as": "finetune-mae", "protocol": "finetune/mae@2", "epochs": 1, "batch_size": 32},
    {"name": "finetune", "as": "finetune-lightly", "protocol": "finetune/lightly-vit@1", "epochs": 1, "batch_size": 32},
    {"name": "finetune", "protocol": "finetune/simclr@1", "epochs": 1, "batch_size": 32},
]


@pytest.mark.usefixtures("no_tracking")
def test_methods_for_vits_are_pretrained_and_evaluated(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    data = {"name": "digits", "train_images": 96, "test_images": 40, "image_size": 32}
    pretrain = {"epochs": 1, "batch_size": 32, "knn_every": 1}
    path = sweep_file(dataset=data, methods=METHODS, pretrain=pretrain, evaluate=EVALUATE)
    swept = Steered(path, InProcessEngine)
    assert swept.outcome.exit_status == 0, swept.text
    store = Store(str(tmp_path / "runs"))
    folders = [TrialStore(store, name) for name in store.names("trials")]
    assert len(folders) == len(METHODS)
    for folder in folders:
        assert len([event for event in folder.events() if isinstance(event, EpochDone)]) == 1
        records = list(folder.status().evaluations.values())
        assert len(records) == len(EVALUATE) and all(record.images == 40 for record in records)
