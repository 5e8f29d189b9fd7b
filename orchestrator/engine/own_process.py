"""An engine in a process of its own: what ends that process, as Ray's C++ may, is the loss of an engine and not of the sweep.

Ray ends a process whose cluster has gone, and one that has lost a Ray does not always live through its next. Requests go through
a pipe, one at a time, each with its number: the answer to one that was given up is not taken for that to another.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from ..spec.errors import UserError
from ..store.fault import Fault
from ..store.trial_state import TrialState
from .protocol import EngineLost, Job, TrialEvent
from .sharing import GpuEngine

Say = Callable[[str], None]
START = "import sys; from {module} import serve; serve(int(sys.argv[1]))"
STARTS = 3
CLOSE_SECONDS = 45.0
"""How long the process may take to close its engine."""
END_SECONDS = 5.0
"""How long it may take to end after that."""
LONGEST = 300
"""Characters of its last line that are shown."""


class _Request(NamedTuple):
    number: int
    method: str
    arguments: tuple[Any, ...]
    options: dict[str, bool]


class _Answer(NamedTuple):
    """How a request ended, and what the engine is after it."""

    number: int
    value: Any
    error: Exception | None
    room: int
    gpu: str | None


class EngineProcess:
    """The `Engine` that stands for another, which lives in a process that this one starts."""

    def __init__(self, make: Callable[[Say], GpuEngine], say: Say):
        """`make` makes the engine, is pickled, and is given what takes messages; `say` takes what a user should know."""
        self._make, self._say = make, say
        self._number, self._room = 0, 0
        self._gpu: str | None = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process, and the engine in it; again if it is lost at once, as on a machine with a high load.

        Raises:
            UserError: by the engine, or it was lost each time.
        """
        for left in reversed(range(STARTS)):
            try:
                self._start()
                return
            except EngineLost as error:
                self.close()
                if not left:
                    raise UserError(
                        f"Ray did not start ({STARTS} times): {error}; everything is kept: submit again"
                    ) from None
                self._say(f"Ray did not start ({error}); it is tried again")

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._pipe = Connection(ours.detach())
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process may write
        self._process = subprocess.Popen(
            # no signal of a terminal reaches it or its Ray; -P: it imports nothing from the folder it happens to be in
            [sys.executable, "-P", "-c", START.format(module=__name__), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            start_new_session=True,
        )
        theirs.close()
        self._send(sys.path)  # plug-ins may be on it
        self._send(self._make)
        self._ask("start")

    @property
    def room(self) -> int:
        """How many jobs run at once."""
        return self._room

    @property
    def gpu(self) -> str | None:
        """The model of the GPUs; None if there are none, or several models."""
        return self._gpu

    def submit(self, jobs: list[Job], *, first: bool = False) -> None:
        """Queue jobs."""
        self._ask("submit", jobs, first=first)

    def larger(self, job: Job, fault: Fault) -> Job | None:
        """The job with more memory."""
        return self._ask("larger", job, fault)

    def events(self, timeout: float) -> list[TrialEvent]:
        """What has happened since the last call."""
        return self._ask("events", timeout)

    def stop(self, trial_id: str | None, state: TrialState) -> list[str]:
        """Ask one trial, or all, to end in `state`."""
        return self._ask("stop", trial_id, state)

    def close(self) -> None:
        """Close the engine, and end its process whether it could or not."""
        if self._pipe is None:
            return
        with contextlib.suppress(EngineLost):
            self._ask("close", seconds=CLOSE_SECONDS)
        self._pipe.close()  # at which it ends
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._pipe = None

    def _send(self, message: object) -> None:
        assert self._pipe is not None, "started"
        try:
            self._pipe.send(message)
        except OSError as error:
            raise self._lost() from error

    def _ask(self, method: str, *arguments: Any, seconds: float | None = None, **options: bool) -> Any:
        """What the engine's method returns, or raises. Raises EngineLost if its process ends, or takes longer."""
        assert self._pipe is not None, "started"
        self._number += 1
        self._send(_Request(self._number, method, arguments, options))
        while True:
            if not self._pipe.poll(seconds):
                raise EngineLost(f"no answer for {seconds:g} s")
            try:
                message = self._pipe.recv()
            except (EOFError, OSError) as error:
                raise self._lost() from error
            if isinstance(message, str):
                self._say(message)
            elif message.number == self._number:
                break
        self._room, self._gpu = message.room, message.gpu
        if message.error is not None:
            raise message.error
        return message.value

    def _lost(self) -> EngineLost:
        status = self._process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return EngineLost(f"its process ended {how}" + (f": {last[:LONGEST]}" if last else ""))


def serve(descriptor: int) -> None:
    """In the process: do what comes through the pipe of this descriptor, until the other end has gone."""
    os.set_inheritable(descriptor, False)  # else it stays open as long as any process that this one has started
    pipe = Connection(descriptor)
    try:
        sys.path[:] = pipe.recv()
        make: Callable[[Say], GpuEngine] = pipe.recv()
        engine = make(pipe.send)
        while True:
            pipe.send(_answered(engine, pipe.recv()))
    except (EOFError, OSError):
        os._exit(0)  # at once: what Ray still runs ends with the process that it belongs to


def _answered(engine: GpuEngine, request: _Request) -> _Answer:
    value, error = None, None
    try:
        value = getattr(engine, request.method)(*request.arguments, **request.options)
    except Exception as raised:
        error = _as_told(raised)
    started = error is None and request.method != "close"
    return _Answer(request.number, value, error, engine.room if started else 0, engine.gpu if started else None)


def _as_told(error: Exception) -> Exception:
    """The error as it can be pickled: of a kind that nobody expects, the words of its traceback."""
    if isinstance(error, UserError | EngineLost):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))
