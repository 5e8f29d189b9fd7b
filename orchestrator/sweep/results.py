"""A sweep's results, read from the store: what the report, the table in the terminal and `status` are made of."""

import hashlib
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ..spec.models import SweepSpec
from ..store.files import Store
from ..store.records import SweepResult, TrialResult
from ..store.version import package_version
from .plan import Planned


def collect(spec: SweepSpec, planned: list[Planned], command: str) -> SweepResult:
    """Everything that the store knows of the sweep's trials."""
    trials = [trial_result(item) for item in planned]
    pictured: set[str] = set()
    for i, item in enumerate(planned):
        if trials[i].setting not in pictured and (picture := item.folder.picture()):
            pictured.add(trials[i].setting)
            trials[i] = trials[i].model_copy(update={"views": picture})
    return SweepResult(
        name=spec.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=package_version(),
        command=command,
        trials=tuple(trials),
        **({"search_metric": spec.search.metric} if spec.search else {}),
    )


def trial_result(item: Planned) -> TrialResult:
    """The results of one trial, so far."""
    trial, folder = item.trial, item.folder
    pretrained = folder.pretrained()
    failure = folder.failure()
    status = item.status()
    content = folder.store.read_json(folder.name("trial.json")) or {}
    records = [folder.evaluation(config) for config in trial.evaluate]
    dataset = trial.dataset
    return TrialResult(
        trial_id=item.trial_id,
        method=trial.method.name,
        title=trial.method.title,
        backbone=trial.backbone.name,
        dataset=dataset.title,
        dataset_fingerprint=item.prepared.fingerprint,
        full_dataset=dataset.train_images is None and dataset.test_images is None and item.prepared.whole,
        labelled=bool(item.prepared.classes),
        damaged_images=len(item.prepared.damaged),
        image_size=trial.image_size,
        batch_size=trial.pretrain.batch_size,
        epochs=trial.pretrain.epochs,
        seed=trial.seed,
        recipe=trial.recipe,
        axes=dict(trial.axes),
        setting=_setting(trial.model_dump_json(exclude={"seed", "axes"})),
        search=trial.split == "holdout",
        status=status,
        reason=failure.reason if failure and status == "failed" else None,
        log=folder.log if content else None,
        parameters=pretrained.parameters if pretrained else None,
        pretrain=pretrained,
        history=tuple(folder.history()),
        evaluations=tuple(record for record in records if record is not None),
        environment=content.get("environment", {}),
    )


def _setting(resolved: str) -> str:
    """Hash of everything but the seed: trials that differ in nothing else are one row of a table."""
    return hashlib.sha256(json.dumps(json.loads(resolved), sort_keys=True).encode()).hexdigest()[:12]


def keep_report(store: Store, result: SweepResult) -> tuple[tempfile.TemporaryDirectory[str], Path]:
    """Write the report into the store; returns a local copy of it and the folder that holds the copy."""
    from ..report import write_report

    scratch = tempfile.TemporaryDirectory(prefix="ssl-sweep-report-")
    folder = Path(scratch.name) / "report"
    write_report(result, folder)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            store.write(f"sweeps/{result.name}/report/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return scratch, folder
