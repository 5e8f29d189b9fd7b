"""A worker's sign of life: a thread that tells the board of it, and logs where the worker is if the board asks."""

import logging
import sys
import threading
import traceback
from typing import Any

import ray
from ray.exceptions import RayError

from ..trial.runtime import Runtime
from .beats import BEATS, Beat, silent_seconds
from .group_config import GroupConfig

log = logging.getLogger(__name__)


class Heartbeat:
    """Beats until the process ends."""

    def __init__(self, board: Any, config: GroupConfig, runtime: Runtime):
        """Start it; `board` is the actor's handle."""
        self.board, self.group, self.runtime = board, config.name, runtime
        self.interval = silent_seconds(config.hang_seconds) / BEATS
        context = ray.get_runtime_context()
        self.node, self.actor = context.get_node_id(), context.current_actor
        self.has_said = False
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            beat = Beat(self.runtime.rank, self.node, self.actor, self.runtime.pulse.idle_seconds)
            try:
                asked = ray.get(self.board.beat.remote(self.group, beat))
            except RayError:  # the board has gone: the engine will end this process
                return
            if asked and not self.has_said:
                log.error("the trial seems to hang; this rank is at:\n%s", _stacks())
            self.has_said = asked
            pause.wait(self.interval)


def _stacks() -> str:
    """Where each thread is."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return "\n".join(
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # pyright: ignore[reportPrivateUsage]  # documented by Python
        if ident != threading.get_ident()
    )
