"""What a worker group is told when it starts."""

from typing import NamedTuple


class GroupConfig(NamedTuple):
    """The same for every worker of the group."""

    name: str
    board: str
    namespace: str
    storage: str
    data_root: str
    gpus: bool
    threads: int
    decoders: int
    checkpoint_seconds: float
    compile: bool
