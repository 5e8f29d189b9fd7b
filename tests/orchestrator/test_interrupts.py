"""What the first signal does, and what the next ones do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ssl_sweep.orchestrator.engine import interrupts as module
from ssl_sweep.orchestrator.engine.interrupts import Interrupts, interrupts


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_the_first_signal_is_noted_where_somebody_looks(clock: list[float]) -> None:
    state = Interrupts()
    with state.watched():
        assert not state.requested
        state.on_signal(signal.SIGINT)
        assert state.requested
        state.on_signal(signal.SIGINT)  # at once: the same request


def test_another_ctrl_c_ends_at_once_and_another_sigterm_does_not(clock: list[float]) -> None:
    state = Interrupts()
    with state.watched():
        state.on_signal(signal.SIGTERM)
        clock[0] += 5
        state.on_signal(signal.SIGTERM)
        clock[0] += 5
        with pytest.raises(KeyboardInterrupt):
            state.on_signal(signal.SIGINT)


def test_where_nobody_looks_the_first_ends_at_once(clock: list[float]) -> None:
    state = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        state.on_signal(signal.SIGTERM)
    state.on_signal(signal.SIGTERM)  # the same request, while the first is being answered
    assert state.requested


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interrupts() as state, state.watched():
        os.kill(os.getpid(), signal.SIGTERM)
        assert state.requested
    assert signal.getsignal(signal.SIGTERM) is before


WAITS = """
import sys, time
from ssl_sweep.orchestrator.engine.interrupts import interrupts

with interrupts() as stop, stop.watched():
    print("ready", flush=True)
    while not stop.requested:
        time.sleep(0.05)
    print("stopping", flush=True)
    print("stopping", file=sys.stderr, flush=True)
open(sys.argv[1], "w").write("kept")
"""


CLOSES = """
import os, pty, signal, sys

process, terminal = pty.fork()
if process == 0:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under `nohup`
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
assert os.read(terminal, 100).split() == [b"ready"]
os.close(terminal)
sys.exit(os.waitpid(process, 0)[1])
"""


def test_a_closed_terminal_is_a_request_and_no_error(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", CLOSES, "-c", WAITS, str(tmp_path / "kept")], check=True, timeout=120)
    assert (tmp_path / "kept").read_text() == "kept"


def test_nohup_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts() as state, state.watched():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not state.requested
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
