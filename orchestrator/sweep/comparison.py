"""What differs between two trials, or between two sweep files once they are resolved."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from ..report.formats import Value, scalar
from ..spec.expand import expand
from ..spec.label import label_of
from ..spec.load import load_spec
from ..spec.models import SweepSpec, TrialSpec
from ..store.trial_list import TrialList
from .trials import NamedTrial

ABSENT = "–"
OF_A_TRIAL = {"name", "dataset", "backbone", "methods", "recipe", "pretrain", "evaluate", "grid"}
"""Keys of a sweep that its resolved trials show."""


class Difference(NamedTuple):
    """A value that two sides have differently."""

    place: str
    """The row of the table that has it; empty: all rows, the sweep as a whole, or the trial."""
    key: str
    a: str
    b: str


def compare_trials(a: NamedTrial, b: NamedTrial) -> list[Difference]:
    """Settings that differ, then the scores of both, equal ones too."""
    found = _differences("", _values(a), _values(b))
    return found + _differences("", _scores(a), _scores(b), equal=True)


def compare_sweeps(a: Path, b: Path, overrides: Sequence[str] = ()) -> list[Difference]:
    """Settings that differ: of the sweep, then of each row of the table. What differs alike in all rows is listed once.

    `overrides`: of `b`.
    """
    (spec_a, rows_a), (spec_b, rows_b) = _rows(a), _rows(b, overrides)
    found = _differences("", _of_sweep(spec_a), _of_sweep(spec_b))
    common = [row for row in rows_a if row in rows_b]
    each = [_differences("", rows_a[row], rows_b[row]) for row in common]
    alike = [item for item in each[0] if all(item in some for some in each)] if len(each) > 1 else []
    found += alike
    for row, some in zip(common, each, strict=True):
        found += [item._replace(place=row) for item in some if item not in alike]
    found += [Difference(row, "row", "yes", ABSENT) for row in rows_a if row not in rows_b]
    return found + [Difference(row, "row", ABSENT, "yes") for row in rows_b if row not in rows_a]


def _rows(path: Path, overrides: Sequence[str] = ()) -> tuple[SweepSpec, dict[str, Mapping[str, str]]]:
    """The sweep, and the settings of each row of its table."""
    spec, document = load_spec(path, overrides)
    rows: dict[str, Mapping[str, str]] = {}
    for trial in expand(spec, document):
        name = label_of(trial.model_copy(update={"seed": 0})).removesuffix(" seed 0")
        settings = _settings(trial)
        del settings["seed"]
        rows.setdefault(_free(name, rows, settings), settings)
    return spec, rows


def _free(name: str, rows: Mapping[str, Mapping[str, str]], settings: Mapping[str, str]) -> str:
    """The name of a row; a method that is listed twice has numbers."""
    number, free = 1, name
    while free in rows and rows[free] != settings:
        number += 1
        free = f"{name} ({number})"
    return free


def _values(trial: NamedTrial) -> dict[str, str]:
    """Of a trial as it was started, or as a sweep lists it; as they are, for a plug-in's method may not be installed here."""
    store = trial.folder.store
    content: dict[str, Any] | None = store.read_json(trial.folder.name("trial.json"))
    values = content.get("trial") if content else None
    for sweep in store.names("sweeps") if values is None else ():
        listed = store.read_record(f"sweeps/{sweep}/trials.json", TrialList)
        values = next(
            (item.trial for item in (listed.trials if listed else ()) if item.id == trial.folder.trial_id), values
        )
    return flat({key: value for key, value in (values or {}).items() if key != "axes"})


def _settings(trial: TrialSpec) -> dict[str, str]:
    return flat(trial.model_dump(mode="json", exclude={"axes"}))


def _of_sweep(spec: SweepSpec) -> dict[str, str]:
    return flat(spec.model_dump(mode="json", exclude=OF_A_TRIAL))


def _scores(trial: NamedTrial) -> dict[str, str]:
    """Of each evaluation by its id, and how far the trial has come."""
    found = {"state": trial.where}
    for name, record in sorted(trial.status.evaluations.items()):
        found |= {f"{name} {metric}": f"{value:.2f}" for metric, value in record.metrics.items()}
    return found


def _differences(place: str, a: Mapping[str, str], b: Mapping[str, str], *, equal: bool = False) -> list[Difference]:
    keys = dict.fromkeys([*a, *b])
    pairs = [Difference(place, key, a.get(key, ABSENT), b.get(key, ABSENT)) for key in keys]
    return [pair for pair in pairs if equal or pair.a != pair.b]


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """Every value by its dotted key; entries of a list by their names, if they have any."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= {f"{key}.{inner}": text for inner, text in flat(value).items()}
        elif isinstance(value, (list, tuple)) and any(isinstance(item, dict) for item in value):
            found |= {f"{key}.{inner}": text for inner, text in flat(_named(value)).items()}
        else:
            found[key] = scalar(cast(Value, value))
    return found


def _named(items: Iterable[object]) -> dict[str, object]:
    listed: Sequence[object] = list(items)
    return {str(item.get("name", i)) if isinstance(item, dict) else str(i): item for i, item in enumerate(listed)}
