"""Several sweeps as one report: their trials in the same tables, each of them once, and what is not the same between them."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ...methods.quantities import plural
from ..published import Published
from ..store.records import EvaluationRecord, Scalar, SweepResult, TrialResult
from ..store.trial_state import TrialState
from .formats import NONE, scalar, superscript
from .main_table import DataTable
from .settings import Protocol
from .table import Table, plain_table

TITLE = "Differences between the sweeps"
SHARED_REMARK = "{} in several of the sweeps, and counted once."
NONE_SHARED_REMARK = "No trial is in several of the sweeps."
HOW_REMARK = (
    "Values that the trials of each sweep have, if they are not the same in all sweeps. A row that several sweeps have takes "
    "the seeds of all of them."
)
MOST_VALUES = 6
"""In a cell."""


def merged(results: Sequence[SweepResult], command: str) -> SweepResult:
    """One result with the trials of several sweeps, whose names differ. A trial that several have has all its evaluations."""
    trials: dict[str, TrialResult] = {}
    for result in results:
        for trial in result.trials:
            known = trials.get(trial.trial_id)
            own = trial.model_copy(update={"sweeps": (result.name,)})
            trials[trial.trial_id] = own if known is None else _together(known, own)
    return SweepResult(
        name=" and ".join(result.name for result in results),
        created=max(result.created for result in results),
        version=", ".join(dict.fromkeys(result.version for result in results)),
        command=command,
        trials=tuple(_alike(list(trials.values()))),
        searches=tuple(
            search.model_copy(update={"title": f"{search.title} ({result.name})"})
            for result in results
            for search in result.searches
        ),
        published=_each_once([row for result in results for row in result.published]),
        datasets=tuple({data.fingerprint: data for result in reversed(results) for data in result.datasets}.values()),
        sweep_file="\n".join(f"# {result.name}\n{result.sweep_file}" for result in results if result.sweep_file),
    )


def _each_once(rows: Sequence[Published]) -> tuple[Published, ...]:
    return tuple(row for place, row in enumerate(rows) if row not in rows[:place])


def _together(a: TrialResult, b: TrialResult) -> TrialResult:
    """The same trial in two sweeps, which may have evaluated it by different protocols."""
    known = {_evaluation(record) for record in a.evaluations}
    more = [record for record in b.evaluations if _evaluation(record) not in known]
    found = {
        "sweeps": (*a.sweeps, *(name for name in b.sweeps if name not in a.sweeps)),
        "evaluations": (*a.evaluations, *more),
        "search": a.search and b.search,
        "views": a.views or b.views,
    }
    ended = a if a.status is TrialState.FINISHED or b.status is not TrialState.FINISHED else b
    return ended.model_copy(update=found)


def _evaluation(record: EvaluationRecord) -> str:
    return record.kept_as or f"{record.name} {record.protocol} {record.settings} {record.split}"


def _protocol(record: EvaluationRecord) -> str:
    return json.dumps([record.name, record.protocol, record.settings, record.changed, record.split], sort_keys=True)


def _alike(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """The same data set, setting or protocol with the same name; and the axes of each sweep told of the trials of all."""
    datasets = {(t.dataset_fingerprint, t.full_dataset): t.dataset for t in reversed(trials) if t.dataset_fingerprint}
    titles = {trial.setting: trial.title for trial in reversed(trials) if trial.setting}
    known = {_protocol(record): record.known_as for trial in reversed(trials) for record in trial.evaluations}
    keys = sorted({key for trial in trials for key in trial.axes})
    found: list[TrialResult] = []
    for trial in trials:
        values = {**{key: trial.trained_with[key] for key in keys if key in trial.trained_with}, **trial.axes}
        names = {
            "dataset": datasets.get((trial.dataset_fingerprint, trial.full_dataset), trial.dataset),
            "title": titles.get(trial.setting, trial.title),
            "axes": dict(sorted(values.items())),
            "evaluations": tuple(
                record.model_copy(update={"known_as": known[_protocol(record)]}) for record in trial.evaluations
            ),
        }
        found.append(trial.model_copy(update=names))
    return found


def sweeps_of(result: SweepResult) -> list[str]:
    """Names of the sweeps, of a result that was merged."""
    return list(dict.fromkeys(name for trial in result.trials for name in trial.sweeps))


def differences_table(result: SweepResult, tables: Sequence[DataTable]) -> Table:
    """A row for each value that the sweeps have differently, and remarks on what cannot be compared; none of a single sweep."""
    names = sweeps_of(result)
    if len(names) < 2:
        return plain_table(TITLE, [], [])
    of = {name: [trial for trial in result.trials if name in trial.sweeps] for name in names}
    rows: list[list[str]] = []
    for key, value in _traits(result).items():
        cells = [_values(value(trial) for trial in of[name]) for name in names]
        if len(set(cells)) > 1:
            rows.append([key, *cells])
    rows.insert(0, ["trials", *(str(len(of[name])) for name in names)])
    shared = sum(len(trial.sweeps) > 1 for trial in result.trials)
    verb = "is" if shared == 1 else "are"
    said = SHARED_REMARK.format(f"{plural(shared, 'trial')} {verb}") if shared else NONE_SHARED_REMARK
    table = plain_table(TITLE, ["setting", *names], rows)
    return replace(table, remarks=(said, *_apart(tables, names), HOW_REMARK))


def _traits(result: SweepResult) -> dict[str, Callable[[TrialResult], Scalar]]:
    """By what it is called, a value of every trial."""
    traits: dict[str, Callable[[TrialResult], Scalar]] = {
        "data set": lambda trial: trial.dataset,
        "data fingerprint": lambda trial: trial.dataset_fingerprint[:8],
        "method": lambda trial: trial.title,
        "backbone": lambda trial: trial.backbone,
        "image size": lambda trial: trial.image_size,
        "batch size": lambda trial: trial.batch_size,
        "epochs": lambda trial: trial.epochs,
        "seed": lambda trial: trial.seed,
        "recipe": lambda trial: trial.recipe,
        "views": lambda trial: trial.crops or None,
        "commit": lambda trial: trial.environment.get("git_commit"),
        "torch": lambda trial: trial.environment.get("torch"),
        "device": lambda trial: trial.pretrain.cost.device if trial.pretrain else None,
    }
    keys = sorted({key for trial in result.trials for key in trial.trained_with})
    for key in keys:
        traits[key.removeprefix("pretrain.")] = lambda trial, key=key: trial.trained_with.get(key)
    return traits


def _values(found: Iterable[Scalar]) -> str:
    """The values of a sweep, in order; of many the ends."""
    values = sorted(set(found) - {None}, key=lambda value: (isinstance(value, str), _number(value), str(value)))
    if not values:
        return NONE
    if len(values) > MOST_VALUES:
        return f"{scalar(values[0])}, …, {scalar(values[-1])}: {len(values)} values"
    return ", ".join(map(scalar, values))


def _number(value: Scalar) -> float:
    return float(value) if isinstance(value, (int, float)) and not math.isnan(value) else 0.0


def _apart(tables: Sequence[DataTable], names: Sequence[str]) -> list[str]:
    """What only some of the sweeps have: a data set, or a protocol on one that all have."""
    said: list[str] = []
    for data in tables:
        own = _in(names, (trial for setting in data.settings for trial in setting.trials))
        if len(own) < len(names):
            said.append(f"Not comparable: data set {data.dataset} is in {_and(own)} only; it has a table of its own.")
            continue
        said += [
            f"Not comparable on {data.dataset}: {protocol.title}{superscript(number)} ({protocol.protocol}) is in "
            f"{_and(found)} only."
            for number, protocol in enumerate(data.protocols, start=1)
            if 0 < len(found := _in(names, _scored(data, protocol))) < len(names)
        ]
    return said


def _scored(data: DataTable, protocol: Protocol) -> list[TrialResult]:
    return [trial for setting in data.settings for trial in setting.trials if trial.seed in setting.by_seed(protocol)]


def _in(names: Sequence[str], trials: Iterable[TrialResult]) -> list[str]:
    found = {name for trial in trials for name in trial.sweeps}
    return [name for name in names if name in found]


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
