"""Which worker groups have hung: each silence and each standstill, and none that was only slow."""

import pytest
from ssl_sweep.orchestrator.engine.beats import SILENT_SECONDS, Beat, Beats

HANG = 1800.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def beats(clock: Clock) -> Beats:
    return Beats(HANG, clock)


def beat(rank: int, idle: float = 0.0) -> Beat:
    return Beat(rank, "node", f"actor {rank}", idle)


def test_a_silent_rank_ends_its_group_after_the_others_were_asked_where_they_are(beats: Beats, clock: Clock) -> None:
    jobs = [("one", clock.now)]
    for rank in range(2):
        assert not beats.hear("one", beat(rank))
    found, asked = beats.hung(jobs), False
    while not found:
        clock.now += 10
        asked = beats.hear("one", beat(0))
        found = beats.hung(jobs)
    (hung,) = found
    assert hung.actors == ["actor 0", "actor 1"] and hung.reason.startswith("rank 1 gave no sign of life for")
    assert asked and SILENT_SECONDS < clock.now - 1000 <= SILENT_SECONDS + 40


def test_a_group_that_was_only_slow_goes_on(beats: Beats, clock: Clock) -> None:
    jobs = [("one", clock.now)]
    beats.hear("one", beat(0))
    clock.now += SILENT_SECONDS + 1
    assert not beats.hung(jobs)  # suspected
    assert beats.hear("one", beat(0))
    clock.now += 30
    assert not beats.hung(jobs) and not beats.hear("one", beat(0))


def test_a_group_without_progress_has_hung_though_its_workers_live(beats: Beats, clock: Clock) -> None:
    jobs = [("one", clock.now)]
    for _ in range(200):
        clock.now += 10
        idle = clock.now - 1000
        beats.hear("one", beat(0, idle))
        beats.hear("one", beat(1, idle))
        if hung := beats.hung(jobs):
            break
    assert hung[0].reason == f"no rank made progress for {clock.now - 1000:.0f} s"
    assert HANG < clock.now - 1000 < HANG + 60


def test_what_waited_for_a_job_is_not_idle(beats: Beats, clock: Clock) -> None:
    beats.hear("one", beat(0))
    clock.now += 10 * HANG
    beats.hear("one", beat(0, 10 * HANG))
    assert not beats.hung([("one", clock.now - 5)]) and not beats.hear("one", beat(0, 10 * HANG))


def test_nothing_is_known_of_a_group_that_has_gone(beats: Beats, clock: Clock) -> None:
    beats.hear("one", beat(0))
    assert beats.nodes("one") == {"node"} and beats.groups == ["one"]
    beats.forget("one")
    assert not beats.nodes("one") and not beats.hung([("one", clock.now - 10 * HANG)])
