"""Events on their way from a worker to the driver."""

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import TypeAdapter

from ..store.events import Event, StatusChanged
from ..store.fault import Fault
from ..store.trial_state import TrialState
from .protocol import TrialEvent

EVENTS: TypeAdapter[list[Event]] = TypeAdapter(list[Event])


class Batch(NamedTuple):
    """Some events of one trial, as text: the board passes it on unread, and text travels ten times as fast as objects."""

    trial_id: str
    text: str
    """A JSON array."""
    ends: bool
    """Whether the last one is the trial's end."""

    @classmethod
    def of(cls, trial_id: str, events: Iterable[Event]) -> "Batch":
        """The events up to the trial's end, if it is among them."""
        lines: list[str] = []
        for event in events:
            lines.append(event.model_dump_json())
            if isinstance(event, StatusChanged) and event.state is not TrialState.RUNNING:
                return cls(trial_id, f"[{','.join(lines)}]", ends=True)
        return cls(trial_id, f"[{','.join(lines)}]", ends=False)

    def preempted(self) -> "Batch":
        """The same of a trial that was interrupted because its node is taken back, if it did not end otherwise before."""
        *before, end = EVENTS.validate_json(self.text)
        if not isinstance(end, StatusChanged) or end.state is not TrialState.INTERRUPTED:
            return self
        told = {
            "state": TrialState.FAILED,
            "fault": Fault.PREEMPTED,
            "reason": "its node is taken back by its provider",
        }
        return Batch.of(self.trial_id, [*before, end.model_copy(update=told)])

    def events(self) -> list[TrialEvent]:
        """The events."""
        return [TrialEvent(self.trial_id, event) for event in EVENTS.validate_json(self.text)]
