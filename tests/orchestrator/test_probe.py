"""A probe of a trial, on the CPU: what it measures, and that it leaves nothing."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import Ear, trials_of
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.engine.protocol import Job, TrialEvent
from ssl_sweep.orchestrator.engine.run_job import run_job
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import data_root
from ssl_sweep.orchestrator.store.events import StatusChanged
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.probe_record import ProbeRecord
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial import probe as probe_module
from ssl_sweep.orchestrator.trial.probe import covered
from ssl_sweep.orchestrator.trial.runtime import Runtime

SweepFile = Callable[..., Path]
FILE = "probes/kind-cpu.json"
ALL: list[dict[str, Any]] = [
    {"name": "knn", "k": 20},
    {"name": "linear", "epochs": 50, "batch_size": 64},
    {"name": "finetune", "epochs": 50, "batch_size": 64},
]


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(probe_module, "WARM_UP", 1)
    monkeypatch.setattr(probe_module, "TIMED", 2)
    monkeypatch.setattr(probe_module, "LOOK_SECONDS", 0.0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return scratch


def job_of(path: Path) -> Job:
    trial = trials_of(path)[0]
    fingerprint = prepare(trial.dataset, data_root()).fingerprint
    return Job("probe-kind", trial.model_dump_json(), fingerprint, probe=FILE)


def run(path: Path) -> tuple[Store, list[TrialEvent]]:
    """A probe of the sweep's first trial, as an engine runs it."""
    spec, _ = load_spec(path)
    store = Store(spec.storage)
    engine = InProcessEngine(spec, store, data_root())
    engine.start()
    found: list[TrialEvent] = []
    try:
        engine.submit([job_of(path)])
        deadline = time.monotonic() + 120
        while not found and time.monotonic() < deadline:
            found = engine.events(1.0)
    finally:
        engine.close()
    return store, found


def test_a_probe_measures_and_keeps_nothing_of_the_trial(few_steps: Path, sweep_file: SweepFile) -> None:
    path = sweep_file(evaluate=ALL, pretrain={"epochs": 1, "batch_size": 64, "knn_every": 1})
    store, ((name, end),) = run(path)
    assert name == "probe-kind" and isinstance(end, StatusChanged) and end.state is TrialState.FINISHED
    record = store.read_record(FILE, ProbeRecord)
    assert record is not None and record.cost.device == "cpu" and record.cost.resident
    assert record.memory == record.cost.resident and record.total is None
    assert record.images_per_second and record.busy is None
    assert [file.relative_to(store.location).as_posix() for file in Path(store.location).rglob("*.*")] == [FILE]
    assert not list(few_steps.iterdir())


@pytest.mark.usefixtures("few_steps")
def test_a_method_that_does_not_train_has_no_speed(sweep_file: SweepFile) -> None:
    store, _ = run(sweep_file(methods=["random"], evaluate=ALL[:1]))
    record = store.read_record(FILE, ProbeRecord)
    assert record is not None and record.memory and record.images_per_second is None


@pytest.mark.usefixtures("few_steps")
def test_a_probe_that_fails_says_why(sweep_file: SweepFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(probe_module, "pretrain", too_large)
    store, ((_, end),) = run(sweep_file())
    assert isinstance(end, StatusChanged) and end.state is TrialState.FAILED
    assert (end.fault, end.reason) == (Fault.OUT_OF_MEMORY, "MemoryError: no room")
    assert not store.exists(FILE)


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("asked", [2, 4], ids=["while it trains", "while it evaluates"])
def test_a_probe_can_be_stopped(asked: int, sweep_file: SweepFile, tmp_path: Path) -> None:
    """The probe asks after each of three steps, and then of each evaluation."""

    class Impatient(Ear):
        times = 0

        def stop_requested(self) -> TrialState | None:
            self.times += 1
            return TrialState.INTERRUPTED if self.times >= asked else None

    ear, store = Impatient(), Store(str(tmp_path / "runs"))
    run_job(job_of(sweep_file(evaluate=ALL)), store, data_root(), Runtime(probe_module.torch.device("cpu")), ear)
    assert [(event.state, event.fault) for event in ear.heard(StatusChanged)] == [(TrialState.INTERRUPTED, None)]
    assert not store.exists(FILE)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted).map(tuple)))
def test_time_that_is_covered_twice_counts_once(spans: list[tuple[int, int]]) -> None:
    assert covered(spans) == len({i for first, last in spans for i in range(first, last)})
