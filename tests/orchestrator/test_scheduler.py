"""Which worker groups are started for what waits, on which machines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ssl_sweep.orchestrator.engine.protocol import Shape
from ssl_sweep.orchestrator.engine.scheduler import (
    Changes,
    Group,
    Node,
    packs,
    plan_groups,
    refuse_what_cannot_fit,
    room_for,
)
from ssl_sweep.orchestrator.spec.errors import UserError


def shape(workers: int, cpus: int, gpus: float) -> Shape:
    return Shape(workers, cpus, gpus, cpus, 1)


FIFTH, WHOLE, EIGHT = shape(1, 1, 0.2), shape(1, 4, 1), shape(8, 4, 1)
MACHINE = Node("a", 64, 8)


def test_groups_fit_node_by_node() -> None:
    one = shape(1, 4, 0)
    assert room_for(one, [Node("a", 17, 0)]) == 4
    assert room_for(one, [Node("a", 3, 0), Node("b", 3, 0)]) == 0  # six CPUs, and no node with four
    assert room_for(shape(2, 4, 0), [Node("a", 4, 0), Node("b", 7, 0)]) == 1  # a group may span nodes, a worker not
    assert room_for(shape(2, 1, 1), [Node("a", 64, 3)]) == 1
    assert room_for(shape(1, 1, 0.5), [Node("a", 64, 2)]) == 4
    assert room_for(shape(1, 1, 0.3), [Node("a", 64, 2)]) == 6  # three to a GPU
    assert room_for(shape(4, 1, 1), [Node("a", 64, 3)]) == 0


def test_what_cannot_fit_is_refused_node_by_node() -> None:
    with pytest.raises(UserError) as error:
        refuse_what_cannot_fit(shape(2, 8, 1), [Node("one", 4, 2), Node("two", 16, 1)])
    assert str(error.value).splitlines() == [
        "resources: a trial takes 2 workers × (8 CPUs, 1 GPU), and the nodes of the cluster have less:",
        "  one: 4 CPUs, 2 GPUs: room for 0 of these workers",
        "  two: 16 CPUs, 1 GPUs: room for 1 of these workers",
    ]


def test_small_trials_share_gpus_beside_large_ones() -> None:
    assert packs([WHOLE] * 7 + [FIFTH] * 5, [MACHINE])
    assert not packs([WHOLE] * 7 + [FIFTH] * 6, [MACHINE])
    assert packs([EIGHT], [MACHINE]) and not packs([EIGHT, FIFTH], [MACHINE])
    assert packs([EIGHT, FIFTH], [Node("a", 64, 4), Node("b", 64, 5)])


def test_groups_start_for_what_waits_up_to_the_limit() -> None:
    assert plan_groups([MACHINE], [], [(FIFTH, 3)], None) == Changes([FIFTH] * 3, [])
    assert plan_groups([MACHINE], [], [(FIFTH, 99)], None) == Changes([FIFTH] * 40, [])
    assert plan_groups([MACHINE], [], [(FIFTH, 99)], 2) == Changes([FIFTH] * 2, [])
    idle = [Group("one", FIFTH, is_busy=False)]
    assert plan_groups([MACHINE], idle, [(FIFTH, 1)], None) == Changes([], [])


def test_a_node_that_joins_is_used() -> None:
    busy = [Group(str(i), WHOLE, is_busy=True) for i in range(8)]
    assert plan_groups([MACHINE], busy, [(WHOLE, 3)], None) == Changes([], [])
    assert plan_groups([MACHINE, Node("b", 8, 2)], busy, [(WHOLE, 3)], None) == Changes([WHOLE] * 2, [])


def test_idle_groups_leave_for_another_shape() -> None:
    groups = [Group(str(i), FIFTH, is_busy=i == 0) for i in range(5)]
    assert plan_groups([Node("a", 64, 1)], groups, [(WHOLE, 1)], None).retire == ["1", "2", "3", "4", "0"]
    assert plan_groups([Node("a", 64, 2)], groups, [(WHOLE, 1)], None) == Changes([WHOLE], [])


def test_the_oldest_makes_room_and_younger_ones_do_not() -> None:
    machine = [Node("a", 64, 1)]
    groups = [Group(str(i), FIFTH, is_busy=True) for i in range(5)]
    assert plan_groups(machine, groups, [(FIFTH, 9), (WHOLE, 1)], None) == Changes([], [])
    assert set(plan_groups(machine, groups, [(WHOLE, 1), (FIFTH, 9)], None).retire) == set("01234")


def test_a_shape_that_the_cluster_has_lost_the_room_for_waits() -> None:
    groups = [Group("one", FIFTH, is_busy=True)]
    assert plan_groups([Node("a", 64, 1)], groups, [(EIGHT, 1)], None) == Changes([], [])


SHAPES = st.sampled_from([FIFTH, WHOLE, EIGHT, shape(2, 2, 0), shape(1, 8, 0), shape(1, 3, 0.5)])
MACHINES = st.lists(st.builds(Node, st.just("n"), st.integers(1, 32), st.integers(0, 8)), min_size=1, max_size=4)


@given(machines=MACHINES, jobs=st.lists(SHAPES, min_size=1, max_size=30), limit=st.none() | st.integers(1, 4))
def test_all_that_fits_runs_in_the_end(machines: list[Node], jobs: list[Shape], limit: int | None) -> None:
    """A whole sweep, each turn of which ends one job: no shape starves, and what runs at once fits."""
    left = [job for job in jobs if room_for(job, machines)]
    busy: dict[str, Shape] = {}
    idle: dict[str, Shape] = {}
    retired: set[str] = set()
    number = 0
    for _ in range(4 * len(jobs) + 20):
        groups = [Group(name, item, is_busy=True) for name, item in busy.items() if name not in retired]
        groups += [Group(name, busy[name], is_busy=True) for name in retired & set(busy)]
        groups += [Group(name, item, is_busy=False) for name, item in idle.items()]
        waiting = [(item, left.count(item)) for item in dict.fromkeys(left)]
        changes = plan_groups(machines, groups, waiting, limit)
        for name in changes.retire:
            retired.add(name)
            idle.pop(name, None)
        for item in changes.start:
            number += 1
            idle[str(number)] = item
        for name, item in list(idle.items()):
            if item in left:
                left.remove(item)
                busy[name] = idle.pop(name)
        running = [*busy.values(), *idle.values()]
        assert packs(running, machines) and (limit is None or len(running) <= limit)
        if busy:
            name, item = next(iter(busy.items()))
            del busy[name]
            if name not in retired:
                idle[name] = item
        elif not left:
            return
    raise AssertionError(f"{left} never ran")
