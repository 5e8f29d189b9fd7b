"""An engine in a process of its own: it answers as the engine does, and its end is the loss of an engine."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from ssl_sweep.orchestrator.engine import own_process
from ssl_sweep.orchestrator.engine.own_process import EngineProcess
from ssl_sweep.orchestrator.engine.protocol import EngineLost, Job, TrialEvent
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.store.events import StatusChanged
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.trial_state import TrialState

RUNNING = StatusChanged(state=TrialState.RUNNING)


class Odd(Exception):
    """An error whose pickle cannot be read."""

    def __init__(self, first: str, second: str):
        super().__init__(first + second)


class Given:
    """An engine that does what the ids of its jobs say."""

    def __init__(self, say: Callable[[str], None], *, start: str = "", once: Path | None = None):
        """`start`: what happens at the start; `once`: a file that is made there, after which it does not happen again."""
        self.say, self._start, self._once = say, start, once
        self.jobs: list[str] = []

    @property
    def room(self) -> int:
        return 3

    @property
    def gpu(self) -> str | None:
        return "H200"

    def start(self) -> None:
        self.say(f"by {os.getpid()}")
        if self._start and not (self._once is not None and self._once.exists()):
            if self._once is not None:
                self._once.touch()
            self.submit([job(self._start)])

    def submit(self, jobs: list[Job], *, first: bool = False) -> None:
        self.jobs = [item.trial_id for item in jobs]
        match self.jobs[0]:
            case "refuse":
                raise UserError("no room")
            case "lose":
                raise EngineLost("its raylet ended")
            case "break":
                raise ZeroDivisionError("by nought")
            case "odd":
                raise Odd("a", "b")
            case "die":
                print("Check failed: mutex", file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGABRT)
            case "orphan":
                child = subprocess.Popen(["sleep", "600"], close_fds=False)
                self.say(f"child {child.pid}")
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(7)
            case "hang":
                time.sleep(600)
            case _:
                self.say(f"first: {first}")

    def events(self, timeout: float) -> list[TrialEvent]:
        time.sleep(timeout)
        return [TrialEvent(name, RUNNING) for name in self.jobs]

    def larger(self, job: Job, fault: Fault) -> Job | None:
        return job._replace(alone=True) if fault is Fault.OUT_OF_MEMORY else None

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        return [] if trial_id is None else [f"{trial_id} {state}"]

    def close(self) -> None:
        self.say("closed")


def job(trial_id: str) -> Job:
    return Job(trial_id, "{}", "fingerprint")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def engine(said: list[str]) -> Iterator[EngineProcess]:
    made = EngineProcess(Given, said.append)
    made.start()
    yield made
    made.close()


def process_of(said: list[str]) -> psutil.Process:
    return psutil.Process(int(said[0].removeprefix("by ")))


def test_it_answers_as_the_engine_does(engine: EngineProcess, said: list[str]) -> None:
    engine.submit([job("a"), job("b")], first=True)
    assert engine.events(0.0) == [TrialEvent("a", RUNNING), TrialEvent("b", RUNNING)]
    assert engine.larger(job("a"), Fault.OUT_OF_MEMORY) == job("a")._replace(alone=True)
    assert engine.larger(job("a"), Fault.HUNG) is None
    assert engine.stop("a", TrialState.STOPPED_EARLY) == [f"a {TrialState.STOPPED_EARLY}"]
    assert (engine.room, engine.gpu) == (3, "H200")
    own = process_of(said)
    engine.close()
    assert said[1:] == ["first: True", "closed"]
    assert not own.is_running()


def test_no_signal_of_the_terminal_reaches_it(engine: EngineProcess, said: list[str]) -> None:
    assert os.getpgid(process_of(said).pid) != os.getpgid(0)


@pytest.mark.parametrize(
    ("ask", "kind", "words"),
    [
        ("refuse", UserError, "^no room$"),
        ("lose", EngineLost, "^its raylet ended$"),
        ("break", RuntimeError, "ZeroDivisionError: by nought"),
        ("odd", RuntimeError, "Odd: ab"),
    ],
)
def test_errors_are_raised_where_it_was_asked(
    engine: EngineProcess, ask: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        engine.submit([job(ask)])
    assert engine.events(0.0) == [TrialEvent(ask, RUNNING)]


@pytest.mark.parametrize(("ask", "words"), [("die", "by SIGABRT: Check failed: mutex"), ("exit", "with exit status 7")])
def test_its_end_is_the_loss_of_an_engine(engine: EngineProcess, ask: str, words: str) -> None:
    with pytest.raises(EngineLost, match=f"its process ended {words}"):
        engine.submit([job(ask)])
    with pytest.raises(EngineLost, match="its process ended"):
        engine.events(0.0)


def test_its_end_is_heard_although_a_process_that_it_started_lives_on(engine: EngineProcess, said: list[str]) -> None:
    with pytest.raises(EngineLost, match="its process ended by SIGKILL"):
        engine.submit([job("orphan")])
    child = psutil.Process(int(said[-1].removeprefix("child ")))
    assert child.is_running()
    child.kill()


@pytest.mark.parametrize(("ask", "words"), [("refuse", "no room"), ("die", "3 times.: its process ended by SIG")])
def test_a_start_that_fails_is_told(said: list[str], ask: str, words: str) -> None:
    engine = EngineProcess(partial(Given, start=ask), said.append)
    with pytest.raises(UserError, match=words):
        engine.start()
    engine.close()


def test_a_start_that_is_lost_is_tried_again(said: list[str], tmp_path: Path) -> None:
    engine = EngineProcess(partial(Given, start="lose", once=tmp_path / "tried"), said.append)
    engine.start()
    engine.close()
    ended = ["closed", "Ray did not start (its raylet ended); it is tried again", "closed"]
    assert [words for words in said if not words.startswith("by")] == ended


def test_an_answer_that_was_given_up_is_not_taken_for_another(
    engine: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "_say", interrupt)
    with pytest.raises(KeyboardInterrupt):
        engine.submit([job("a")])  # which it talks about before it answers
    monkeypatch.undo()
    assert engine.stop("a", TrialState.INTERRUPTED) == [f"a {TrialState.INTERRUPTED}"]


def test_one_that_cannot_close_is_killed(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_process, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(own_process, "END_SECONDS", 0.2)
    engine = EngineProcess(Given, said.append)
    engine.start()
    engine._send(own_process._Request(-1, "submit", ([job("hang")],), {}))
    own = process_of(said)
    engine.close()
    assert not own.is_running()


def test_one_that_was_never_started_has_nothing_to_close() -> None:
    EngineProcess(Given, print).close()


def test_it_ends_with_whoever_started_it(engine: EngineProcess, said: list[str]) -> None:
    own = process_of(said)
    assert engine._pipe is not None
    engine._pipe.close()
    gone, _ = psutil.wait_procs([own], timeout=30)
    assert gone == [own]
