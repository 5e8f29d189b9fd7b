"""Leases: who drives a sweep or runs a trial, and whether they live. The same on a disk and on an object store.

    <folder>/lease/000001.json  000002.json  …        generations: the highest one counts

A generation is only ever created, so of all that want the next one exactly one gets it; its owner alone rewrites it, to
renew or to release it. A lease that is not renewed for `ttl` seconds has expired, and the next generation may be taken.
One of this machine whose process has gone has expired at once.

Clocks of two machines may differ. A reader that watches a lease uses its own clock alone: unchanged for `ttl` seconds
means expired. At first sight it has only the owner's time to go by, and then allows for `SKEW` seconds of difference.
"""

import contextlib
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Generator
from typing import ClassVar, NamedTuple

from .checked import DamagedError, sealed_record, unsealed_record
from .files import Store, StoreError
from .heartbeat import Heart
from .processes import has_ended, machine, started
from .records import Record
from .segments import segment_names

log = logging.getLogger(__name__)

TTL = 60.0
"""Seconds."""
BEATS = 4
"""Renewals in a `ttl`."""
WATCH_SECONDS = 1.0
"""Between two looks at a damaged lease."""
MENDED = 2 * TTL / BEATS
"""Seconds within which a holder that lives has written a damaged lease anew."""
SKEW = 600.0
"""Seconds by which the clocks of two machines may differ."""


class Clock(NamedTuple):
    """Time, in seconds: what other machines can read, and what never jumps."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


CLOCK = Clock()


class Holder(Record):
    """Who holds a lease, as its file says."""

    lost: ClassVar[str] = "it counts as held until it has been watched for a while"

    id: str
    """Of this lease alone."""
    host: str
    machine: str
    """Boot and process namespace, in which `pid` means something; empty if the system does not tell."""
    pid: int
    started: int
    """When the process started, in the kernel's ticks: numbers of processes are used again."""
    renewed: float
    """Unix time, by the holder's clock."""
    ttl: float
    released: bool = False

    @property
    def is_here(self) -> bool:
        """Whether the holder's process can be looked up from this one."""
        return bool(self.machine) and (self.host, self.machine) == (platform.node(), machine())


class Lease:
    """A lease that this process holds, renewed in the background until it is released."""

    def __init__(self, store: Store, folder: str, generation: int, holder: Holder, clock: Clock):
        self.store, self.folder, self.generation, self.holder, self.clock = store, folder, generation, holder, clock
        self._guard = threading.Lock()
        self._taken = False
        self._renewed = clock.monotonic()

    @property
    def lost(self) -> bool:
        """True once another has taken the lease, or could: it has not been renewed for `ttl` seconds."""
        return self._taken or self.clock.monotonic() - self._renewed > self.holder.ttl

    def renew(self) -> None:
        """Tell the others that the holder lives. The background thread calls it; raises StoreError."""
        self._rewrite(released=False)
        if self._taken:
            _HEART.remove(self)

    def release(self) -> None:
        """Let the next one have it at once. Should the store be out of reach, the lease expires by itself."""
        _HEART.remove(self)
        try:
            try:
                self._rewrite(released=True)
            except StoreError:
                self.store.delete(_name(self.folder, self.generation))  # a full disk has room for that
        except StoreError as error:
            log.warning("a lease could not be released and will expire: %s", error)

    def delete(self) -> None:
        """Give it up with its files: what is in its folder is gone. Unlike `release`, this leaves nothing behind."""
        _HEART.remove(self)
        with self._guard:
            self._taken = True  # a renewal that is under way must not write it again
            for number in _generations(self.store, self.folder):
                if number <= self.generation:
                    self.store.delete(_name(self.folder, number))

    def _rewrite(self, *, released: bool) -> None:
        with self._guard:
            if self._taken or self.holder.released or self.holder.pid != os.getpid():  # a fork holds nothing
                return
            now = self.clock.monotonic()
            generations = _generations(self.store, self.folder)
            if not generations or generations[-1] != self.generation:
                self._taken = True
                log.warning("the lease of %s was taken over by another process", self.store.path(self.folder))
                return
            self.holder = self.holder.model_copy(update={"renewed": self.clock.wall(), "released": released})
            # Not synced: after a power cut of this machine the holder is dead, whatever its lease says.
            self.store.write(_name(self.folder, self.generation), sealed_record(self.holder), durable=False)
            self._renewed = now


