"""A gang: a group of data-parallel workers that stays and carries one trial after another.

Starting processes, importing torch and joining a process group take many seconds; a trial that is handed to a group
that stands starts in milliseconds. Ray Train starts the gang, and starts it again when a worker or a node dies; the
board then gives it its own trial back, which goes on from its checkpoint in the store.
"""

from typing import Any, NamedTuple


class GangConfig(NamedTuple):
    """What every worker of a gang is told at its start."""

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


def carry_trials(values: dict[str, Any]) -> None:
    """The train loop that Ray Train starts on every worker; `values` are those of a `GangConfig`.

    Only the workers import what trains: the driver and Ray's controllers, which get this function too, do without.
    """
    from .worker import work

    work(GangConfig(**values))
