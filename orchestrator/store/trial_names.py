"""The trials of a store by id and label, and the one that a user means."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from ...methods.weights_config import WeightsConfig
from ..spec.errors import UserError, did_you_mean
from ..spec.label import WEIGHTS, label, short_id
from .files import Store
from .trial_list import TrialList

MOST = 10
"""Trials that an error lists."""


class TrialName(NamedTuple):
    """A trial as users name it."""

    trial_id: str
    label: str


def trial_names(store: Store) -> list[TrialName]:
    """All trials that a sweep of the store lists or that have a folder in it."""
    found: dict[str, str] = {}
    for sweep in store.names("sweeps"):
        listed = store.read_record(f"sweeps/{sweep}/trials.json", TrialList)
        found |= {item.id: _label(item.trial) for item in (listed.trials if listed else ())}
    others = [name for name in store.names("trials") if name not in found]
    contents = [store.read_json(f"trials/{name}/trial.json") for name in others]
    for name, content in zip(others, contents, strict=True):
        found[name] = _label(content["trial"]) if content and "trial" in content else ""
    return [TrialName(*item) for item in found.items()]


def find_trial(text: str, names: Iterable[TrialName], place: str) -> TrialName:
    """The trial that `text` names: its id, the beginning of its id or hash, its label, or a part of either.

    The closest kind of match counts: a whole label before those that only contain it.

    Raises:
        UserError: no trial of `place` matches, or several do.
    """
    known = list(names)
    for matches in (
        [name for name in known if text in name],
        [name for name in known if name.trial_id.startswith(text)],
        [name for name in known if short_id(name.trial_id).startswith(text)],
        [name for name in known if text in name.label],
        [name for name in known if text in name.trial_id],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UserError(_ambiguous(text, matches))
    near = did_you_mean(text, [part for name in known for part in name])
    raise UserError(
        f"no trial '{text}' in {place}{near}; `ssl-sweep status SWEEP` lists the trials of a sweep"
        if known
        else f"no trial '{text}' in {place}, which has none"
    )


def _ambiguous(text: str, matches: list[TrialName]) -> str:
    lines = [f"  {name.trial_id}  {name.label}" for name in matches[:MOST]]
    more = [f"  and {len(matches) - MOST} more"] if len(matches) > MOST else []
    return "\n".join([f"'{text}' matches {len(matches)} trials; name one of them:", *lines, *more])


def _label(trial: dict[str, Any]) -> str:
    """From the values as JSON: the plug-in of its method need not be installed here."""
    method = trial.get("method")
    name = method.get("name", "") if isinstance(method, dict) else ""
    axes, backbone = trial.get("axes") or {}, trial.get("backbone")
    given = backbone.get("weights") if isinstance(backbone, dict) and WEIGHTS not in axes else None
    weights = WeightsConfig.model_validate(given).name if given else ""
    return label(str(name), axes, trial.get("seed", 0), weights)
