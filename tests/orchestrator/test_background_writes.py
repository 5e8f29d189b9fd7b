"""Events, log and checkpoints are written while the training goes on; a trial's end waits for them."""

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from in_process import CPU, Ear, carry, trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.engine.protocol import Job
from ssl_sweep.orchestrator.engine.run_job import run_job
from ssl_sweep.orchestrator.spec.identity import trial_id
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.events import EpochDone, Event, StatusChanged, StepDone
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store, StoreError
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial import journal
from ssl_sweep.orchestrator.trial.checkpoint_writer import CheckpointWriter
from ssl_sweep.orchestrator.trial.journal import AT_ONCE, Journal, TrialFailed, TrialStopped
from ssl_sweep.orchestrator.trial.run import run_trial
from ssl_sweep.orchestrator.trial.runtime import Runtime

SweepFile = Callable[..., Path]
KNN: dict[str, Any] = {"name": "knn", "k": 20}
LINEAR: dict[str, Any] = {"name": "linear", "epochs": 2, "batch_size": 32, "augment": False}
ALWAYS = Runtime(CPU, checkpoint_seconds=0)
TOTAL = 20
FULL = "storage 'x' cannot be used: No space left on device"


class Watched(Store):
    """Calls `before` with the name and the content of what is written next."""

    def __init__(self, storage: Path, before: Callable[[str, bytes], None]):
        super().__init__(str(storage))
        self.before = before

    def write(self, name: str, content: bytes, *, durable: bool = True) -> None:
        self.before(name, content)
        super().write(name, content, durable=durable)

    def create(self, name: str, content: bytes) -> bool:
        self.before(name, content)
        return super().create(name, content)

    def append(self, name: str, lines: Any) -> None:
        self.before(name, "\n".join(lines).encode())
        super().append(name, lines)


def run(trial: TrialSpec, store: Store, ear: Ear, runtime: Runtime = ALWAYS) -> TrialStore:
    prepared = prepare(trial.dataset, data_root())
    folder = TrialStore(store, trial_id(trial, prepared.fingerprint))
    run_trial(trial, folder, prepared, runtime, ear)
    return folder


def as_job(trial: TrialSpec, store: Store, ear: Ear, runtime: Runtime = ALWAYS) -> TrialStore:
    fingerprint = prepare(trial.dataset, data_root()).fingerprint
    job = Job(trial_id(trial, fingerprint), trial.model_dump_json(), fingerprint)
    run_job(job, store, data_root(), runtime, ear)
    return TrialStore(store, job.trial_id)


@pytest.fixture
def trial(sweep_file: SweepFile) -> TrialSpec:
    (trial,) = trials_of(sweep_file(evaluate=[KNN]))
    return trial


@pytest.mark.parametrize("stage", ["pretrain", "linear"])
def test_training_continues_while_a_checkpoint_is_written(stage: str, sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file(evaluate=[LINEAR]))
    whole = carry(trial, tmp_path / "whole")
    gate, held = threading.Event(), list[bool]()
    folder = "evaluations/checkpoints/" if stage == "linear" else "/checkpoints/"

    class Opens(Ear):
        """Opens the gate after the second step of the stage, before which one checkpoint was kept."""

        asked = 0

        def stop_requested(self) -> TrialState | None:
            self.asked += self.stages[-1:] == [stage]
            if self.asked == 2:
                gate.set()
            return None

    def before(name: str, content: bytes) -> None:
        if folder in name and ("evaluations" in name) == (stage == "linear"):
            held.append(gate.wait(60))

    found = run(trial, Watched(tmp_path / "runs", before), Opens())
    assert held and all(held)
    assert [epoch.loss for epoch in found.history()] == [epoch.loss for epoch in whole.history()]
    records = [where.evaluation(trial.evaluate[0]) for where in (found, whole)]
    assert all(records) and records[0].metrics == records[1].metrics  # pyright: ignore[reportOptionalMemberAccess]


