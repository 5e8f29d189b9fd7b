"""Which worker groups to start and which to let go, so that what waits gets its turn. Pure: no Ray here."""

from collections.abc import Sequence
from typing import NamedTuple

from ..spec.errors import UserError
from .protocol import Shape


class Node(NamedTuple):
    """What one machine has in all."""

    name: str
    cpus: float
    gpus: float
    gpu: str = ""
    """Model of its GPUs."""


class Group(NamedTuple):
    """A worker group that has been started."""

    name: str
    shape: Shape
    is_busy: bool


class Changes(NamedTuple):
    """What to do now."""

    start: list[Shape]
    retire: list[str]
    """Groups that take no other job."""


def plan_groups(
    machines: Sequence[Node], groups: Sequence[Group], waiting: Sequence[tuple[Shape, int]], limit: int | None
) -> Changes:
    """Groups for what waits, as far as there is room.

    Jobs start in their order, but a running trial is not stopped for one of another shape. The oldest that waits makes room as
    groups of other shapes become free; one that is younger takes only what is left, or what nobody waits for.

    Args:
        machines: that are alive.
        groups: that are alive and not retired.
        waiting: jobs by shape, the shape of the oldest first.
        limit: of groups at once; None is as many as fit.
    """
    left = list(groups)
    start: list[Shape] = []
    retire: list[str] = []
    wanted = {shape for shape, _ in waiting}
    for i, (shape, count) in enumerate(waiting):
        missing = count - sum(group.shape == shape and not group.is_busy for group in left)
        useless = [group for group in left if group.shape not in wanted and not group.is_busy]
        while missing > 0:
            taken = [group.shape for group in left] + start
            if (limit is None or len(taken) < limit) and packs([*taken, shape], machines):
                start.append(shape)
                missing -= 1
            elif useless:
                left.remove(useless[0])
                retire.append(useless.pop(0).name)
            else:
                break
        has_any = any(group.shape == shape for group in left) or shape in start
        if missing > 0 and i == 0 and not has_any and room_for(shape, machines):
            retire += _make_room(shape, left, start, machines, limit)
    return Changes(start, retire)


def _make_room(
    shape: Shape, groups: list[Group], start: list[Shape], machines: Sequence[Node], limit: int | None
) -> list[str]:
    """Groups of other shapes whose end makes room for one of `shape`: idle ones first, then those that started last."""
    left = sorted(groups, key=lambda group: not group.is_busy)
    retire: list[str] = []
    while left:
        taken = [group.shape for group in left] + start
        if (limit is None or len(taken) < limit) and packs([*taken, shape], machines):
            break
        retire.append(left.pop().name)
    return retire


def packs(shapes: Sequence[Shape], machines: Sequence[Node]) -> bool:
    """Whether groups of these shapes fit side by side: each worker is on one machine, a group may span several.

    First fit, the largest workers first. It may miss a packing that exists, and never claims one that does not.
    """
    workers = sorted(((shape.gpus, shape.cpus) for shape in shapes for _ in range(shape.workers)), reverse=True)
    free = [[machine.cpus, *([1.0] * int(machine.gpus))] for machine in machines]
    return all(any(_place(gpus, cpus, machine) for machine in free) for gpus, cpus in workers)


def _place(gpus: float, cpus: float, free: list[float]) -> bool:
    """Take a worker's share of a machine, if it has it; `free`: its CPUs, then what is left of each GPU."""
    enough = [i for i in range(1, len(free)) if free[i] >= min(gpus, 1.0) - 1e-9]
    needed = int(gpus) if gpus >= 1 else int(gpus > 0)
    if free[0] < cpus or len(enough) < needed:
        return False
    free[0] -= cpus
    fullest = sorted(enough, key=lambda i: free[i])[:needed]
    for i in fullest:
        free[i] -= min(gpus, 1.0)
    return True


def room_for(shape: Shape, machines: Sequence[Node]) -> int:
    """How many groups of this shape fit at once, alone: all workers are alike, so the count of workers that fit is exact."""
    return sum(_workers_on(shape, machine) for machine in machines) // shape.workers


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
