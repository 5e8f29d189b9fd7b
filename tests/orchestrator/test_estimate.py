"""What a plan says that the missing trials will take, from what similar ones took."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import ssl_sweep
from scripted import COST, Script, score_of, scripted_engine
from ssl_sweep.orchestrator.engine.protocol import Job
from ssl_sweep.orchestrator.engine.sharing import SharingEngine
from ssl_sweep.orchestrator.store.events import StatusChanged
from ssl_sweep.orchestrator.store.probe_record import ProbeRecord
from ssl_sweep.orchestrator.store.records import Cost
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial.journal import Listener
from steered import Steered
from steered import no_tracking as no_tracking

SweepFile = Callable[..., Path]


def plan(path: Path) -> list[dict[str, Any]]:
    return json.loads(ssl_sweep("plan", path, "--json"))


@pytest.mark.usefixtures("no_tracking")
def test_similar_trials_tell_what_is_to_come(sweep_file: SweepFile) -> None:
    """Each stage of the scripted trials takes 36 s, and one GB: an epoch 18 s, an evaluation a hundredth of an hour."""
    changes: dict[str, Any] = {"evaluate": [{"name": "knn", "k": 20}], "seeds": [0, 1]}
    path = sweep_file(**changes)
    assert [row["device_hours"] for row in plan(path)] == [None, None]
    assert "times are not known" in ssl_sweep("plan", path, "--price", "3")
    Steered(path, scripted_engine(score_of))
    assert [row["device_hours"] for row in plan(path)] == [None, None]  # nothing is missing

    longer = sweep_file(**changes | {"seeds": [2], "pretrain": {"epochs": 8, "batch_size": 32}})
    (row,) = plan(longer)
    assert row["device_hours"] == pytest.approx((8 * 18 + 36) / 3600)
    assert (row["memory"], row["device"], row["like"]) == (COST.resident, "cpu", 2)
    text = ssl_sweep("plan", longer, "--price", "100")
    assert "about 3 min on cpu, as similar trials took, at 100 an hour 5" in text

    (row,) = plan(sweep_file(**changes | {"seeds": [2], "methods": ["byol"]}))
    assert row["device_hours"] is None

    more = changes | {"evaluate": [{"name": "knn", "k": 20}, {"name": "knn", "k": 10}][1:]}
    assert [row["device_hours"] for row in plan(sweep_file(**more))] == [pytest.approx(0.01)] * 2


PROBE = ProbeRecord(
    cost=Cost(seconds=9, workers=1, device="NVIDIA H100", gpu_reserved=3_000_000_000),
    outside=500_000_000,
    total=80_000_000_000,
    images_per_second=100.0,
    busy=0.3,
)


def with_gpus(made: list[str], script: Script) -> Callable[..., SharingEngine]:
    """Makes engines with a GPU, on which probes find `PROBE`; `made` gets the jobs, and what each was given of a GPU."""

    class WithGpu(scripted_engine(script)):
        gpu = "H100"

        def carry_out(self, job: Job, listener: Listener) -> None:
            made.append(f"{job.trial_id.split('-')[0]} {job.resources.gpus_per_worker}")
            if job.probe is None:
                super().carry_out(job, listener)
            else:
                self.store.write_record(job.probe, PROBE)
                listener.on_event(StatusChanged(state=TrialState.FINISHED))

    return lambda *given: SharingEngine(WithGpu(*given), given[1], str, compiled=False, max_failures=2)


@pytest.mark.usefixtures("no_tracking")
def test_a_probe_tells_what_is_to_come_and_is_made_once(sweep_file: SweepFile) -> None:
    """320 images at 100 a second, twice: 6.4 s. The GPU is busy for 0.3 of them, so a third of it makes them no slower."""
    made: list[str] = []
    path = sweep_file(evaluate=[{"name": "knn", "k": 20}], resources={"gpus_per_worker": "auto"}, seeds=[0, 1])
    assert plan(path)[0]["needs"] == "1 worker × (1 CPU, +a part of a GPU, to be measured, if available)"
    Steered(path, with_gpus(made, lambda trial: "fails"))
    assert made == ["probe 1.0", "simclr 0.3333", "simclr 0.3333"]

    row, _ = plan(path)
    assert row["needs"] == "1 worker × (1 CPU, 0.3333 GPUs)"
    assert row["device_hours"] == pytest.approx(6.4 / 3600 * 0.3333)
    assert (row["memory"], row["device"], row["like"]) == (3_500_000_000, "NVIDIA H100", 0)
    text = ssl_sweep("plan", path, "--price", "1000")
    assert "about 4.3 s on NVIDIA H100, as probes measured, without evaluations, at 1000 an hour 1.185" in text

    made.clear()
    assert set(Steered(path, with_gpus(made, score_of)).states.values()) == {TrialState.FINISHED}
    assert made == ["simclr 0.3333", "simclr 0.3333"]
    (row,) = plan(sweep_file(evaluate=[{"name": "knn", "k": 20}], resources={"gpus_per_worker": "auto"}, seeds=[2]))
    assert row["like"] == 2 and row["device_hours"] == pytest.approx((36 + 36) / 3600 * 0.3333)
