"""The thread that writes: order, waiting, errors."""

import logging
import os
import threading

import pytest
from ssl_sweep.orchestrator.trial.background import Background

LONG = 1e6


def test_what_is_due_is_done_in_its_order() -> None:
    background, done, gate = Background(), list[str](), threading.Event()
    writes = {name: lambda name=name: done.append(name) for name in "abc"}
    background.within(0, lambda: done.append(str(gate.wait(60))))
    background.within(LONG, writes["c"])
    background.within(LONG, writes["a"])
    background.within(0, writes["b"])
    background.within(0, writes["a"])  # sooner than it was asked for first, and once
    gate.set()
    background.wait(writes["a"])
    assert done == ["True", "b", "a"]
    background.wait(writes["a"])  # nothing to wait for
    background.wait()
    assert done == ["True", "b", "a", "c"]
    background.close()


def test_an_error_is_kept_until_it_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    background, done = Background(), list[int]()

    def fail() -> None:
        done.append(len(done))
        raise OSError(f"number {len(done)}")

    for write in (fail, lambda: fail(), lambda: done.append(2)):
        background.within(0, write)
    background.wait()
    assert done == [0, 1, 2]
    assert str(background.take_error()) == "number 1"
    assert background.take_error() is None
    background.within(0, fail)
    background.close()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and "number 4" in record.getMessage()


def test_closing_does_what_waits() -> None:
    background, done = Background(), list[int]()
    background.within(LONG, lambda: done.append(1))
    background.close()
    assert done == [1]
    assert all(thread.name != "writes" for thread in threading.enumerate())


def test_a_fork_knows_that_it_has_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    background = Background()
    assert background.is_here
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert not background.is_here
