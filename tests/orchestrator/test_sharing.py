"""Trials that share a GPU by what a probe measured: how many, which wait for it, and what becomes of them. The GPUs are made up."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import trials_of
from ssl_sweep.orchestrator.engine.protocol import EngineLost, Job, TrialEvent
from ssl_sweep.orchestrator.engine.sharing import COUNTS, RESERVE, SharingEngine, share_of, trials_on_a_gpu
from ssl_sweep.orchestrator.search.objectives import devices_of, hours_of
from ssl_sweep.orchestrator.spec.models import ShapeConfig
from ssl_sweep.orchestrator.store.events import Event, PretrainingDone, StatusChanged
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.probe_record import ProbeRecord
from ssl_sweep.orchestrator.store.records import Cost, PretrainRecord
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import TrialStatus
from told_engine import ToldEngine

SweepFile = Callable[..., Path]
GB = 1_000_000_000
FINISHED = StatusChanged(state=TrialState.FINISHED)


def probe(memory: float, busy: float | None = 0.1, total: float | None = 80) -> ProbeRecord:
    """All in GB; half a GB is outside of torch."""
    cost = Cost(seconds=9, workers=1, device="NVIDIA H100", gpu_reserved=int((memory - 0.5) * GB))
    return ProbeRecord(
        cost=cost,
        outside=GB // 2,
        total=None if total is None else int(total * GB),
        images_per_second=900,
        busy=busy,
    )


# -- how many --

MEMORY, BUSY, TOTAL = st.floats(0.6, 200), st.floats(0.001, 1), st.floats(1, 200)


@given(memory=MEMORY, busy=BUSY, total=TOTAL)
def test_trials_on_a_gpu_fit_its_memory_and_its_time(memory: float, busy: float, total: float) -> None:
    record = probe(memory, busy, total)
    assert record.total is not None
    count = trials_on_a_gpu(record)
    assert count == 1 or (count in COUNTS and count * record.memory <= record.total * (1 - RESERVE))
    assert count == 1 or count <= 1 / busy + 0.5
    assert int(1 / share_of(record) + 1e-9) == count and int(share_of(record) * 10_000) * count <= 10_000


@given(memory=MEMORY, busy=BUSY, total=TOTAL, more=st.floats(1, 3))
def test_what_needs_more_never_gets_more_company(memory: float, busy: float, total: float, more: float) -> None:
    count = trials_on_a_gpu(probe(memory, busy, total))
    assert trials_on_a_gpu(probe(memory * more, busy, total)) <= count
    assert trials_on_a_gpu(probe(memory, min(1.0, busy * more), total)) <= count
    assert trials_on_a_gpu(probe(memory, busy, total * more)) >= count


def test_examples() -> None:
    counts = [trials_on_a_gpu(probe(2, busy)) for busy in (1.0, 0.7, 0.6, 0.4, 0.3, 0.2, 0.15, 0.01)]
    assert counts == [1, 1, 2, 2, 3, 5, 5, 10]
    assert [trials_on_a_gpu(probe(memory)) for memory in (6, 8, 20, 34, 35)] == [10, 8, 3, 2, 1]
    assert [trials_on_a_gpu(record) for record in (probe(2, None), probe(2, total=None))] == [1, 1]
    assert share_of(probe(20)) == 0.3333


def test_hours_count_the_part_of_a_gpu_that_a_trial_had() -> None:
    cost = Cost(seconds=3600, workers=1, device="NVIDIA H100", gpus=0.25)
    done = TrialStatus(pretrain=PretrainRecord(cost=cost, epochs=1, final_loss=1.0, images_per_second=9.0))
    whole = devices_of(ShapeConfig(gpus_per_worker="auto"))
    assert (whole, hours_of(done, whole)) == (1.0, 0.25)


# -- who waits --


class Engine(ToldEngine):
    gpu: str | None = "H100"

    def larger(self, job: Job, fault: Fault) -> Job | None:
        gpus = job.resources.known_gpus or 1.0
        return job._replace(resources=ShapeConfig(gpus_per_worker=1.0)) if gpus < 1 else None


class Scene:
    """Six trials of two methods, and a seventh that is given its GPU by number."""

    def __init__(self, path: Path, storage: Path):
        self.store, self.engine, self.said = Store(str(storage)), Engine(), list[str]()
        self.jobs: dict[str, Job] = {}
        for trial in trials_of(path):
            job = Job(f"{trial.method.name}-{trial.seed}", trial.model_dump_json(), "f", trial.resources)
            self.jobs[job.trial_id] = job
        self.again()

    def again(self) -> None:
        """As another submission."""
        self.engine = Engine()
        self.sharing = SharingEngine(self.engine, self.store, self.said.append, compiled=False, max_failures=1)

    def submit(self, names: Sequence[str]) -> None:
        self.sharing.submit([self.jobs[name] for name in names])

    def tell(self, trial_id: str, event: Event) -> list[TrialEvent]:
        """The job is taken, and this is heard of it; what the driver hears."""
        self.engine.waiting = [job for job in self.engine.waiting if job.trial_id != trial_id]
        self.engine.tell(trial_id, event)
        return self.sharing.events(0)

    def probes(self) -> list[Job]:
        return [job for job in self.engine.waiting if job.probe]

    def measure(self, record: ProbeRecord | None, end: StatusChanged = FINISHED) -> list[TrialEvent]:
        """The next probe ends."""
        job = self.probes()[0]
        assert job.probe is not None and job.resources.gpus_per_worker == 1
        if record is not None:
            self.store.write_record(job.probe, record)
        return self.tell(job.trial_id, end)

    @property
    def shares(self) -> list[tuple[str, Any]]:
        return [(job.trial_id, job.resources.gpus_per_worker) for job in self.engine.waiting if not job.probe]


@pytest.fixture
def scene(sweep_file: SweepFile, tmp_path: Path) -> Scene:
    fixed = {"name": "moco", "resources": {"gpus_per_worker": 0.2}}
    path = sweep_file(
        methods=["simclr", "byol", fixed], seeds=[0, 1, 2], resources={"gpus_per_worker": "auto"}, evaluate=["knn"]
    )
    return Scene(path, tmp_path / "runs")


SIMCLR, BYOL = ["simclr-0", "simclr-1", "simclr-2"], ["byol-0", "byol-1", "byol-2"]


def failed(fault: Fault) -> StatusChanged:
    return StatusChanged(state=TrialState.FAILED, reason="why", fault=fault)


def test_trials_of_a_kind_wait_for_one_probe_and_others_do_not(scene: Scene) -> None:
    scene.submit([*SIMCLR[:2], "moco-0", *BYOL[:2]])
    assert [job.trial_id.split("-")[0] for job in scene.engine.waiting] == ["probe", "moco", "probe"]
    assert scene.said == [
        f"{name} with vit_tiny_patch16_224: measuring how much of a GPU it needs; its trials wait"
        for name in ("simclr", "byol")
    ]
    scene.submit(["simclr-2"])
    assert len(scene.probes()) == 2
    assert scene.measure(probe(2, 0.2)) == []
    assert scene.shares == [*((name, 0.2) for name in SIMCLR), ("moco-0", 0.2)]  # they were asked for first
    assert scene.said[2] == (
        "simclr with vit_tiny_patch16_224: 5 to a GPU: each takes 2.0 of 80.0 GB,"
        " alone it keeps the GPU busy for 20% of the time"
    )
    scene.submit(["byol-2"])
    scene.measure(probe(30))
    assert scene.shares[:3] == [(name, 0.5) for name in BYOL]
    assert scene.tell("byol-0", FINISHED) == [("byol-0", FINISHED)]


def test_what_was_measured_is_not_measured_again(scene: Scene) -> None:
    scene.submit(SIMCLR[:1])
    scene.measure(probe(2, 0.2))
    scene.submit(SIMCLR[1:2])
    assert scene.shares == [("simclr-0", 0.2), ("simclr-1", 0.2)]
    scene.again()
    scene.submit(SIMCLR)
    assert scene.shares == [(name, 0.2) for name in SIMCLR] and not scene.probes()
    scene.again()
    scene.engine.gpu = "A100"
    scene.submit(SIMCLR)
    assert scene.shares == [] and len(scene.probes()) == 1


@pytest.mark.parametrize("fault", [Fault.OUT_OF_GPU_MEMORY, Fault.CODE_ERROR, Fault.STORE_FULL])
def test_a_probe_that_fails_leaves_whole_gpus(scene: Scene, fault: Fault) -> None:
    scene.submit(SIMCLR)
    scene.measure(None, failed(fault))
    assert scene.shares == [(name, 1.0) for name in SIMCLR]
    assert scene.said[1] == "simclr with vit_tiny_patch16_224: not measured (why), so each trial takes a whole GPU"


def test_a_probe_whose_worker_died_is_tried_again_within_its_budget(scene: Scene) -> None:
    scene.submit(["moco-0", *SIMCLR])
    scene.measure(None, failed(Fault.WORKER_DIED))
    assert scene.engine.waiting[0].probe
    scene.measure(None, failed(Fault.WORKER_DIED))
    assert scene.shares == [*((name, 1.0) for name in SIMCLR), ("moco-0", 0.2)]


def test_a_damaged_record_leaves_whole_gpus(scene: Scene) -> None:
    scene.submit(SIMCLR[:1])
    scene.store.write(scene.probes()[0].probe or "", b"{")
    scene.measure(None)
    assert scene.shares == [("simclr-0", 1.0)]


def test_trials_that_wait_for_a_probe_can_be_stopped(scene: Scene) -> None:
    scene.submit([*SIMCLR, *BYOL])
    assert scene.sharing.stop("simclr-1", TrialState.STOPPED_EARLY) == ["simclr-1"]
    scene.measure(probe(2, 0.2))
    assert [name for name, _ in scene.shares] == ["simclr-0", "simclr-2"]
    assert sorted(scene.sharing.stop(None, TrialState.INTERRUPTED)) == sorted(["simclr-0", "simclr-2", *BYOL])
    assert not scene.engine.waiting


def test_a_probe_that_runs_while_all_is_stopped_ends_in_silence(scene: Scene) -> None:
    scene.submit(SIMCLR)
    running = scene.engine.waiting.pop()
    assert scene.sharing.stop(None, TrialState.INTERRUPTED) == SIMCLR
    assert scene.tell(running.trial_id, StatusChanged(state=TrialState.INTERRUPTED)) == []
    assert not scene.engine.waiting and len(scene.said) == 1


def test_a_trial_that_runs_out_of_its_part_gets_a_whole_gpu(scene: Scene) -> None:
    scene.submit(SIMCLR[:1])
    scene.measure(probe(2, 0.2))
    whole = scene.sharing.larger(scene.jobs["simclr-0"], Fault.OUT_OF_GPU_MEMORY)
    assert whole is not None
    scene.sharing.submit([whole], first=True)
    assert scene.shares[0] == ("simclr-0", 1.0)
    assert scene.sharing.larger(whole, Fault.OUT_OF_GPU_MEMORY) is None


def test_a_trial_that_came_to_need_more_tells_those_that_follow(scene: Scene) -> None:
    scene.submit(SIMCLR[:2])
    scene.measure(probe(2, 0.2))
    done = {"epochs": 1, "final_loss": 1.0, "images_per_second": 9.0}
    for reserved, share in ((1, 0.2), (25, 0.5), (60, 1.0)):
        cost = Cost(seconds=1, workers=1, device="NVIDIA H100", gpu_reserved=reserved * GB)
        scene.tell("simclr-0", PretrainingDone(cost=cost, **done))
        scene.submit(SIMCLR[2:])
        assert scene.shares[-1] == ("simclr-2", share)
    # One that had been given its part before still gets a whole GPU.
    assert scene.sharing.larger(scene.jobs["simclr-1"], Fault.OUT_OF_GPU_MEMORY) is not None
    scene.again()
    scene.submit(SIMCLR[:1])
    assert scene.shares == [("simclr-0", 1.0)]


def test_without_gpus_of_one_model_nothing_is_measured(scene: Scene) -> None:
    scene.engine.gpu = None
    scene.submit([*SIMCLR, "moco-0"])
    assert scene.shares == [*((name, "auto") for name in SIMCLR), ("moco-0", 0.2)] and not scene.said


def test_a_lost_engine_is_the_callers_to_know(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object, **__: object) -> None:
        raise EngineLost("gone")

    scene.submit(SIMCLR)
    monkeypatch.setattr(scene.engine, "submit", lost)
    with pytest.raises(EngineLost):
        scene.measure(probe(2))
