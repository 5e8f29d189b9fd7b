"""What a search is: it hears the events of its trials, and asks for new trials or for the end of some."""

from typing import NamedTuple, Protocol

from ..spec.models import TrialSpec
from ..store.events import Event
from ..store.trial_status import TrialStatus


class Create(NamedTuple):
    """Run a trial."""

    trial: TrialSpec
    ended: bool = False
    """Whether it was to end early before, and is not to go on."""


class Stop(NamedTuple):
    """End a trial early."""

    trial_id: str


Action = Create | Stop


class SearchAlgorithm(Protocol):
    """One search. What it must not forget is in the store: its points, and the results of their trials."""

    @property
    def method(self) -> str:
        """The name of the one that is searched for."""
        ...

    @property
    def stops_early(self) -> bool:
        """Whether trials may end early in it; if not, those that once did go on."""
        ...

    def earlier(self) -> list[Create]:
        """Trials of earlier runs, to learn from or to resume."""
        ...

    def created(self, trial_id: str, trial: TrialSpec) -> None:
        """A trial that was asked for has this id."""
        ...

    def found(self, trial_id: str, status: TrialStatus) -> None:
        """Nothing of a trial is left to run: an earlier run completed it, or another sweep has done so meanwhile."""
        ...

    def more(self, room: int) -> list[Create]:
        """New trials, if at most `room` run at once."""
        ...

    def keep(self, *, now: bool) -> None:
        """Write what the store does not have yet, before new trials begin (`now`) and once in a while."""
        ...

    def on_event(self, trial_id: str, event: Event, status: TrialStatus) -> list[Action]:
        """What follows from an event of one of its trials, which has `status` then."""
        ...