def acquire(
    store: Store, folder: str, *, ttl: float = TTL, heartbeat: float | None = None, clock: Clock = CLOCK
) -> Lease | None:
    """Take the lease of `folder` if nobody has it; returns None if somebody has.

    Args:
        store: has the folder; the lease lies in its ``lease/``.
        folder: of a trial or a sweep.
        ttl: seconds without a renewal after which others may take it.
        heartbeat: seconds between renewals; None is a quarter of `ttl`, ``math.inf`` leaves them to the caller.
        clock: to be replaced in tests.
    """
    generation, content = _newest(store, folder)
    if content is not None and _live_holder(store, folder, generation, content, clock, SKEW) is not None:
        return None
    generation += 1
    holder = Holder(
        id=uuid.uuid4().hex, host=platform.node(), machine=machine(), pid=os.getpid(),
        started=started(os.getpid()), renewed=clock.wall(), ttl=ttl,
    )  # fmt: skip
    lease = Lease(store, folder, generation, holder, clock)
    mine = sealed_record(holder)
    # An object store may repeat a request whose answer got lost: then the first one was ours.
    if not store.create(_name(folder, generation), mine) and store.read(_name(folder, generation)) != mine:
        return None
    generations = _generations(store, folder)
    if generations[-1] != generation:  # a number that others have used and deleted since we looked
        store.delete(_name(folder, generation))
        return None
    for old in generations[:-1]:
        store.delete(_name(folder, old))
    _SIGHTINGS.pop((store.location, folder), None)
    _HEART.add(lease, ttl / BEATS if heartbeat is None else heartbeat)
    return lease


@contextlib.contextmanager
def held(store: Store, folder: str, *, ttl: float = TTL, heartbeat: float | None = None) -> Generator[Lease | None]:
    """Hold the lease of `folder` for a block; yields None if somebody else has it. Arguments as in `acquire`.

    A damaged lease is watched first: its holder, if it lives, writes it anew.
    """
    lease = acquire(store, folder, ttl=ttl, heartbeat=heartbeat)
    deadline = time.monotonic() + 2 * MENDED
    while lease is None and _is_damaged(store, folder) and time.monotonic() < deadline:
        time.sleep(WATCH_SECONDS)
        lease = acquire(store, folder, ttl=ttl, heartbeat=heartbeat)
    try:
        yield lease
    finally:
        if lease is not None:
            lease.release()


def holder(store: Store, folder: str, *, clock: Clock = CLOCK) -> Holder | None:
    """Who holds the lease of `folder`, or None. Writes nothing.

    For display: a holder of another machine whose time is up by more than another `ttl` is taken for dead.
    """
    generation, content = _newest(store, folder)
    return None if content is None else _live_holder(store, folder, generation, content, clock, None)


def _is_damaged(store: Store, folder: str) -> bool:
    _, content = _newest(store, folder)
    if content is not None:
        try:
            unsealed_record(content, Holder)
        except DamagedError:
            return True
    return False


def _name(folder: str, generation: int) -> str:
    return f"{folder}/lease/{generation:06d}.json"


def _generations(store: Store, folder: str) -> list[int]:
    return [int(name.rsplit("/", 1)[-1].split(".")[0]) for name in segment_names(store, f"{folder}/lease")]


def _newest(store: Store, folder: str) -> tuple[int, bytes | None]:
    """The highest generation and its content; 0 and None if there is none."""
    while generations := _generations(store, folder):
        content = store.read(_name(folder, generations[-1]))
        if content is not None:  # else a newer owner has deleted it in between
            return generations[-1], content
    return 0, None


# -- whether a holder lives --


class _Sighting(NamedTuple):
    content: bytes
    since: float
    """On this process's own clock."""


_SIGHTINGS: dict[tuple[str, str], _Sighting] = {}
"""Leases of others that this process has seen, by store and folder."""


def _live_holder(
    store: Store, folder: str, generation: int, content: bytes, clock: Clock, skew: float | None
) -> Holder | None:
    """The holder that `content` names, or None if it has released the lease, has died, or its time is up.

    `skew` is allowed for between the clocks of two machines; None is the lease's own `ttl`.
    """
    try:
        found = unsealed_record(content, Holder)
    except DamagedError as error:
        store.report_damage(_name(folder, generation), str(error), Holder.lost)
        found = Holder(id="", host="unknown", machine="", pid=0, started=0, renewed=clock.wall(), ttl=MENDED)
    if found.released or (found.is_here and has_ended(found.pid, found.started)):
        return None
    allowed = 0.0 if found.is_here else found.ttl if skew is None else skew
    if clock.wall() > found.renewed + found.ttl + allowed:
        return None
    seen = _SIGHTINGS.get((store.location, folder))
    if seen is None or seen.content != content:
        _SIGHTINGS[store.location, folder] = _Sighting(content, clock.monotonic())
    elif clock.monotonic() - seen.since > found.ttl:
        return None
    return found


_HEART = Heart()
os.register_at_fork(after_in_child=_HEART.forget)  # a fork has none of the leases, and none of the threads