def test_a_stop_waits_for_the_checkpoint(trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, release = threading.Event(), threading.Event()
    flush = Journal.flush

    def flushes(self: Journal) -> None:
        assert begun.wait(60)
        release.set()
        flush(self)

    monkeypatch.setattr(Journal, "flush", flushes)

    def before(name: str, content: bytes) -> None:
        if "/checkpoints/" in name:
            begun.set()
            assert release.wait(60)

    store, kept = Watched(tmp_path, before), list[int]()

    class Looks(Ear):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            if isinstance(event, StatusChanged) and event.state is TrialState.INTERRUPTED:
                (folder,) = store.names("trials")
                kept.append(len(store.names(f"trials/{folder}/checkpoints")))
                assert TrialStore(store, folder).status().state is TrialState.INTERRUPTED

    with pytest.raises(TrialStopped, match=f"after step 4 of {TOTAL}"):
        run(
            trial, store, Looks(lambda event: isinstance(event, StepDone) and event.step == 3), Runtime(CPU)
        )  # a step is told one later
    assert kept == [1]


def test_no_checkpoint_comes_after_they_are_cleared(
    trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one is held until pretraining waits for it."""
    release, order, ear = threading.Event(), list[str](), Ear()
    wait = CheckpointWriter.wait

    def waits(self: CheckpointWriter) -> None:
        if len(ear.heard(EpochDone)) == 2:
            release.set()
        wait(self)

    monkeypatch.setattr(CheckpointWriter, "wait", waits)

    def before(name: str, content: bytes) -> None:
        order.append(name.rsplit("/", 1)[-1].split("-")[0])
        if f"/{TOTAL - 1:09d}-" in name:
            assert release.wait(60)

    folder = run(trial, Watched(tmp_path, before), ear)
    assert order.index(f"{TOTAL - 1:09d}") < order.index("backbone.safetensors") < order.index("pretrain.json")
    assert folder.store.names(folder.name("checkpoints")) == []


# -- errors --


def test_a_checkpoint_that_cannot_be_written_fails_the_trial(trial: TrialSpec, tmp_path: Path) -> None:
    def before(name: str, content: bytes) -> None:
        if "/checkpoints/" in name:
            raise StoreError(FULL)

    ear = Ear()
    folder = as_job(trial, Watched(tmp_path, before), ear)
    assert ear.heard(StatusChanged)[-1].reason == FULL
    status = folder.status()
    assert (status.state, status.reason) == (TrialState.FAILED, FULL)
    assert folder.events() == ear.events
    log = (folder.log_content() or b"").decode()
    assert FULL in log and "Traceback" not in log


def test_a_store_that_has_gone_fails_the_trial(trial: TrialSpec, tmp_path: Path) -> None:
    """The driver hears of it, although nothing can be written."""
    gone = threading.Event()

    def before(name: str, content: bytes) -> None:
        if gone.is_set():
            raise StoreError(FULL)

    class Cuts(Ear):
        def on_event(self, event: Event) -> None:
            super().on_event(event)
            if isinstance(event, StepDone) and event.step == 3:
                gone.set()

    ear = Cuts()
    as_job(trial, Watched(tmp_path, before), ear)
    (_, failed) = ear.heard(StatusChanged)
    assert (failed.state, failed.reason) == (TrialState.FAILED, FULL)


def test_an_end_that_cannot_be_written_is_a_failure(trial: TrialSpec, tmp_path: Path) -> None:
    def before(name: str, content: bytes) -> None:
        if b'"state": "finished"' in content:
            raise StoreError(FULL)

    ear = Ear()
    as_job(trial, Watched(tmp_path, before), ear)
    assert [event.state for event in ear.heard(StatusChanged)] == [TrialState.RUNNING, TrialState.FAILED]


def test_ranks_fail_together(trial: TrialSpec, tmp_path: Path) -> None:
    multiprocessing.set_forkserver_preload(["ssl_sweep.orchestrator.trial.run", "in_process"])
    arguments = (trial.model_dump(mode="json"), str(tmp_path))
    mp.start_processes(_rank, arguments, 2, start_method="forkserver")


def _rank(rank: int, content: dict[str, Any], storage: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{storage}/rendezvous", rank=rank, world_size=2)

    def before(name: str, content: bytes) -> None:
        if "/checkpoints/" in name:
            raise StoreError(FULL)

    runtime = Runtime(CPU, rank, 2, checkpoint_seconds=0)
    with pytest.raises(TrialFailed, match="No space left" if rank == 0 else "first worker could not write"):
        run(TrialSpec.model_validate(content), Watched(Path(storage), before), Ear(), runtime)
    dist.destroy_process_group()


# -- events and log --


def test_events_are_written_in_their_order_and_after_their_records(trial: TrialSpec, tmp_path: Path) -> None:
    too_early: list[str] = []
    records = {b'"kind":"pretrained"': "pretrain.json", b'"kind":"evaluation"': "evaluations"}

    def before(name: str, content: bytes) -> None:
        for kind, record in records.items():
            if kind in content and record not in store.names(name.split("/events")[0]):
                too_early.append(record)

    store, ear = Watched(tmp_path, before), Ear()
    folder = run(trial, store, ear)
    assert folder.events() == ear.events
    assert len(ear.heard(StepDone)) == TOTAL
    assert too_early == []


def test_an_object_store_gets_events_in_batches(
    trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OBJECT_SECONDS", "STATUS_SECONDS"):
        monkeypatch.setattr(journal, name, 1e6)
    written: list[str] = []
    store, ear = Watched(tmp_path, lambda name, content: written.append(name)), Ear()
    store.is_local = False
    folder = run(trial, store, ear, Runtime(CPU))
    at_once = [event for event in ear.events if isinstance(event, AT_ONCE)]
    assert len(ear.events) > 20 > len(at_once)
    assert len(store.names(folder.name("events"))) <= len(at_once)
    assert written.count(folder.name("state.json")) <= len(at_once) + 1
    assert folder.events() == ear.events
    assert folder.status().state is TrialState.FINISHED


def test_a_crash_leaves_the_events_and_the_log(trial: TrialSpec, tmp_path: Path) -> None:
    def crash(event: Event) -> bool:
        if isinstance(event, StepDone) and event.step == 15:
            raise ArithmeticError("a fault")
        return False

    ear = Ear(crash)
    folder = as_job(trial, Store(str(tmp_path)), ear, Runtime(CPU))
    assert [event.step for event in folder.events() if isinstance(event, StepDone)] == list(range(1, 16))
    assert folder.events() == ear.events
    assert ear.events[-1].model_copy(update={"time": 0.0}) == StatusChanged(
        state=TrialState.FAILED, reason="ArithmeticError: a fault", fault=Fault.CODE_ERROR
    )
    log = (folder.log_content() or b"").decode()
    assert "epoch 1 of 2" in log and "Traceback" in log and "a fault" in log


def test_what_a_crash_kept_from_the_status_is_told_again(trial: TrialSpec, tmp_path: Path) -> None:
    """The records are written before the events: else the sweep would ask for the trial again and again."""
    folder = carry(trial, tmp_path)
    status = folder.status()
    folder.write_status(
        status.model_copy(update={"pretrain": None, "evaluations": {}, "state": TrialState.INTERRUPTED})
    )
    ear = Ear()
    carry(trial, tmp_path, ear)
    assert ear.stages == []
    assert folder.status().evaluations == status.evaluations
    assert folder.status().pretrain == folder.pretrained()
