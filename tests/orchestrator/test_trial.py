"""One trial in one process: what it leaves behind, and how it goes on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import timm
import torch
from in_process import CPU, TINY_VIT, Ear, carry, trials_of
from safetensors.torch import load_file
from ssl_sweep.orchestrator.store.events import EpochDone, Event, StepDone, Warned
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial.journal import TrialFailed, TrialStopped
from ssl_sweep.orchestrator.trial.learner import new_encoder
from ssl_sweep.orchestrator.trial.runtime import Runtime
from weights import assert_same_weights

SweepFile = Callable[..., Path]


def test_quick_evaluations_that_are_listed_run_between_epochs(sweep_file: SweepFile, tmp_path: Path) -> None:
    pretrain = {"epochs": 2, "batch_size": 32, "knn_every": 1}
    (trial,) = trials_of(sweep_file(pretrain=pretrain, evaluate=["ridge", {"name": "linear", "epochs": 1}]))
    folder = carry(trial, tmp_path / "runs")
    history = folder.history()
    assert all({"ridge/top1", "ridge/top5", "knn/top1"} <= epoch.logs.keys() for epoch in history)
    record = folder.evaluation(trial.evaluate[0])
    assert record is not None and record.metrics["top1"] == history[-1].logs["ridge/top1"]
    linear = folder.evaluation(trial.evaluate[1])
    assert linear is not None and not linear.settings.keys() & {"weight_decay", "features", "selection"}


def test_a_trial_leaves_its_records(sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file(pretrain={"epochs": 2, "batch_size": 32, "knn_every": 1}))
    ear = Ear()
    folder = carry(trial, tmp_path / "runs", ear)
    status = folder.status()
    assert status.state is TrialState.FINISHED and len(status.evaluations) == 3
    record = folder.pretrained()
    assert record is not None
    assert record.epochs == 2
    assert record.cost.resident is not None
    assert record.cost.gpu_allocated is None
    assert [epoch.epoch for epoch in folder.history()] == [1, 2]
    assert all("knn/top1" in epoch.logs for epoch in folder.history())
    for config in trial.evaluate:
        result = folder.evaluation(config)
        assert result is not None
        assert result.images == 100
        assert result.metrics["top1"] == pytest.approx(100 * result.counts["correct1"] / 100)
    assert ear.stages == ["pretrain", "knn", "linear", "finetune"]
    assert folder.store.names(folder.name("checkpoints")) == []
    assert (folder.picture() or b"").startswith(b"\x89PNG")


def test_lists_of_settings_are_one_evaluation(sweep_file: SweepFile, tmp_path: Path) -> None:
    grid = {"name": "knn", "k": [20, 1], "temperature": [0.1, 0.07]}
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=[grid]))
    result = carry(trial, tmp_path / "runs").evaluation(trial.evaluate[0])
    assert result is not None and result.protocol == "knn/lightly-vit@1"
    assert result.changed == {"k": [20, 1], "temperature": [0.1, 0.07]} == result.settings
    assert [tuple(one.settings.values()) for one in result.variants] == [(20, 0.1), (20, 0.07), (1, 0.1), (1, 0.07)]
    assert result.metrics == result.variants[0].metrics
    assert result.remarks[0].startswith("shown: k = 20, temperature = 0.1; ")


def test_a_finished_trial_does_nothing_again(sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file())
    carry(trial, tmp_path / "runs")
    ear = Ear()
    carry(trial, tmp_path / "runs", ear)
    assert ear.stages == []


def test_a_changed_evaluation_does_not_pretrain_again(sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file())
    carry(trial, tmp_path / "runs")
    (changed,) = trials_of(sweep_file(evaluate=[{"name": "linear", "epochs": 3, "augment": False}]))
    ear = Ear()
    carry(changed, tmp_path / "runs", ear)
    assert ear.stages == ["linear"]


@pytest.mark.parametrize("drop_path_rate", [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
@pytest.mark.parametrize("method", ["simclr", "byol", {"name": "dino", "output_dim": 64}, "mae"], ids=str)
def test_a_stopped_trial_goes_on_bit_for_bit(
    method: object, drop_path_rate: float, sweep_file: SweepFile, tmp_path: Path
) -> None:
    options = TINY_VIT["options"] | {"drop_path_rate": drop_path_rate}
    changes = {"methods": [method], "evaluate": [{"name": "knn", "k": 20}], "backbone": TINY_VIT | {"options": options}}
    (trial,) = trials_of(sweep_file(**changes))
    whole = carry(trial, tmp_path / "whole")
    in_second_epoch = Ear(lambda event: isinstance(event, StepDone) and event.step == 13)
    with pytest.raises(TrialStopped):
        carry(trial, tmp_path / "halves", in_second_epoch)
    halves = carry(trial, tmp_path / "halves")
    assert_same_weights(whole, halves)
    assert [epoch.loss for epoch in whole.history()] == [epoch.loss for epoch in halves.history()]
    record = halves.pretrained()
    assert record is not None
    assert record.attempts == 2


def test_a_killed_trial_repeats_no_finished_epoch(sweep_file: SweepFile, tmp_path: Path) -> None:
    """With a checkpoint after each step, a death costs at most that step."""
    (trial,) = trials_of(sweep_file())

    class Killed(Exception):
        pass

    def die(event: Event) -> bool:
        if isinstance(event, StepDone) and event.step == 15:
            raise Killed
        return False

    always = Runtime(CPU, checkpoint_seconds=0)
    with pytest.raises(Killed):
        carry(trial, tmp_path / "runs", Ear(die), always)
    ear = Ear()
    carry(trial, tmp_path / "runs", ear)
    assert ear.heard(StepDone)[0].step == 15
    assert len(ear.heard(EpochDone)) == 1


def test_a_loss_that_is_not_finite_ends_the_trial(sweep_file: SweepFile, tmp_path: Path) -> None:
    optimizer = {"name": "sgd", "lr": 1e30, "lr_scaling": "none"}
    schedule = {"warmup_epochs": 0}
    pretrain = {"epochs": 2, "batch_size": 32, "optimizer": optimizer, "schedule": schedule}
    (trial,) = trials_of(sweep_file(pretrain=pretrain))
    with pytest.raises(TrialFailed, match="not finite at step"):
        carry(trial, tmp_path / "runs")


def test_weights_that_the_last_step_spoiled_end_the_trial(sweep_file: SweepFile, tmp_path: Path) -> None:
    """No loss tells of them."""
    optimizer = {"name": "sgd", "lr": 1e38, "lr_scaling": "none"}
    pretrain = {"epochs": 1, "batch_size": 320, "optimizer": optimizer, "schedule": {"warmup_epochs": 0}}
    (trial,) = trials_of(sweep_file(pretrain=pretrain | {"knn_every": 0, "diagnose_every": 0}))
    with pytest.raises(TrialFailed, match=r"the weights of model\.\S+ are not finite after the last step") as error:
        carry(trial, tmp_path / "runs")
    assert error.value.fault is Fault.DIVERGED


def test_an_evaluation_that_diverges_ends_the_trial(sweep_file: SweepFile, tmp_path: Path) -> None:
    """It would score as well as chance."""
    evaluate = [{"name": "finetune", "epochs": 1, "lr": 1e38}]
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=evaluate))
    with pytest.raises(TrialFailed, match=r"finetune: the scores of \d+ of 100 images are not finite"):
        carry(trial, tmp_path / "runs")


def test_parts_of_a_batch_add_up(sweep_file: SweepFile, tmp_path: Path) -> None:
    """Without statistics of the batch, four parts have the losses of the whole; with them, each part has its own."""

    def losses(method: object, accumulate: int) -> list[float]:
        pretrain = {"epochs": 1, "batch_size": 32, "accumulate": accumulate}
        (trial,) = trials_of(sweep_file(methods=[method], pretrain=pretrain, evaluate=[{"name": "knn", "k": 20}]))
        ear = Ear()
        carry(trial, tmp_path / "runs", ear)
        return [event.loss for event in ear.heard(StepDone)]

    assert losses("supervised", 4) == pytest.approx(losses("supervised", 1), abs=1e-5)
    assert losses("simclr", 4)[0] < losses("simclr", 1)[0] - 0.5  # fewer negatives


def test_features_are_looked_at_and_a_collapse_ends_the_trial(sweep_file: SweepFile, tmp_path: Path) -> None:
    pretrain = {"epochs": 2, "batch_size": 32}
    evaluate = [{"name": "knn", "k": 20}]
    (trial,) = trials_of(sweep_file(pretrain=pretrain, evaluate=evaluate))
    logs = carry(trial, tmp_path / "runs").history()[-1].logs
    assert 1 < logs["features/rank"] <= 32 and 0 < logs["features/std"] < 1.5
    (trial,) = trials_of(sweep_file(pretrain=pretrain | {"stop_collapsed": {"min_rank": 30}}, evaluate=evaluate))
    with pytest.raises(TrialFailed, match=r"collapsed in epoch 1: rank .* \(at least 30\)"):
        carry(trial, tmp_path / "collapsed")


def test_the_untrained_backbone_is_the_seed_s(sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=[{"name": "knn", "k": 20}]))
    folder = carry(trial, tmp_path / "runs")
    weights = load_file(folder.store.path(folder.name("backbone.safetensors")))
    expected = new_encoder(trial).model.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in expected.items())
    assert list(folder.history()) == []


@pytest.mark.parametrize("backbone", ["vit", "resnet10t", "resnet18-cifar"])
def test_plain_timm_loads_the_backbone(backbone: str, sweep_file: SweepFile, tmp_path: Path) -> None:
    """The three lines of the README."""
    changes = {} if backbone == "vit" else {"backbone": backbone}
    (trial,) = trials_of(
        sweep_file(**changes, pretrain={"epochs": 1, "batch_size": 32}, evaluate=[{"name": "knn", "k": 20}])
    )
    folder = carry(trial, tmp_path / "runs")
    path = folder.store.path(folder.name("backbone.safetensors"))

    with safetensors.safe_open(path, "pt") as file:
        made = json.loads(file.metadata()["timm"])
    model = timm.create_model(made["name"], num_classes=0, **made["kwargs"])
    if backbone == "resnet18-cifar":
        model.conv1, model.maxpool = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False), torch.nn.Identity()
    model.load_state_dict(load_file(path))

    encoder = new_encoder(trial)
    encoder.model.load_state_dict(load_file(path))
    image = torch.randn(2, 3, 16, 16)
    assert torch.equal(model.eval()(image), encoder.eval()(image))


def test_a_search_trial_never_sees_the_test_set(sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file(evaluate=[{"name": "knn", "k": 20}]))
    folder = carry(trial.model_copy(update={"split": "holdout"}), tmp_path / "runs")
    record = folder.evaluation(trial.evaluate[0])
    assert record is not None
    assert record.split == "holdout"
    assert record.images == 32  # a tenth of the training images


KNN = [{"name": "knn", "k": 20}]


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_backbone_is_trained_again(
    damage: str, sweep_file: SweepFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And not evaluated: it would give other numbers."""
    (trial,) = trials_of(sweep_file(evaluate=KNN))
    whole = carry(trial, tmp_path / "whole")
    folder = carry(trial, tmp_path / "runs")
    path = Path(folder.store.path(folder.name("backbone.safetensors")))
    content = bytearray(path.read_bytes())
    content[-100] ^= 64
    path.write_bytes(bytes(content) if damage == "flipped" else bytes(content[:-100]))
    if damage == "missing":
        path.unlink()
    (changed,) = trials_of(sweep_file(evaluate=[*KNN, {"name": "linear", "epochs": 2, "augment": False}]))
    carry(changed, tmp_path / "runs", ear := Ear())
    assert ear.stages == ["pretrain", "linear"]
    assert_same_weights(whole, folder)
    assert f"{path} is damaged (" in caplog.text


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    damaged: int, sweep_file: SweepFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (trial,) = trials_of(sweep_file(evaluate=KNN))
    whole = carry(trial, tmp_path / "whole")
    late = Ear(lambda event: isinstance(event, StepDone) and event.step == 13)
    with pytest.raises(TrialStopped):
        carry(trial, tmp_path / "runs", late, Runtime(CPU, checkpoint_seconds=0))
    (folder,) = (tmp_path / "runs" / "trials").iterdir()
    newest = sorted((folder / "checkpoints").iterdir())[-damaged:]
    for path in newest:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 64
        path.write_bytes(content)
    resumed = carry(trial, tmp_path / "runs", ear := Ear())
    assert ear.heard(StepDone)[0].step == (14 if damaged == 1 else 1)
    assert_same_weights(whole, resumed)
    told = [event.message for event in ear.heard(Warned)]
    assert len(told) == damaged and f"{newest[-1]} is damaged (its checksum differs)" in told[0], "the user sees it"
    assert all(f"{path} is damaged (its checksum differs)" in caplog.text for path in newest)
