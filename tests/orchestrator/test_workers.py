"""The number of workers changes no number."""

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from in_process import CPU, Ear, carry, trials_of
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
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
    return [event["loss"] for event in folder.events() if event["kind"] == "step"]


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
    assert counts[0][2] == 100
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
