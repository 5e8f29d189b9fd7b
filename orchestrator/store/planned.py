"""A trial of a sweep: what it is, what data it takes, and its state in this sweep."""

from dataclasses import dataclass
from functools import cached_property

from ...datasets.contents import Contents
from ..spec.identity import evaluation_id
from ..spec.models import TrialSpec
from .trial_state import TrialState
from .trial_status import TrialStatus


@dataclass(frozen=True)
class StoredTrial:
    """One trial of a sweep, as its list in the store has it: enough to say how far it has come."""

    trial_id: str
    trial: TrialSpec

    @cached_property
    def evaluation_ids(self) -> list[str]:
        """Of the evaluations that the sweep asks for, in their order."""
        return [evaluation_id(config) for config in self.trial.evaluate]

    def missing(self, status: TrialStatus) -> list[str]:
        """Stages that are still to run, in order: ``pretrain`` and what the sweep calls the evaluations."""
        ids = zip(self.trial.evaluate, self.evaluation_ids, strict=True)
        stages = [] if status.pretrain else ["pretrain"]
        return stages + [config.known_as for config, name in ids if name not in status.evaluations]

    def state(self, status: TrialStatus) -> TrialState:
        """The trial's state in this sweep, whatever other sweeps ask of it."""
        if not self.missing(status):
            return TrialState.FINISHED
        return TrialState.WAITING if status.state is TrialState.FINISHED else status.state


@dataclass(frozen=True)
class PlannedTrial(StoredTrial):
    """A trial whose data are known: prepared here, so that it can run, or remembered by the store."""

    prepared: Contents
