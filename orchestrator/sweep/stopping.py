"""Stopping a sweep through its store: a request names the lease of the driver that it means, which looks for it.

    <storage>/sweeps/<name>/stop.json

A request for an earlier driver never stops a later one: each lease has an id of its own.
"""

import contextlib
import logging
import threading
from collections.abc import Generator
from typing import ClassVar, NamedTuple

from ..engine.interrupts import Interrupts
from ..spec.errors import UserError
from ..store.files import StoreError
from ..store.lease import Holder, holder
from ..store.records import Record
from .place import Place
from .watch import until_released

log = logging.getLogger(__name__)

LOCAL_SECONDS = 2.0
"""Between two looks for a request."""
OBJECT_SECONDS = 15.0
"""On an object store, where each look costs money."""


class StopRequest(Record):
    """Asks a driver to end its sweep."""

    lost: ClassVar[str] = "nobody is asked to stop"

    lease: str
    """`Holder.id` of the driver that is meant."""
    at_once: bool = False
    """It was asked for a second time: nothing is waited for."""


class Asked(NamedTuple):
    """A driver that was asked to stop."""

    driver: Holder
    at_once: bool


def ask_to_stop(place: Place) -> Asked | None:
    """Ask the sweep's driver to end it; asked again, to end it at once. Returns None if nobody drives it.

    Raises:
        UserError: its lease is damaged, so that it cannot be said who is meant.
    """
    driver = holder(place.store, place.folder)
    if driver is None:
        return None
    if not driver.id:
        raise UserError(f"the lease of sweep '{place.name}' is damaged; its driver writes it anew soon: try again")
    name = _name(place)
    before = place.store.read_record(name, StopRequest)
    again = before is not None and before.lease == driver.id
    place.store.write_record(name, StopRequest(lease=driver.id, at_once=again))
    return Asked(driver, again)


def wait_for_end(place: Place, driver: Holder) -> None:
    """Return once the sweep has this driver no more: it has ended, or another one has begun."""
    for _ in until_released(place.store, place.folder):
        now = holder(place.store, place.folder)
        if now is not None and now.id and now.id != driver.id:
            return


@contextlib.contextmanager
def heeding_requests(place: Place, lease: str, interrupts: Interrupts) -> Generator[None]:
    """While the block runs, pass requests that name the `lease` on as the user's signals."""
    ended = threading.Event()
    thread = threading.Thread(target=_look, args=(place, lease, interrupts, ended), name="stop requests", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()


def _look(place: Place, lease: str, interrupts: Interrupts, ended: threading.Event) -> None:
    seconds = LOCAL_SECONDS if place.store.is_local else OBJECT_SECONDS
    asked = False
    while not ended.wait(seconds):
        try:
            request = place.store.read_record(_name(place), StopRequest)
        except StoreError as error:  # the next look tries again
            log.debug("%s", error)
            continue
        if request is None or request.lease != lease or (asked and not request.at_once):
            continue
        if not ended.is_set():
            interrupts.request(at_once=request.at_once)
        asked = True
        if request.at_once:
            return


def _name(place: Place) -> str:
    return f"{place.folder}/stop.json"
