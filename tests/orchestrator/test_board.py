"""The board: who gets which trial, and what becomes of it."""

import pytest
from ssl_sweep.orchestrator.engine.board import Board, Job


@pytest.fixture
def board() -> Board:
    made = Board(max_failures=1)
    for name in ("a", "b"):
        made.put(Job(name, {}, "f"), f"tag-{name}")
    return made


def test_each_gang_gets_another_trial(board: Board) -> None:
    first, second = board.lease("one"), board.lease("two")
    assert first is not None
    assert second is not None
    assert (first.trial_id, second.trial_id) == ("a", "b")
    assert board.lease("three") is None


def test_a_gang_that_comes_back_gets_its_own_trial(board: Board) -> None:
    board.lease("one")
    again = board.lease("one")
    assert again is not None
    assert again.trial_id == "a"
    other = board.lease("one")  # the second restart is one too many
    assert other is not None
    assert other.trial_id == "b"
    status, _ = board.outcome("a", 0)
    assert status == "failed"
    assert board.entries["a"].reason == "its worker died 2 times"


def test_the_first_word_counts(board: Board) -> None:
    board.lease("one")
    board.finish("a", "failed", "out of memory")
    board.finish("a", "finished", None)
    assert board.outcome("a", 0)[0] == "failed"


def test_stop_ends_what_waits_and_asks_what_runs(board: Board) -> None:
    board.lease("one")
    board.stop()
    assert board.stop_requested("a")
    assert board.outcome("b", 0)[0] == "stopped"
    board.put(Job("c", {}, "f"), "tag-c")
    assert board.outcome("c", 0)[0] == "stopped"
    assert board.lease("two") is None


def test_tune_stops_a_trial_by_its_own_name(board: Board) -> None:
    board.stop_tagged("tag-b")
    assert board.outcome("b", 0)[0] == "stopped"
    assert not board.stop_requested("a")
    board.stop_tagged("nobody")


def test_news_are_read_from_where_one_stands(board: Board) -> None:
    seen = len(board.news(0))
    board.lease("one")
    board.report("a", {"kind": "epoch", "epoch": 1})
    kinds = [(name, event["kind"]) for name, event in board.news(seen)]
    assert kinds == [("a", "status"), ("a", "epoch")]
    assert board.outcome("a", 0)[1] == [{"kind": "epoch", "epoch": 1}]
    assert board.outcome("a", 1)[1] == []


def test_a_trial_is_put_once(board: Board) -> None:
    board.lease("one")
    board.put(Job("a", {}, "f"), "another")
    assert board.outcome("a", 0)[0] == "running"


def test_closing(board: Board) -> None:
    assert not board.is_closed()
    board.close()
    assert board.is_closed()
