"""A sweep's results: what the report, the table in the terminal and `status` are made of."""

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...datasets.config import DatasetConfig
from ...evaluation.base import EvaluationConfig, Settings
from ...evaluation.registry import changed_settings
from ...methods.rates import rates_text
from ..published import Published
from ..spec.departures import departures
from ..spec.label import title_of
from ..spec.models import SweepSpec, TrialSpec, data_root
from ..spec.secrets import without_passwords
from ..store.checked import digest_of_record, sealed_record
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.records import EvaluationRecord, MissingEvaluation, Scalar, SearchRecord, SweepResult, TrialResult
from ..store.scratch import prefix
from ..store.trial_folder import BACKBONE, TrialStore
from ..store.trial_list import ListedTrial, TrialList
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus
from ..store.version import package_version
from .data_names import data_names, data_records
from .hyperparameters import trained_with, views_text
from .plan import Datasets
from .state import SweepState

OF_ONE_TRIAL: dict[str, Any] = {
    "seed": True,
    "axes": True,
    "dataset": {"title"},
    "evaluate": {"__all__": {"dataset": {"title"}}},
}
"""Of a trial: what its repeats have differently, and what changes nothing."""
RATES = "pretrain.rates"


def collect(
    spec: SweepSpec,
    planned: Sequence[PlannedTrial],
    state: SweepState,
    store: Store,
    command: str,
    searches: tuple[SearchRecord, ...] = (),
    published: tuple[Published, ...] = (),
    datasets: Datasets | None = None,
) -> SweepResult:
    """The results without what only a report shows: histories and pictures stay in the store.

    Args:
        published: the user's own rows.
        datasets: those of the trials' evaluations; those of the trials are known.
    """
    names = data_names(planned)
    return SweepResult(
        name=spec.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=package_version(),
        command=command,
        trials=tuple(_trial_result(item, state.trials[item.trial_id], store, names) for item in planned),
        searches=searches,
        published=published,
        datasets=data_records(planned, datasets or {}, names),
        sweep_file=_sweep_file(store, spec.name),
    )


def _sweep_file(store: Store, name: str) -> str:
    content = store.read(f"sweeps/{name}/sweep.yaml") or b""
    return without_passwords(content.decode("utf-8", "replace"))


def _trial_result(
    item: PlannedTrial, status: TrialStatus, store: Store, names: Mapping[DatasetConfig, str]
) -> TrialResult:
    trial, dataset = item.trial, item.trial.dataset
    wanted = zip(trial.evaluate, item.evaluation_ids, strict=True)
    records = [(status.evaluations.get(name), config, name) for config, name in wanted]
    failed = status.state is TrialState.FAILED
    resolved = json.loads(trial.model_dump_json(exclude=OF_ONE_TRIAL))
    return TrialResult(
        trial_id=item.trial_id,
        method=trial.method.name,
        title=title_of(trial),
        backbone=trial.backbone.name,
        dataset=names[dataset],
        dataset_kind=dataset.kind,
        dataset_fingerprint=item.prepared.fingerprint,
        full_dataset=dataset.train_images is None and dataset.test_images is None and item.prepared.whole,
        labelled=bool(item.prepared.classes),
        damaged_images=len(item.prepared.damaged),
        weights=weights.sha256 if (weights := trial.backbone.weights) else None,
        image_size=trial.image_size,
        batch_size=trial.pretrain.batch_size,
        epochs=trial.pretrain.epochs,
        seed=trial.seed,
        recipe=trial.recipe,
        departures=departures(trial),
        axes=_shown_axes(trial),
        trained_with=trained_with(resolved),
        crops=views_text(trial),
        weights_file=_weights_file(item, status, store),
        setting=_setting(resolved),
        search=trial.split == "holdout",
        status=status.state,
        reason=status.reason if failed else None,
        log=TrialStore(store, item.trial_id).log if status.attempts else None,
        restarts=status.restarts,
        parameters=status.pretrain.parameters if status.pretrain else None,
        pretrain=status.pretrain,
        evaluations=tuple(
            record.model_copy(update={"kept_as": name, **_as_here(record, config, names)})
            for record, config, name in records
            if record is not None
        ),
        missing=tuple(_missing(item, status, names)) if failed else (),
        chance=status.chance,
        environment=status.environment,
    )


def _weights_file(item: PlannedTrial, status: TrialStatus, store: Store) -> str | None:
    kept = status.pretrain is not None and item.trial.method.trains
    return store.path(TrialStore(store, item.trial_id).name(BACKBONE)) if kept else None


