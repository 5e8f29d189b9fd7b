"""The Ray that a sweep runs on: embedded in this process or joined, and how many worker groups its nodes have room for."""

import logging
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from ..spec.errors import UserError
from .find_cluster import ADDRESS, AUTO, EMBEDDED, find_cluster
from .protocol import Shape

NAMESPACE = "ssl-sweep"


class Node(NamedTuple):
    """What one machine has in all."""

    name: str
    cpus: float
    gpus: float


def start_ray(address: str | None, shape_cpus: int) -> None:
    """Start Ray in this process with at least `shape_cpus` CPUs, or join the cluster at `address`.

    Raises:
        UserError: there is no cluster at the address, or it cannot be joined.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "namespace": NAMESPACE}
    if address is None:
        cpus = max(os.cpu_count() or 1, shape_cpus)
        # "local": without it, Ray joins whatever cluster was started on this machine
        ray.init("local", num_cpus=cpus, include_dashboard=False, labels=EMBEDDED, **quiet)
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
    alive = [node for node in ray.nodes() if node["Alive"]]
    return [
        Node(node["NodeManagerHostname"], node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))
        for node in alive
    ]


def room_for(shape: Shape, machines: Sequence[Node]) -> int:
    """How many groups of this shape fit at once: each worker is on one machine, a group may span several.

    Greedy, as Ray's placement groups pack; all workers are alike, so the count of workers that fit is exact.
    """
    workers = sum(_workers_on(shape, machine) for machine in machines)
    return workers // shape.workers


def refuse_what_cannot_fit(shape: Shape, machines: Sequence[Node]) -> None:
    """Raise UserError that says, node by node, why no group of this shape can start."""
    if room_for(shape, machines):
        return
    listed = "\n".join(
        f"  {machine.name}: {machine.cpus:g} CPUs, {machine.gpus:g} GPUs: room for"
        f" {_workers_on(shape, machine)} of these workers"
        for machine in machines
    )
    raise UserError(f"resources: a trial takes {shape}, and the nodes of the cluster have less:\n{listed}")


def _workers_on(shape: Shape, machine: Node) -> int:
    by_cpu = int(machine.cpus // shape.cpus)
    if not shape.gpus:
        return by_cpu
    if shape.gpus < 1:  # several workers share a GPU, but none spans two
        return min(by_cpu, int(machine.gpus) * int(1 / shape.gpus + 1e-9))
    return min(by_cpu, int(machine.gpus // shape.gpus))
