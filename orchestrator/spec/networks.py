"""What shows only once a trial's networks are built: the part of the checks that needs torch, and so is handed in."""

from collections.abc import Iterable
from typing import Protocol

from .errors import Steps
from .models import TrialSpec


class Networks(Protocol):
    """Builds the backbones of trials to say what does not fit them."""

    def unfit(self, trial: TrialSpec) -> str | None:
        """Why the trial's weights cannot be used, as a message; None if they can."""
        ...

    def misnamed(self, trial: TrialSpec) -> Iterable[tuple[Steps, str]]:
        """Keys of the trial that name parts which its backbone does not have, each with a message."""
        ...
