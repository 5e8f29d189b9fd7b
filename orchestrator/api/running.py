"""Runs a sweep in this process: the environment, Ray in a process of its own, and what shows it to the user."""

import contextlib
import logging
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .environment import configure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...datasets.prepared import Prepared
    from ..engine.interrupts import Interrupts
    from ..engine.protocol import Engine
    from ..engine.sharing import GpuEngine
    from ..spec.models import SweepSpec
    from ..store.events import Event
    from ..store.files import Store
    from ..store.planned import PlannedTrial
    from ..store.trial_status import TrialStatus
    from ..sweep.choice import Choice
    from ..sweep.submit import Outcome, Screen

Say = Callable[[str], None]
log = logging.getLogger(__name__)


def run(
    path: Path,
    screen: "Screen",
    stop: "Interrupts",
    choice: "Choice",
    *,
    address: str | None = None,
    replace: bool = False,
    overrides: "Sequence[str]" = (),
) -> "Outcome":
    """Run a sweep on Ray, as `run_sweep` does.

    Args:
        path: the sweep file.
        screen: shows the sweep.
        stop: whether the user wants it to end.
        choice: which trials to run.
        address: of the Ray cluster, ``auto`` or ``HOST:PORT``; None: Ray is started here, for this sweep alone.
        replace: take over the name of a sweep that another file defined.
        overrides: as of `load_spec`.

    Raises:
        UserError: as `run_sweep`.
        KeyboardInterrupt: as `run_sweep`.
    """
    configure(embedded=address is None)
    from ..sweep.submit import run_sweep

    engine = partial(_ray_engine, screen, address)
    return run_sweep(path, screen, stop, engine, replace=replace, choice=choice, overrides=overrides)


def _ray_engine(screen: "Screen", address: str | None, spec: "SweepSpec", store: "Store", data_root: Path) -> "Engine":
    from ..engine.own_process import EngineProcess
    from ..engine.sharing import SharingEngine

    resources, say = spec.resources, screen.on_message
    engine = EngineProcess(partial(_in_its_process, spec, store, data_root, address), say)
    return SharingEngine(engine, store, say, compiled=resources.compile, max_failures=resources.max_failures)


def _in_its_process(spec: "SweepSpec", store: "Store", data_root: Path, address: str | None, say: Say) -> "GpuEngine":
    """Called in the engine's own process: no other imports Ray."""
    from ..engine.ray_engine import RayEngine

    return RayEngine(spec, store, data_root, address, say)


class Messages:
    """A `Screen` that passes on sentences about the sweep and draws nothing."""

    def __init__(self, say: Say = log.info):
        self._say = say

    def on_message(self, text: str) -> None:
        self._say(text)

    def on_store(self, store: "Store") -> None:
        pass

    def on_trials(self, trials: "Sequence[PlannedTrial]", statuses: "Sequence[TrialStatus]") -> None:
        pass

    def on_event(self, item: "PlannedTrial", event: "Event", status: "TrialStatus") -> None:
        pass

    @contextlib.contextmanager
    def preparing(self, name: str) -> Generator[Callable[[int, int], None]]:
        yield lambda _done, _total: None

    def on_dataset(self, prepared: "Prepared") -> None:
        from ...datasets.remarks import remarks

        for remark in remarks(prepared):
            self.on_message(f"{prepared.title or prepared.name}: {remark}")

    @contextlib.contextmanager
    def live(self) -> Generator[None]:
        yield
