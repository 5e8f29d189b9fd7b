"""The Ray that a sweep runs on: embedded in this process or joined, and its machines."""

import logging
import os
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray._private import worker
from ray._private.state import state  # what Ray Train's own watcher asks
from ray._raylet import PlacementGroupID
from ray.core.generated import gcs_pb2
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, remove_placement_group

from ..spec.errors import UserError
from .find_cluster import ADDRESS, AUTO, EMBEDDED, find_cluster, why_closed
from .protocol import EngineLost
from .scheduler import Node

NAMESPACE = "ssl-sweep"
LOOK_SECONDS = 2.0
"""Between two looks at the head of a joined cluster."""
AWAY_SECONDS = 40.0
"""How long it may be away."""
MODEL = "accelerator_type:"
"""Begins the name of a resource, of which each machine has one: the model of its GPUs."""


def start_ray(address: str | None, shape_cpus: int) -> None:
    """Start Ray in this process with at least `shape_cpus` CPUs, or join the cluster at `address`.

    Raises:
        UserError: there is no cluster at the address, it cannot be joined, or none can be started here.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
    if address is None:
        cpus = max(os.cpu_count() or 1, shape_cpus)
        # "local": without it, Ray joins whatever cluster was started on this machine
        try:
            ray.init("local", num_cpus=cpus, include_dashboard=False, labels=EMBEDDED, **quiet)
        except Exception as error:  # what Ray raises if its processes take too long, on a machine with too much to do
            reason = " ".join(str(error).split())
            raise UserError(
                f"Ray cannot be started here: {reason}; submit again once the machine has less to do"
            ) from error
        return
    place = find_cluster(address)
    before = os.environ.get(ADDRESS)
    os.environ[ADDRESS] = place  # what Ray takes "auto" for; with "auto" it shows the cluster the user's token
    try:
        ray.init(address=AUTO if address == AUTO else place, **quiet)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise UserError(f"no Ray cluster at '{place}' can be joined: {' '.join(str(error).split())}") from None
    finally:
        os.environ.pop(ADDRESS) if before is None else os.environ.update({ADDRESS: before})


def nodes() -> list[Node]:
    """The machines that are alive."""
    return [machine(node["NodeManagerHostname"], node["Resources"]) for node in ray.nodes() if node["Alive"]]


def machine(name: str, resources: Mapping[str, float]) -> Node:
    """A machine, by what Ray says of its resources."""
    models = [key.removeprefix(MODEL) for key in resources if key.startswith(MODEL)]
    return Node(name, resources.get("CPU", 0), resources.get("GPU", 0), models[0] if models else "")


def lost_part() -> str | None:
    """A process of the embedded Ray that has ended, and without which Ray would end this process as well, within a minute."""
    head = worker._global_node  # pyright: ignore[reportPrivateUsage]  # Ray has no public word for it
    ended = [] if head is None else head.dead_processes()
    return next((kind for kind, _ in ended if kind in ("raylet", "gcs_server")), None)


class Head:
    """The head of a joined cluster. A minute after its end Ray ends this process too, and what is to be said must come before."""

    def __init__(self):
        self._address = ray.get_runtime_context().gcs_address
        self._looked = time.monotonic()

    def expect(self) -> None:
        """Wait for it, if it is away: where its state outlives it, it comes back.

        Raises:
            EngineLost: it has not come back.
        """
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        began = time.monotonic()
        while (why := why_closed(self._address)) is not None:
            if time.monotonic() - began > AWAY_SECONDS:
                raise EngineLost(f"its head at {self._address}: {why}")
            time.sleep(LOOK_SECONDS)
        self._looked = time.monotonic()


def give_back_room() -> None:
    """Remove the placement groups of this driver's controllers that have died: Ray does so only after the driver's own end."""
    job = ray.get_runtime_context().get_job_id()
    kind: Any = vars(gcs_pb2)["PlacementGroupTableData"]
    for content in state._connect_and_get_accessor().get_placement_group_table():  # pyright: ignore[reportPrivateUsage]
        found = kind.FromString(content)
        is_ours = found.creator_job_id.hex() == job and found.creator_actor_dead
        if is_ours and found.state != kind.PlacementGroupState.REMOVED:
            remove_placement_group(PlacementGroup(PlacementGroupID(found.placement_group_id)))


def draining() -> set[str]:
    """Ray's ids of the machines that their provider has announced to take back."""
    return set(state.get_draining_nodes())
