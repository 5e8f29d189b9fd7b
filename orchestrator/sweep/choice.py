"""Which of a sweep's missing trials a command runs."""

from collections.abc import Iterable
from typing import NamedTuple

from ..spec.errors import UserError
from ..spec.label import label_of
from ..spec.models import SweepSpec
from ..store.planned import PlannedTrial
from ..store.trial_names import TrialName, find_trial
from ..store.trial_state import TrialState
from ..store.trial_status import TrialStatus


class Choice(NamedTuple):
    """Of the trials that are not complete, those that failed, the others, or those that the user names."""

    failed: bool = True
    others: bool = True
    named: tuple[str, ...] = ()
    """Ids, labels or parts of them; empty: all trials."""

    def refuse_search(self, spec: SweepSpec) -> None:
        """Raise UserError if the trials to run depend on one another, as those of a search do, and only some are chosen."""
        if spec.search is not None and (self.named or not self.others):
            raise UserError(
                "search: `retry` is for sweeps without a search, whose trials do not depend on one another;"
                " `ssl-sweep submit` runs failed points of a search again"
            )

    def resolved(self, planned: Iterable[PlannedTrial], sweep: str) -> "Choice":
        """The choice with the whole ids of the trials that it names.

        Raises:
            UserError: a name matches no trial of the sweep, or several.
        """
        names = [TrialName(item.trial_id, label_of(item.trial)) for item in planned] if self.named else []
        return self._replace(named=tuple(find_trial(text, names, f"sweep '{sweep}'").trial_id for text in self.named))

    def takes(self, item: PlannedTrial, status: TrialStatus) -> bool:
        """Whether a trial is run if it misses anything; its names are resolved."""
        if self.named and item.trial_id not in self.named:
            return False
        return self.failed if status.state is TrialState.FAILED else self.others


EVERYTHING = Choice()
UNFINISHED = Choice(failed=False)
"""What was interrupted and what never began."""
FAILED = Choice(others=False)
