"""Whether every node of a cluster sees a folder: one machine's disk is no store for several."""

import time
import uuid
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..spec.errors import UserError
from ..store.files import Store

LAG_SECONDS = 5
"""Network file systems may show a new file late."""


def refuse_unshared(store: Store) -> None:
    """Raise UserError if the store is a folder that some node of the running cluster does not see."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2 or not store.is_local:
        return
    probe = f"probe-{uuid.uuid4().hex}"
    store.write(probe, b"seen")
    try:
        asked = [
            ray.remote(_sees)
            .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
            .remote(store.path(probe))
            for node in nodes
        ]
        seen: list[bool] = ray.get(asked)
    finally:
        store.delete(probe)
    if not all(seen):
        raise UserError(
            f"storage '{store.location}' is not on every node of the cluster ({sum(seen)} of {len(seen)} see it);"
            " use a folder that all nodes share, or s3:// or gs://"
        )


def _sees(path: str) -> bool:
    deadline = time.monotonic() + LAG_SECONDS
    while not Path(path).exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
