"""The live table of a sweep that another process drives, from its store alone."""

from collections.abc import Sequence

from ..store.lease import holder
from ..store.planned import StoredTrial
from ..store.trial_status import TrialStatus
from ..sweep.view import SweepView, view_sweep
from ..sweep.watch import until_released
from .live_table import LiveTable


def watch_sweep(sweep: str, storage: str, overrides: Sequence[str] = ()) -> None:
    """Show a sweep until its driver has ended; without a terminal, a line for each change of a trial."""
    from rich.console import Console

    view = view_sweep(sweep, storage, overrides)
    place = view.place
    screen = LiveTable(Console())
    screen.on_store(place.store)
    driver = holder(place.store, place.folder)
    screen.on_trials(*_statuses(view))
    if driver is not None:
        screen.on_message(f"sweep '{place.name}' runs on {driver.host} (process {driver.pid}); {screen.summary()}")
    with screen.live():
        for _ in until_released(place.store, place.folder):
            view = view.again()
            screen.on_statuses(*_statuses(view))
    screen.on_message(f"sweep '{place.name}' {'is not running' if driver is None else 'has ended'}; {screen.summary()}")


def _statuses(view: SweepView) -> tuple[Sequence[StoredTrial], list[TrialStatus]]:
    return view.trials, [view.state.trials[item.trial_id] for item in view.trials]
