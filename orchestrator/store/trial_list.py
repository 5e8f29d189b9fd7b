"""The list of a sweep's trials, as the store keeps it."""

from typing import Any, ClassVar

from pydantic import model_validator

from .records import Record


class ListedTrial(Record):
    """A trial of a sweep, and its resolved values as JSON."""

    id: str
    trial: dict[str, Any]


class TrialList(Record):
    """The trials of a sweep, as its last `submit` had them."""

    lost: ClassVar[str] = "the trials that a search sampled are not known until the next submit"

    trials: tuple[ListedTrial, ...]

    @model_validator(mode="before")
    @classmethod
    def list_alone(cls, value: object) -> object:
        """Earlier versions wrote the list without a key."""
        return {"trials": value} if isinstance(value, list) else value
