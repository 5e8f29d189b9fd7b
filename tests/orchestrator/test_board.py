"""The board: who gets which trial, and what becomes of it."""

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from ssl_sweep.orchestrator.engine.batch import Batch
from ssl_sweep.orchestrator.engine.board import Board
from ssl_sweep.orchestrator.engine.protocol import Job, TrialEvent
from ssl_sweep.orchestrator.store.events import StageStarted, StatusChanged, StepDone
from ssl_sweep.orchestrator.store.trial_state import TrialState

T = TypeVar("T")
LONG = 60.0
"""Seconds that a test does not wait: something is there at once, or it is told to come."""
FINISHED = StatusChanged(state=TrialState.FINISHED)
FAILED = StatusChanged(state=TrialState.FAILED, reason="memory")


def job(name: str) -> Job:
    return Job(name, "{}", "f")


def run(scenario: Awaitable[T]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(scenario, LONG)

    return asyncio.run(bounded())


async def board(*names: str) -> Board:
    made = Board(max_failures=1)
    await made.submit([job(name) for name in names])
    return made


def events(news: list[Batch]) -> list[TrialEvent]:
    return [event for batch in news for event in batch.events()]


def states(news: list[Batch]) -> list[tuple[str, TrialState]]:
    return [(trial_id, event.state) for trial_id, event in events(news) if isinstance(event, StatusChanged)]


def test_each_group_gets_another_trial() -> None:
    async def scenario() -> None:
        made = await board("a", "b")
        assert [await made.next_job("one", LONG), await made.next_job("two", LONG)] == [job("a"), job("b")]
        assert await made.next_job("three", 0) is None

    run(scenario())


def test_a_group_that_comes_back_gets_its_own_trial_as_often_as_allowed() -> None:
    async def scenario() -> None:
        made = await board("a", "b")
        await made.next_job("one", LONG)
        assert await made.next_job("one", LONG) == job("a")
        assert await made.next_job("one", LONG) == job("b")  # the second restart is one too many
        ((trial_id, event),) = events(await made.news(LONG))
        assert trial_id == "a"
        assert event == StatusChanged(state=TrialState.FAILED, reason="its worker died 2 times")

    run(scenario())


def test_the_job_of_a_group_that_does_not_come_back_goes_to_another() -> None:
    async def scenario() -> None:
        made = await board("a", "b")
        await made.next_job("one", LONG)
        await made.release("one")
        assert await made.next_job("two", LONG) == job("a")

    run(scenario())


def test_the_first_end_counts_and_events_are_delivered_once() -> None:
    async def scenario() -> None:
        made = await board("a")
        await made.next_job("one", LONG)
        await made.report(Batch.of("a", [StageStarted(stage="knn"), FAILED, StageStarted(stage="linear")]))
        await made.report(Batch.of("a", [FINISHED]))
        news = await made.news(LONG)
        assert [event for _, event in events(news)] == [StageStarted(stage="knn"), FAILED]
        assert states(news) == [("a", TrialState.FAILED)]
        assert await made.news(0) == []

    run(scenario())


def test_stop_withdraws_what_waits_and_asks_what_runs() -> None:
    async def scenario() -> None:
        made = await board("a", "b", "c")
        await made.next_job("one", LONG)
        assert await made.stop("b", TrialState.STOPPED_EARLY) == ["b"]
        assert await made.stop(None, TrialState.INTERRUPTED) == ["c"]
        assert await made.stop_requested("a") is TrialState.INTERRUPTED
        assert await made.next_job("two", 0) is None
        assert await made.next_job("one", 0) is None  # its worker died after it was asked
        assert states(await made.news(LONG)) == [("a", TrialState.INTERRUPTED)]

    run(scenario())


@pytest.mark.parametrize("close", [False, True])
def test_who_waits_is_woken(close: bool) -> None:
    async def scenario() -> None:
        made = await board()
        waiting = asyncio.create_task(made.next_job("one", LONG))
        hearing = asyncio.create_task(made.news(LONG))
        await asyncio.sleep(0)
        if close:
            await made.close()
            assert await waiting is None and await made.is_closed()
            hearing.cancel()
            return
        await made.submit([job("a")])
        assert await waiting == job("a")
        await made.report(Batch.of("a", [FINISHED]))
        assert states(await hearing) == [("a", TrialState.FINISHED)]

    run(scenario())


def test_nothing_is_kept_of_what_has_ended() -> None:
    async def scenario() -> None:
        made = await board(*map(str, range(100)))
        while (taken := await made.next_job("one", 0)) is not None:
            await made.report(Batch.of(taken.trial_id, [StageStarted(stage="knn")] * 100 + [FINISHED]))
            assert len(events(await made.news(LONG))) == 101
        assert (made._waiting, made._running, made._news) == (type(made._waiting)(), {}, [])

    run(scenario())


def test_a_batch_keeps_every_value() -> None:
    """A loss that is not a number is what a user needs to see most."""
    told = [StepDone(step=1, loss=math.nan, lr=0.1, images_per_second=math.inf, time=1.5), FAILED]
    found = [event for _, event in Batch.of("a", told).events()]
    assert [event.model_dump_json() for event in found] == [event.model_dump_json() for event in told]
    assert isinstance(found[0], StepDone) and math.isnan(found[0].loss)
