"""The number of workers changes no number."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from in_process import CPU, TINY_VIT, Ear, carry, trials_of
from ssl_sweep.datasets.color import MEAN, STD, constants
from ssl_sweep.evaluation.augmentation import Augmentation
from ssl_sweep.evaluation.classifier import Labelled
from ssl_sweep.evaluation.finetune import FINETUNE, FinetuneConfig
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.parts.collectives import mean_over_ranks
from ssl_sweep.orchestrator.spec.changes import Change
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.events import StepDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial.runtime import Runtime

SweepFile = Callable[..., Path]


def on_ranks(trial: TrialSpec, storage: Path, ranks: int) -> TrialStore:
    """The trial on a gloo group of processes."""
    # Forked from one server that has imported everything: that takes longer than the trials.
    multiprocessing.set_forkserver_preload(["ssl_sweep.orchestrator.trial.run", "in_process"])
    arguments = (trial.model_dump(mode="json"), str(storage), ranks, str(storage / "rendezvous"))
    mp.start_processes(_rank, arguments, ranks, start_method="forkserver")
    return carry(trial, storage)  # finds everything done


def _rank(rank: int, trial: dict[str, Any], storage: str, ranks: int, rendezvous: str) -> None:
    torch.set_num_threads(1)
    os.makedirs(storage, exist_ok=True)  # noqa: PTH103
    dist.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=ranks)
    carry(TrialSpec.model_validate(trial), Path(storage), Ear(), Runtime(CPU, rank, ranks))
    dist.destroy_process_group()


def losses(folder: TrialStore) -> list[float]:
    return [event.loss for event in folder.events() if isinstance(event, StepDone)]


@pytest.mark.parametrize(
    ("method", "backbone"),
    [
        ("simclr", "resnet10t"),
        ({"name": "byol", "hidden_dim": 64}, "resnet10t"),
        ({"name": "dino", "output_dim": 64}, None),
        ("mae", None),
    ],
    ids=str,
)
def test_two_workers_have_the_losses_of_one(
    method: object, backbone: str | None, sweep_file: SweepFile, tmp_path: Path
) -> None:
    # A small rate. At larger ones batch norm over such images blows rounding up until one process, too, is 1e-3 and more
    # away from itself after a change of 1e-7 in its weights; in float64 the contract suite holds ranks to equal gradients.
    pretrain = {"epochs": 2, "batch_size": 32, "optimizer": {"lr": 0.02}}
    changes: dict[str, Any] = {"methods": [method], "evaluate": [{"name": "knn", "k": 20}], "pretrain": pretrain}
    if backbone:
        changes["backbone"] = backbone
    (trial,) = trials_of(sweep_file(**changes))
    (tmp_path / "two").mkdir()
    one = losses(carry(trial, tmp_path / "one"))
    two = losses(on_ranks(trial, tmp_path / "two", 2))
    assert len(one) == 20
    print("largest difference", max(abs(a - b) for a, b in zip(one, two, strict=True)))
    assert two == pytest.approx(one, abs=1e-4)


def test_two_workers_take_the_parts_of_one(sweep_file: SweepFile, tmp_path: Path) -> None:
    pretrain = {"epochs": 1, "batch_size": 32, "accumulate": 2, "optimizer": {"lr": 0.02}}
    (trial,) = trials_of(sweep_file(methods=["mae"], evaluate=[{"name": "knn", "k": 20}], pretrain=pretrain))
    (tmp_path / "two").mkdir()
    one, two = losses(carry(trial, tmp_path / "one")), losses(on_ranks(trial, tmp_path / "two", 2))
    assert len(one) == 10
    assert two == pytest.approx(one, abs=1e-4)


def test_two_workers_change_settings_as_one_does(sweep_file: SweepFile, tmp_path: Path) -> None:
    """Their networks are made anew, with batch statistics over both."""
    pretrain = {"epochs": 2, "batch_size": 32, "optimizer": {"lr": 0.02}}
    (trial,) = trials_of(sweep_file(evaluate=[{"name": "knn", "k": 20}], pretrain=pretrain, backbone="resnet10t"))
    change = Change(after_epoch=1, values={"pretrain.optimizer.lr": 0.01, "method.temperature": 0.3})
    trial = trial.model_copy(update={"changes": (change,)})
    (tmp_path / "two").mkdir()
    one, two = losses(carry(trial, tmp_path / "one")), losses(on_ranks(trial, tmp_path / "two", 2))
    assert len(one) == 20
    assert two == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize("method", ["simclr", {"name": "byol", "hidden_dim": 64}], ids=str)
def test_two_workers_freeze_what_one_does(method: object, sweep_file: SweepFile, tmp_path: Path) -> None:
    rates = {"conv1*": 0, "bn1.*": 0, "layer1.*": 0, "layer2.*": 0.1}
    pretrain = {"epochs": 1, "batch_size": 32, "optimizer": {"lr": 0.02}, "rates": rates}
    evaluate = [{"name": "knn", "k": 20}, {"name": "finetune", "epochs": 1, "rates": rates | {"layer2.*": 0}}]
    (trial,) = trials_of(sweep_file(methods=[method], backbone="resnet10t", pretrain=pretrain, evaluate=evaluate))
    (tmp_path / "two").mkdir()
    one, two = carry(trial, tmp_path / "one"), on_ranks(trial, tmp_path / "two", 2)
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    a, b = one.evaluation(trial.evaluate[1]), two.evaluation(trial.evaluate[1])
    assert a is not None and b is not None and abs(a.counts["correct1"] - b.counts["correct1"]) <= 2


DROPPING = {"drop_path_rate": 0.3, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1, "pos_drop_rate": 0.1, "drop_rate": 0.1}


@pytest.mark.parametrize(
    ("method", "backbone"),
    [
        ("supervised", {"name": TINY_VIT["name"], "options": TINY_VIT["options"] | DROPPING}),
        (
            {"name": "dino", "output_dim": 64},
            {"name": TINY_VIT["name"], "options": TINY_VIT["options"] | {"drop_path_rate": 0.3}},
        ),
        ("simclr", {"name": "resnet10t", "options": {"drop_path_rate": 0.3, "drop_rate": 0.1, "drop_block_rate": 0.1}}),
    ],
    ids=["supervised", "dino", "resnet"],
)
def test_two_workers_drop_what_one_does(
    method: object, backbone: object, sweep_file: SweepFile, tmp_path: Path
) -> None:
    """With drop path, one and two workers once had epoch losses of 2.3812 and 2.3961."""
    pretrain = {"epochs": 1, "batch_size": 32, "optimizer": {"lr": 0.02}}
    changes: dict[str, Any] = {"methods": [method], "backbone": backbone, "pretrain": pretrain}
    (trial,) = trials_of(sweep_file(**changes, evaluate=[{"name": "knn", "k": 20}]))
    (tmp_path / "two").mkdir()
    one, two = losses(carry(trial, tmp_path / "one")), losses(on_ranks(trial, tmp_path / "two", 2))
    assert len(one) == 10
    assert two == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize("method", ["supervised", "mae", {"name": "simmim", "mask_unit": 1}], ids=str)
def test_parts_of_a_batch_draw_what_the_whole_does(method: object, sweep_file: SweepFile, tmp_path: Path) -> None:
    """Methods without statistics of the batch: drop path, dropout and masks are all that could differ."""
    found: list[list[float]] = []
    backbone = {"name": TINY_VIT["name"], "options": TINY_VIT["options"] | DROPPING | {"patch_size": 4}}
    for accumulate in (1, 2):
        pretrain = {"epochs": 1, "batch_size": 32, "accumulate": accumulate, "optimizer": {"lr": 0.02}}
        evaluate = [{"name": "knn", "k": 20}]
        (trial,) = trials_of(sweep_file(methods=[method], backbone=backbone, pretrain=pretrain, evaluate=evaluate))
        found.append(losses(carry(trial, tmp_path / str(accumulate))))
    assert len(found[0]) == 10
    assert found[1] == pytest.approx(found[0], abs=1e-5)


@pytest.mark.parametrize("protocol", ["finetune/mae@2", "finetune/lightly-vit@1"])
def test_fine_tuning_with_all_augmentation_agrees_on_any_number_of_ranks(
    protocol: str, sweep_file: SweepFile, tmp_path: Path
) -> None:
    """Batches of 30: 15 images, an odd number, on each of two ranks, and 10 on each of three."""
    finetune = {"name": "finetune", "protocol": protocol, "epochs": 1, "batch_size": 30, "warmup_epochs": 0}
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=[finetune | {"lr": 0.005}]))
    config = trial.evaluate[0]
    assert isinstance(config, FinetuneConfig)
    assert config.mixup and config.cutmix and config.erasing and config.randaugment
    assert bool(config.drop_path) == (protocol == "finetune/mae@2")
    found: list[list[int]] = []
    for ranks in (1, 2, 3):
        storage = tmp_path / str(ranks)
        storage.mkdir()
        folder = carry(trial, storage) if ranks == 1 else on_ranks(trial, storage, ranks)
        record = folder.evaluation(config)
        assert record is not None and record.images == 100
        found.append(list(record.counts.values()))
    for other in found[1:]:
        assert all(abs(a - b) <= 1 for a, b in zip(other, found[0], strict=True))  # rounding may turn one image


def _augmented_losses(rank: int, ranks: int, rendezvous: str, results: Any, batch: int, protocol: str) -> None:
    """Losses of three steps on all ranks' parts of a batch."""
    torch.set_num_threads(1)
    if ranks > 1:
        dist.init_process_group("gloo", f"file://{rendezvous}", rank=rank, world_size=ranks)
    config = FINETUNE.protocol(protocol)
    assert isinstance(config, FinetuneConfig)
    torch.manual_seed(0)
    options = {"patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2, "drop_path_rate": 0.3}
    backbone = BackboneConfig(name="vit_tiny_patch16_224", options=options)
    encoder = build_encoder(backbone, 16).train()
    head = torch.nn.Linear(32, 10)
    task: Any = SimpleNamespace(seed=5, autocast=contextlib.nullcontext)
    augmentation = Augmentation(config, task)
    images = torch.randint(256, (batch, 3, 16, 16), generator=torch.Generator().manual_seed(1)).float() / 255
    mean, std = constants(CPU, MEAN, STD)
    own = slice(rank * batch // ranks, (rank + 1) * batch // ranks)
    part = Labelled(((images - mean) / std)[own], (torch.arange(batch) % 10)[own], 3 * torch.arange(batch)[own])
    found = [augmentation.loss(torch.nn.Sequential(encoder, head), part, step).detach() for step in range(3)]
    results.put([mean_over_ranks(loss).item() for loss in found])
    if ranks > 1:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("protocol", "batch", "numbers"), [("finetune/mae@1", 33, (1, 3)), ("finetune/mae@2", 30, (1, 2, 3))]
)
def test_losses_of_augmented_batches_agree(protocol: str, batch: int, numbers: tuple[int, ...], tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    found: list[list[float]] = []
    for ranks in numbers:
        results = context.Queue()
        arguments = (ranks, str(tmp_path / str(ranks)), results, batch, protocol)
        mp.start_processes(_augmented_losses, arguments, ranks, start_method="forkserver")
        found.append(results.get())
    for other in found[1:]:
        assert other == pytest.approx(found[0], abs=1e-5)


def test_evaluations_count_each_image_once_on_any_number_of_ranks(sweep_file: SweepFile, tmp_path: Path) -> None:
    """100 test images on three ranks: 34, 33 and 33."""
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=[{"name": "knn", "k": 20}]))
    counts = []
    for ranks in (1, 2, 3):
        storage = tmp_path / str(ranks)
        storage.mkdir()
        folder = carry(trial, storage) if ranks == 1 else on_ranks(trial, storage, ranks)
        record = folder.evaluation(trial.evaluate[0])
        assert record is not None
        counts.append((record.counts, record.images))
    assert counts[0][1] == 100
    assert counts == [counts[0]] * 3


