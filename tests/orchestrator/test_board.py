"""The board: who gets which trial, and what becomes of it."""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from ssl_sweep.orchestrator.engine.batch import Batch
from ssl_sweep.orchestrator.engine.beats import Beat
from ssl_sweep.orchestrator.engine.board import Board, News
from ssl_sweep.orchestrator.engine.protocol import Job, Shape, TrialEvent
from ssl_sweep.orchestrator.store.events import StageStarted, StatusChanged, StepDone
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.trial_state import TrialState

T = TypeVar("T")
LONG = 60.0
"""Seconds that a test does not wait: something is there at once, or it is told to come."""
SMALL = Shape(workers=1, cpus=1, gpus=0, threads=1, decoders=1)
LARGE = Shape(workers=8, cpus=4, gpus=1, threads=4, decoders=4)
FINISHED = StatusChanged(state=TrialState.FINISHED)
FAILED = StatusChanged(state=TrialState.FAILED, reason="memory")


def job(name: str) -> Job:
    return Job(name, "{}", "f")


def run(scenario: Awaitable[T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(scenario, LONG)

    return asyncio.run(bounded())


async def board(*names: str) -> Board:
    made = Board(hang_seconds=LONG)
    await made.submit([(SMALL, job(name)) for name in names])
    return made


async def take(made: Board, group: str, shape: Shape = SMALL) -> Job | None:
    """The group's next job, if there is one now."""
    return await made.next_job(group, shape, 0)


def events(news: News) -> list[TrialEvent]:
    return [event for batch in news.batches for event in batch.events()]


def states(news: News) -> list[tuple[str, TrialState]]:
    return [(trial_id, event.state) for trial_id, event in events(news) if isinstance(event, StatusChanged)]


def ends(news: News) -> list[tuple[str, Fault | None]]:
    """Failures, each with its fault."""
    found = [(trial_id, event) for trial_id, event in events(news) if isinstance(event, StatusChanged)]
    assert all(event.state is TrialState.FAILED for _, event in found)
    return [(trial_id, event.fault) for trial_id, event in found]


def test_each_group_gets_another_trial() -> None:
    async def scenario() -> None:
        made = await board("a", "b")
        assert [await take(made, "one"), await take(made, "two")] == [job("a"), job("b")]
        assert await take(made, "three") is None

    run(scenario())


def test_a_job_whose_group_comes_back_without_a_word_has_lost_its_worker() -> None:
    async def scenario() -> None:
        made = await board("a", "b")
        await take(made, "one")
        assert await take(made, "one") == job("b")
        assert ends(await made.news(LONG)) == [("a", Fault.WORKER_DIED)]

    run(scenario())


def test_what_became_of_a_group_is_told_once() -> None:
    async def scenario() -> None:
        made = await board("a", "b")
        await take(made, "one")
        await made.lose("one", Fault.NODE_LOST, "its node was lost")
        await made.lose("one", Fault.WORKER_DIED, "its worker died")
        assert await take(made, "one") == job("b")
        assert ends(await made.news(LONG)) == [("a", Fault.NODE_LOST)]

    run(scenario())


def test_a_job_that_is_tried_again_goes_before_all_others() -> None:
    async def scenario() -> None:
        made = await board("a", "b")
        await made.submit([(LARGE, job("c"))])
        await made.submit([(LARGE, job("d")), (LARGE, job("e"))], first=True)
        assert (await made.news(0)).waiting == [(LARGE, 3), (SMALL, 2)]
        assert [await take(made, "one", LARGE) for _ in range(3)] == [job("d"), job("e"), job("c")]

    run(scenario())


def test_groups_take_jobs_of_their_shape_until_they_are_let_go() -> None:
    async def scenario() -> None:
        made = await board("a")
        assert await take(made, "large", LARGE) is None
        await made.retire("one")
        assert await take(made, "one") is None and await made.is_over("one")
        assert await take(made, "two") == job("a") and not await made.is_over("two")
        assert (await made.news(0)).busy == ["two"]

    run(scenario())


def test_a_group_whose_node_is_taken_back_hands_its_trial_on() -> None:
    async def scenario() -> None:
        made = await board("a", "b")
        await made.beat("one", Beat(0, "node", None, 0.0))
        await take(made, "one")
        assert await made.groups_on({"node", "other"}) == ["one"]
        await made.preempt("one")
        assert await made.stop_requested("a") is TrialState.INTERRUPTED
        await made.report(Batch.of("a", [StageStarted(stage="knn"), StatusChanged(state=TrialState.INTERRUPTED)]))
        assert ends(await made.news(LONG)) == [("a", Fault.PREEMPTED)]
        assert await take(made, "one") is None

    run(scenario())


def test_the_first_end_counts_and_events_are_delivered_once() -> None:
    async def scenario() -> None:
        made = await board("a")
        await take(made, "one")
        await made.report(Batch.of("a", [StageStarted(stage="knn"), FAILED, StageStarted(stage="linear")]))
        await made.report(Batch.of("a", [FINISHED]))
        news = await made.news(LONG)
        assert [event for _, event in events(news)] == [StageStarted(stage="knn"), FAILED]
        assert states(news) == [("a", TrialState.FAILED)]
        assert (await made.news(0)).batches == []

    run(scenario())


def test_stop_withdraws_what_waits_and_asks_what_runs() -> None:
    async def scenario() -> None:
        made = await board("a", "b", "c")
        await take(made, "one")
        assert await made.stop("b", TrialState.STOPPED_EARLY) == ["b"]
        assert await made.stop(None, TrialState.INTERRUPTED) == ["c"]
        assert await made.stop_requested("a") is TrialState.INTERRUPTED
        assert await take(made, "two") is None
        assert await take(made, "one") is None  # its worker died after it was asked
        assert states(await made.news(LONG)) == [("a", TrialState.INTERRUPTED)]

    run(scenario())


@pytest.mark.parametrize("close", [False, True])
def test_who_waits_is_woken(close: bool) -> None:
    async def scenario() -> None:
        made = await board()
        waiting = asyncio.create_task(made.next_job("one", SMALL, LONG))
        hearing = asyncio.create_task(made.news(LONG))
        await asyncio.sleep(0)
        if close:
            await made.close()
            assert await waiting is None and await made.is_over("one")
            hearing.cancel()
            return
        await made.submit([(SMALL, job("a"))])
        assert await waiting == job("a")
        await made.report(Batch.of("a", [FINISHED]))
        assert states(await hearing) == [("a", TrialState.FINISHED)]

    run(scenario())


def test_nothing_is_kept_of_what_has_ended() -> None:
    async def scenario() -> None:
        made = await board(*map(str, range(100)))
        while (taken := await take(made, "one")) is not None:
            await made.report(Batch.of(taken.trial_id, [StageStarted(stage="knn")] * 100 + [FINISHED]))
            assert len(events(await made.news(LONG))) == 101
        assert not any(made._waiting.values()) and not made._running and not made._news

    run(scenario())


def test_a_batch_keeps_every_value() -> None:
    """A loss that is not a number is what a user needs to see most."""
    told = [StepDone(step=1, loss=math.nan, lr=0.1, images_per_second=math.inf, time=1.5), FAILED]
    found = [event for _, event in Batch.of("a", told).events()]
    assert [event.model_dump_json() for event in found] == [event.model_dump_json() for event in told]
    assert isinstance(found[0], StepDone) and math.isnan(found[0].loss)
