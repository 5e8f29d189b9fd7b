"""What a worker group is told when it starts."""

from typing import NamedTuple

from .protocol import Shape


class GroupConfig(NamedTuple):
    """The same for every worker of the group."""

    name: str
    board: str
    namespace: str
    storage: str
    data_root: str
    shape: Shape
    checkpoint_seconds: float
    hang_seconds: float
    compile: bool
