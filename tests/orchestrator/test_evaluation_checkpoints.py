"""Evaluations that train continue where they were killed or stopped, and end with the undisturbed numbers."""

import logging
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from in_process import CPU, Ear, carry, trials_of
from ssl_sweep.orchestrator.spec.identity import evaluation_id
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.events import ScoreDone, Warned
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial.journal import TrialStopped
from ssl_sweep.orchestrator.trial.runtime import Runtime

SweepFile = Callable[..., Path]
STEPS, EPOCHS, AT = 10, 3, 14
EVALUATIONS: dict[str, dict[str, Any]] = {
    "linear": {"name": "linear", "epochs": EPOCHS, "batch_size": 32, "augment": False},
    "finetune": {"name": "finetune", "epochs": EPOCHS, "batch_size": 32, "protocol": "finetune/simclr@1"},
}


class Killed(Exception):
    pass


class Interruption(Ear):
    """Kills the trial, or asks it to stop, after step `AT` of its evaluation: there it asks for the `AT`th time."""

    def __init__(self, how: str):
        super().__init__()
        self.how = how
        self.asked = 0

    def stop_requested(self) -> TrialState | None:
        if self.stages[-1:] not in ([], ["pretrain"]):
            self.asked += 1
        if self.asked < AT:
            return None
        if self.how == "killed":
            raise Killed
        return TrialState.INTERRUPTED


@pytest.fixture
def trial(sweep_file: SweepFile, request: pytest.FixtureRequest) -> TrialSpec:
    (trial,) = trials_of(sweep_file(methods=["random"], evaluate=[EVALUATIONS[request.param]]))
    return trial


BOTH = pytest.mark.parametrize("trial", EVALUATIONS, indirect=True)


def numbers(folder: TrialStore, trial: TrialSpec) -> dict[str, Any]:
    record = folder.evaluation(trial.evaluate[0])
    assert record is not None
    return record.model_dump(exclude={"cost"})


def checkpoints(storage: Path, trial: TrialSpec) -> list[Path]:
    """From the oldest to the newest."""
    return sorted(storage.glob(f"trials/*/evaluations/checkpoints/{evaluation_id(trial.evaluate[0])}/*.pt"))


def interrupt(trial: TrialSpec, storage: Path, how: str) -> None:
    with pytest.raises(Killed if how == "killed" else TrialStopped):
        carry(trial, storage, Interruption(how), Runtime(CPU, checkpoint_seconds=0 if how == "killed" else 300))


@BOTH
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_it_continues_at_that_step(
    trial: TrialSpec, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ssl_sweep")
    whole = carry(trial, tmp_path / "whole")
    interrupt(trial, tmp_path / "runs", how)
    assert len(checkpoints(tmp_path / "runs", trial)) == (2 if how == "killed" else 1)
    ear = Ear()
    folder = carry(trial, tmp_path / "runs", ear)
    step = AT - 1 if how == "killed" else AT
    assert f"resumed at step {step} of {EPOCHS * STEPS}" in caplog.text
    assert [event.epoch for event in ear.heard(ScoreDone)] == [2, 3]
    assert numbers(folder, trial) == numbers(whole, trial)
    assert checkpoints(tmp_path / "runs", trial) == []


@BOTH
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "header", "other"])
@pytest.mark.parametrize("both", [False, True])
def test_a_damaged_checkpoint_is_named_and_costs_no_more_than_it_held(
    trial: TrialSpec, damage: str, both: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ssl_sweep")
    whole = carry(trial, tmp_path / "whole")
    interrupt(trial, tmp_path / "runs", "killed")
    older, newer = checkpoints(tmp_path / "runs", trial)
    for path in (older, newer) if both else (newer,):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        damaged = {"cut": content[:-100], "flipped": content, "empty": b"", "header": content[30:], "other": b"[1]\n"}
        path.write_bytes(damaged[damage])
    ear = Ear()
    folder = carry(trial, tmp_path / "runs", ear)
    assert f"{newer} is damaged (" in caplog.text
    assert any(f"{newer} is damaged (" in event.message for event in ear.heard(Warned)), "the user sees it"
    assert ("training starts from the beginning" if both else f"resumed at step {AT - 2} of") in caplog.text
    assert [event.epoch for event in ear.heard(ScoreDone)] == ([1, 2, 3] if both else [2, 3])
    assert numbers(folder, trial) == numbers(whole, trial)


@pytest.mark.parametrize("trial", ["linear"], indirect=True)
def test_a_checkpoint_that_a_crash_left_beside_the_record_goes(trial: TrialSpec, tmp_path: Path) -> None:
    interrupt(trial, tmp_path / "runs", "killed")
    path = checkpoints(tmp_path / "runs", trial)[-1]
    content = path.read_bytes()
    carry(trial, tmp_path / "runs")
    path.write_bytes(content)
    carry(trial, tmp_path / "runs")
    assert not path.exists()


@pytest.mark.parametrize("trial", ["linear"], indirect=True)
def test_the_seconds_of_both_runs_count(trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ssl_sweep.orchestrator.trial.evaluation_checkpoints"
    monkeypatch.setattr(f"{module}.EvaluationCheckpoints.seconds", lambda self: 1000.0)
    interrupt(trial, tmp_path / "runs", "stopped")
    record = carry(trial, tmp_path / "runs").evaluation(trial.evaluate[0])
    assert record is not None
    assert record.cost.seconds > 1000


def test_a_backbone_that_is_read_again_is_fine_tuned_like_the_one_just_trained(
    sweep_file: SweepFile, tmp_path: Path
) -> None:
    """MAE fixes the positions, which a file of weights does not say."""
    (trial,) = trials_of(sweep_file(methods=["mae"], evaluate=[EVALUATIONS["finetune"] | {"epochs": 1}]))
    whole = carry(trial, tmp_path / "whole")
    carry(trial.model_copy(update={"evaluate": ()}), tmp_path / "runs")
    assert numbers(carry(trial, tmp_path / "runs"), trial) == numbers(whole, trial)


def on_ranks(trial: TrialSpec, storage: Path, how: str = "") -> None:
    """The trial on two gloo processes, undisturbed unless `how` says otherwise."""
    multiprocessing.set_forkserver_preload(["ssl_sweep.orchestrator.trial.run", "in_process"])
    storage.mkdir(exist_ok=True)
    arguments = (trial.model_dump(mode="json"), str(storage), how)
    mp.start_processes(_rank, arguments, 2, start_method="forkserver")


def _rank(rank: int, content: dict[str, Any], storage: str, how: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{storage}/rendezvous{how}", rank=rank, world_size=2)
    trial = TrialSpec.model_validate(content)
    runtime = Runtime(CPU, rank, 2, checkpoint_seconds=0 if how == "killed" else 300)
    if not how:
        carry(trial, Path(storage), Ear(), runtime)
    elif how == "stopped":
        with pytest.raises(TrialStopped):
            carry(trial, Path(storage), Interruption(how), runtime)
    else:
        with pytest.raises(Killed if rank == 0 else RuntimeError):
            carry(trial, Path(storage), Interruption(how), runtime)
        return
    dist.destroy_process_group()


@BOTH
@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_on_two_ranks(trial: TrialSpec, how: str, tmp_path: Path) -> None:
    on_ranks(trial, tmp_path / "whole")
    on_ranks(trial, tmp_path / "runs", how)
    assert checkpoints(tmp_path / "runs", trial)
    on_ranks(trial, tmp_path / "runs")
    found, expected = (numbers(carry(trial, tmp_path / name), trial) for name in ("runs", "whole"))
    assert found == expected