def test_trained_evaluations_agree_on_two_ranks(sweep_file: SweepFile, tmp_path: Path) -> None:
    evaluate = [
        {"name": "linear", "epochs": 2},
        {"name": "finetune", "protocol": "finetune/simclr@1", "epochs": 1},
    ]
    (trial,) = trials_of(sweep_file(methods=["random"], backbone="resnet10t", evaluate=evaluate))
    (tmp_path / "two").mkdir()
    one, two = carry(trial, tmp_path / "one"), on_ranks(trial, tmp_path / "two", 2)
    for config in trial.evaluate:
        a, b = one.evaluation(config), two.evaluation(config)
        assert a is not None
        assert b is not None
        assert a.images == b.images == 100
        assert abs(a.counts["correct1"] - b.counts["correct1"]) <= 1  # rounding may turn one image


def test_all_workers_go_on_after_an_evaluation_that_fails(sweep_file: SweepFile, tmp_path: Path) -> None:
    evaluate = [{"name": "fewshot", "shots": 100}, {"name": "knn", "k": 20}]
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=evaluate))
    (tmp_path / "two").mkdir()
    with pytest.raises(mp.ProcessRaisedException, match=r"TrialFailed: fewshot: .* fewer training images"):
        on_ranks(trial, tmp_path / "two", 2)
    (found,) = (tmp_path / "two" / "trials").iterdir()
    status = TrialStore(Store(str(tmp_path / "two")), found.name).status()
    assert status.state is TrialState.FAILED and status.reason is not None and "fewshot" in status.reason
    assert len(status.evaluations) == len(status.failed) == 1
