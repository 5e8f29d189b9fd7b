"""What the missing part of trials is going to take: as similar trials of the same store took, else as a probe measured."""

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from ..engine.sharing import share_of
from ..spec.identity import kind_id
from ..spec.models import AUTO
from ..store.catalog import Catalog, read_catalog
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.probe_record import ProbeRecord
from ..store.records import Cost
from ..store.trial_status import TrialStatus
from .plan import training_images

MOST = 20
"""Similar trials that are looked at for one: they differ little."""
KIND = re.compile(r"-e\d+-s\d+-[0-9a-f]{10}$")
"""What of a trial's id similar trials may have differently: epochs, seed, and settings that cost nothing."""


class Estimate(NamedTuple):
    """What a trial's missing stages take."""

    device_hours: float
    """Of GPUs, or of workers without any."""
    memory: int | None
    """Bytes, at the peak of the busiest worker."""
    device: str
    """On which the similar trials ran, or the probe."""
    like: int
    """How many similar trials there were; 0 if it was a probe, which knows of no evaluation."""
    share: float | None
    """Of a GPU, if a probe has measured it."""


def estimates(store: Store, items: Sequence[PlannedTrial], catalog: Catalog, *, compiled: bool) -> dict[str, Estimate]:
    """By trial, where something is missing and something similar has been done or measured.

    `catalog` has the items; `compiled`: whether their backbones are to be, see `resources.compile`.
    """
    missing = [item for item in items if item.missing(catalog.status(item.trial_id))]
    wanted = {_kind(item.trial_id) for item in missing}
    past: dict[str, list[str]] = {kind: [] for kind in wanted}
    for name in store.names("trials") if missing else ():
        similar = past.get(_kind(name))
        if similar is not None and len(similar) < MOST:
            similar.append(name)
    known = read_catalog(store, [name for names in past.values() for name in names])
    probes = _probes(store, missing, compiled=compiled)
    found: dict[str, Estimate] = {}
    for item in missing:
        statuses = [known.status(name) for name in past[_kind(item.trial_id)]]
        similar = [status for status in statuses if status.pretrain]
        estimate = _estimate(item, catalog.status(item.trial_id), similar, probes.get(item.trial_id))
        if estimate is not None:
            found[item.trial_id] = estimate
    return found


def _probes(store: Store, items: Sequence[PlannedTrial], *, compiled: bool) -> dict[str, ProbeRecord]:
    """By trial, what was measured of its kind, on whatever GPU."""
    names = store.names("probes") if items else []
    kinds = {
        item.trial_id: kind_id(item.trial, item.prepared.fingerprint, item.trial.resources, compiled=compiled)
        for item in (items if names else ())
        if item.trial.resources.workers == 1
    }
    files = {kind: next((name for name in names if name.startswith(f"{kind}-")), None) for kind in kinds.values()}
    read = {kind: store.read_record(f"probes/{name}", ProbeRecord) for kind, name in files.items() if name}
    return {trial_id: record for trial_id, kind in kinds.items() if (record := read.get(kind)) is not None}


def _kind(trial_id: str) -> str:
    return KIND.sub("", trial_id)


def _estimate(
    item: PlannedTrial, status: TrialStatus, similar: Sequence[TrialStatus], probe: ProbeRecord | None
) -> Estimate | None:
    pretrained = [done.pretrain for done in similar if done.pretrain is not None]
    share = None if probe is None or item.trial.resources.gpus_per_worker != AUTO else share_of(probe)
    if not pretrained:
        return None if probe is None else _as_measured(item, status, probe, share)
    costs = [done.cost for done in pretrained]
    seconds = 0.0
    if status.pretrain is None:
        seconds = _epochs_left(item, status) * median(
            done.cost.seconds * done.cost.workers / max(1, done.epochs) for done in pretrained
        )
    for config, name in zip(item.trial.evaluate, item.evaluation_ids, strict=True):
        if name not in status.evaluations:
            took = _of_evaluation(config.name, name, similar)
            seconds += median(cost.seconds * cost.workers for cost in took) if took else 0.0
            costs += took
    memory = max((peak for cost in costs if (peak := cost.gpu_reserved or cost.resident)), default=None)
    devices = share or item.trial.resources.known_gpus or 1.0
    return Estimate(seconds / 3600 * devices, memory, costs[0].device, len(similar), share)


def _as_measured(item: PlannedTrial, status: TrialStatus, probe: ProbeRecord, share: float | None) -> Estimate | None:
    """Of the pretraining alone. A part of a GPU that is smaller than its busy share makes the trial slower."""
    if status.pretrain is not None or probe.images_per_second is None:
        return None
    seconds = _epochs_left(item, status) * training_images(item.trial, item.prepared) / probe.images_per_second
    devices = share or item.trial.resources.known_gpus or 1.0
    return Estimate(seconds / 3600 * max(devices, probe.busy or 0.0), probe.memory, probe.cost.device, 0, share)


def _epochs_left(item: PlannedTrial, status: TrialStatus) -> int:
    return item.trial.pretrain.epochs - (status.progress.epoch if status.progress.stage == "pretrain" else 0)


def _of_evaluation(name: str, evaluation_id: str, similar: Iterable[TrialStatus]) -> list[Cost]:
    """Of the same evaluation; else of one of this name, in other settings."""
    records: list[Mapping[str, Cost]] = [
        {key: record.cost for key, record in status.evaluations.items() if record.name == name} for status in similar
    ]
    same = [costs[evaluation_id] for costs in records if evaluation_id in costs]
    return same or [cost for costs in records for cost in costs.values()]
