"""What the missing part of trials is going to take, from similar trials of the same store that have taken it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from ..spec.models import TrialSpec
from ..store.catalog import Catalog, read_catalog
from ..store.files import Store
from ..store.planned import PlannedTrial
from ..store.records import Cost
from ..store.trial_status import TrialStatus

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
    """On which the similar trials ran."""
    like: int
    """How many there were."""


def estimates(store: Store, items: Sequence[PlannedTrial], catalog: Catalog) -> dict[str, Estimate]:
    """By trial, where something is missing and something similar has been done. `catalog` has the items."""
    missing = [item for item in items if item.missing(catalog.status(item.trial_id))]
    wanted = {_kind(item.trial_id) for item in missing}
    past: dict[str, list[str]] = {kind: [] for kind in wanted}
    for name in store.names("trials") if missing else ():
        similar = past.get(_kind(name))
        if similar is not None and len(similar) < MOST:
            similar.append(name)
    known = read_catalog(store, [name for names in past.values() for name in names])
    found: dict[str, Estimate] = {}
    for item in missing:
        similar = [known.status(name) for name in past[_kind(item.trial_id)]]
        estimate = _estimate(item, catalog.status(item.trial_id), [status for status in similar if status.pretrain])
        if estimate is not None:
            found[item.trial_id] = estimate
    return found


def _kind(trial_id: str) -> str:
    return KIND.sub("", trial_id)


def _estimate(item: PlannedTrial, status: TrialStatus, similar: Sequence[TrialStatus]) -> Estimate | None:
    pretrained = [done.pretrain for done in similar if done.pretrain is not None]
    if not pretrained:
        return None
    costs = [done.cost for done in pretrained]
    seconds = 0.0
    if status.pretrain is None:
        left = item.trial.pretrain.epochs - (status.progress.epoch if status.progress.stage == "pretrain" else 0)
        seconds = left * median(done.cost.seconds * done.cost.workers / max(1, done.epochs) for done in pretrained)
    for config, name in zip(item.trial.evaluate, item.evaluation_ids, strict=True):
        if name not in status.evaluations:
            took = _of_evaluation(config.name, name, similar)
            seconds += median(cost.seconds * cost.workers for cost in took) if took else 0.0
            costs += took
    memory = max((peak for cost in costs if (peak := cost.gpu_reserved or cost.resident)), default=None)
    return Estimate(seconds / 3600 * _devices(item.trial), memory, costs[0].device, len(similar))


def _of_evaluation(name: str, evaluation_id: str, similar: Iterable[TrialStatus]) -> list[Cost]:
    """Of the same evaluation; else of one of this name, in other settings."""
    records: list[Mapping[str, Cost]] = [
        {key: record.cost for key, record in status.evaluations.items() if record.name == name} for status in similar
    ]
    same = [costs[evaluation_id] for costs in records if evaluation_id in costs]
    return same or [cost for costs in records for cost in costs.values()]


def _devices(trial: TrialSpec) -> float:
    """How many GPUs one worker takes; 1 for one without, whose hours are counted."""
    return trial.resources.gpus_per_worker or 1.0
