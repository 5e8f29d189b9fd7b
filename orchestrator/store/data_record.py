"""A data set in a report."""

from pydantic import BaseModel, ConfigDict


class DataRecord(BaseModel):
    """A data set, as a report describes it."""

    model_config = ConfigDict(frozen=True)

    name: str
    """What the user calls it."""
    kind: str
    """Which one it is, e.g. ``cifar10`` or ``folder``."""
    path: str | None = None
    fingerprint: str
    classes: int
    """0 if the images have no labels."""
    train_images: int
    test_images: int
    uses: tuple[str, ...]
    """``pretraining``, and the names of evaluations."""