def _as_here(
    record: EvaluationRecord, config: EvaluationConfig, names: Mapping[DatasetConfig, str]
) -> dict[str, object]:
    """The names that the sweep has today for the evaluation and its data set: the record may be of another sweep."""
    return {"known_as": config.known_as, **_called(config, record.settings, record.changed, names)}


def _called(
    config: EvaluationConfig, settings: Settings, changed: Settings, names: Mapping[DatasetConfig, str]
) -> dict[str, Settings]:
    """Settings, and those of them that are changed, with the data set's name."""
    called: Settings = {} if config.dataset is None else {"dataset": names[config.dataset]}
    return {"settings": settings | called, "changed": changed | called}


def _missing(
    item: PlannedTrial, status: TrialStatus, names: Mapping[DatasetConfig, str]
) -> Iterator[MissingEvaluation]:
    """The evaluations that a failed trial does not have, in their order."""
    for config, name in zip(item.trial.evaluate, item.evaluation_ids, strict=True):
        if name in status.evaluations:
            continue
        within = (
            status.reason if status.progress.stage == config.known_as else None
        )  # the trial ended in the midst of it
        called = _called(config, config.settings, changed_settings(config), names)
        yield MissingEvaluation(
            name=config.name,
            known_as=config.known_as,
            protocol=config.protocol,
            settings=called["settings"],
            changed=called["changed"],
            split=item.trial.split,
            reason=status.failed[name].reason if name in status.failed else within,
        )


def _shown_axes(trial: TrialSpec) -> dict[str, Scalar]:
    """The trial's axes, and what else a table must say of how its backbone was trained."""
    rates = trial.pretrain.rates if trial.method.trains else None
    return {**trial.axes, RATES: rates_text(rates)} if rates else dict(trial.axes)


def _setting(resolved: dict[str, Any]) -> str:
    """Hash of everything but the seed: trials that differ in nothing else are one row of a table."""
    return hashlib.sha256(json.dumps(resolved, sort_keys=True).encode()).hexdigest()[:12]


def write_trials(spec: SweepSpec, planned: Iterable[PlannedTrial], store: Store) -> None:
    """Keep the list of the sweep's trials in the store, unless it is there already."""
    listed = [ListedTrial(id=item.trial_id, trial=item.trial.model_dump(mode="json")) for item in planned]
    name, content = f"sweeps/{spec.name}/trials.json", sealed_record(TrialList(trials=tuple(listed)))
    if store.read(name) != content:
        store.write(name, content)


def with_details(result: SweepResult, store: Store) -> SweepResult:
    """The result with its classifiers' hits and, of the trials that a report has curves of, the history and a picture of the views."""
    from ..report.main_table import trials_with_curves

    curves = trials_with_curves(result)
    pictured: set[str] = set()
    trials: list[TrialResult] = []
    for trial in result.trials:
        folder = TrialStore(store, trial.trial_id)
        details: dict[str, object] = {}
        if trial.log is not None:
            if trial.trial_id in curves or trial.status is not TrialState.FINISHED:
                details["history"] = tuple(folder.history())
            if not trial.search:
                details["evaluations"] = tuple(_with_hits(record, folder) for record in trial.evaluations)
            if trial.trial_id in curves and trial.setting not in pictured and (picture := folder.picture()):
                pictured.add(trial.setting)
                details["views"] = picture
        trials.append(trial.model_copy(update=details))
    return result.model_copy(update={"trials": tuple(trials)})


def _with_hits(record: EvaluationRecord, folder: TrialStore) -> EvaluationRecord:
    found = folder.confusion_of(record.kept_as) if record.details is not None else None
    return record if found is None else record.model_copy(update={"hits": found.hits})


def write_report(store: Store, result: SweepResult, *, again: bool = False) -> str:
    """Write the report into the store, unless it is there already and not wanted `again`; returns its folder."""
    from ..report import write_report as write
    from ..report.feature_views import feature_views

    name = f"sweeps/{result.name}/report"
    digest = digest_of_record(result, {"created", "command"})
    if not again and store.read(f"{name}/digest") == digest.encode():
        return store.path(name)
    with tempfile.TemporaryDirectory(prefix=prefix()) as scratch:
        folder = Path(scratch) / "report"
        write(with_details(result, store), folder, look=lambda trial: feature_views(trial, store, data_root()))
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                store.write(f"{name}/{file.relative_to(folder).as_posix()}", file.read_bytes())
    store.write(f"{name}/digest", digest.encode())
    return store.path(name)
