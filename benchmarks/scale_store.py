"""Sweep files and finished sweeps for `scale.py`, made by the store's own functions."""

from pathlib import Path

import yaml
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import SweepSpec, data_root
from ssl_sweep.orchestrator.store.events import EpochDone, StageStarted, StatusChanged
from ssl_sweep.orchestrator.store.files import Store, parallel
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.store.records import Cost, EvaluationRecord, PretrainRecord
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import Progress, TrialStatus
from ssl_sweep.orchestrator.sweep.plan import plan_trials
from ssl_sweep.orchestrator.tracking.database import tracking_uri
from ssl_sweep.orchestrator.tracking.ledger import Ledger, Tracked, settled_digest
from ssl_sweep.orchestrator.tracking.mlflow_runs import Runs

SEEDS = 10
ENVIRONMENT = {"cpu": "a processor", "git_commit": "0123456789ab", "platform": "Linux", "python": "3.13"}
"""In the order in which the store gives them back: the ledger's digest depends on it."""


def write_sweep(folder: Path, name: str, **changes: object) -> Path:
    """A sweep file of near-empty trials: an untrained network, evaluated on 40 images."""
    values: dict[str, object] = {
        "name": name,
        "dataset": {"name": "digits", "train_images": 40, "test_images": 40},
        "backbone": {"name": "vit_tiny_patch16_224", "options": {"embed_dim": 32, "depth": 1, "num_heads": 2}},
        "methods": ["random"],
        "pretrain": {"epochs": 2, "batch_size": 8},
        "evaluate": [{"name": "knn", "k": 5}],
        "storage": str(folder / "runs"),
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values | changes, sort_keys=False))
    return path


def planned_of(path: Path) -> tuple[SweepSpec, list[PlannedTrial]]:
    spec, document = load_spec(path)
    trials = expand(spec, document)
    return spec, plan_trials(trials, {trials[0].dataset: prepare(trials[0].dataset, data_root())})


def finished_sweep(folder: Path, count: int) -> Path:
    """A sweep of `count` finished trials: SimCLR at `count` / 10 settings, with ten seeds."""
    folder = folder / f"finished-{count}"
    folder.mkdir(exist_ok=True)
    rates = [round(0.01 + 0.001 * i, 4) for i in range(count // SEEDS // 10)]
    grid = {"pretrain.optimizer.lr": rates, "method.temperature": [round(0.1 + 0.02 * i, 2) for i in range(10)]}
    path = write_sweep(
        folder, f"finished-{count}", methods=["simclr"],
        seeds=list(range(SEEDS)), grid=grid,
    )  # fmt: skip
    if not (folder / "runs/sweeps").exists():
        spec, planned = planned_of(path)
        store = Store(spec.storage)
        statuses = parallel(lambda item: _write_finished(store, item), planned)
        _write_ledger(spec, store, path, planned, statuses)
    return path


def _write_finished(store: Store, item: PlannedTrial) -> TrialStatus:
    folder = TrialStore(store, item.trial_id)
    folder.start(item.trial, item.prepared.fingerprint, ENVIRONMENT)
    cost = Cost(seconds=12.5, workers=1, device="cpu", resident=500_000_000)
    pretrain = PretrainRecord(cost=cost, epochs=2, final_loss=2.5, images_per_second=800, parameters=11_000_000)
    folder.finish_pretraining(pretrain, b"")
    records: dict[str, EvaluationRecord] = {}
    for config, name in zip(item.trial.evaluate, item.evaluation_ids, strict=True):
        top1 = 40 + int(item.trial_id[-4:], 16) % 400 / 10
        settings = config.model_dump(mode="json", exclude={"name", "protocol"})
        records[name] = EvaluationRecord(
            name=config.name, protocol=config.protocol, settings=settings, metrics={"top1": top1, "top5": 90.0},
            counts={"correct1": 20, "correct5": 36}, images=40, split="test", cost=cost,
        )  # fmt: skip
        folder.finish_evaluation(config, records[name])
    epochs = [
        EpochDone(epoch=i, step=5 * i, loss=3 - i / 4, lr=0.1, images_per_second=800, seconds=6.0 * i, epochs=2)
        for i in (1, 2)
    ]
    folder.add_events([StatusChanged(state=TrialState.RUNNING, attempt=1), StageStarted(stage="pretrain"), *epochs])
    status = TrialStatus(
        state=TrialState.FINISHED, attempts=1, pretrain=pretrain, evaluations=records, environment=ENVIRONMENT,
        progress=Progress(stage="knn", epoch=2, epochs=2), dataset_fingerprint=item.prepared.fingerprint,
        began=1.7e9, ended=1.7e9 + 30,
    )  # fmt: skip
    folder.write_status(status)
    return status


def _write_ledger(
    spec: SweepSpec, store: Store, path: Path, planned: list[PlannedTrial], statuses: list[TrialStatus]
) -> None:
    uri = tracking_uri(spec, store, path.parent)
    runs = Runs(spec, store, uri, lambda: None)
    runs.open("", search=False)
    trials = {
        item.trial_id: Tracked(run_id="0" * 32, parameters="", settled=settled_digest(status, item.evaluation_ids))
        for item, status in zip(planned, statuses, strict=True)
    }
    store.write_record(Ledger.name(spec.name), Ledger(uri=uri, parent=runs.parent, complete=True, trials=trials))
