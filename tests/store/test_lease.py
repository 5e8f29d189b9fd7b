"""Leases: one holder, a dead one's successor, and one who learns that it was taken over. No test waits for time to pass."""

import math
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest
from racing import ROUNDS, winners
from ssl_sweep.orchestrator.store import lease as module
from ssl_sweep.orchestrator.store.checked import sealed_record
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.heartbeat import Heart
from ssl_sweep.orchestrator.store.lease import SKEW, TTL, Clock, Lease, acquire, held, holder

FOLDER = "trials/a"


@dataclass
class Time:
    """A clock that is set by hand; `skew` is what its wall shows too much."""

    now: float = 1000.0
    skew: float = 0.0

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now + self.skew, lambda: self.now)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SIGHTINGS", {})


def foreign(store: Store, time: Time, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """A lease that a process of another machine took; it renews when it is told to."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(module, "machine", lambda: "another boot, another namespace")
        lease = acquire(store, FOLDER, heartbeat=math.inf, clock=time.clock)
    assert lease is not None
    return lease


def mine(store: Store, time: Time) -> Lease | None:
    return acquire(store, FOLDER, heartbeat=math.inf, clock=time.clock)


def test_one_holds_it_and_the_next_follows(store: Store) -> None:
    assert holder(store, FOLDER) is None
    assert store.names("") == []
    with held(store, FOLDER) as lease:
        assert lease is not None and not lease.lost
        seen = holder(store, FOLDER)
        assert seen is not None and seen.id == lease.holder.id and seen.is_here
        assert acquire(store, FOLDER) is None
        with held(store, FOLDER) as other:
            assert other is None
    assert holder(store, FOLDER) is None
    for generation in (2, 3):
        again = acquire(store, FOLDER)
        assert again is not None and again.generation == generation
        again.release()
        again.release()
    assert store.names(f"{FOLDER}/lease") == ["000003.json"]


def _acquire(store: Store, number: int) -> bool:
    return acquire(store, f"race/{number}") is not None


def test_one_of_all_that_want_it_gets_it(location: str) -> None:
    assert winners(location, _acquire) == [1] * ROUNDS


def _take_over(store: Store, number: int) -> bool:
    return acquire(store, f"over/{number}") is not None


def test_one_of_all_that_take_it_over_gets_it(location: str) -> None:
    store = Store(location)
    for number in range(ROUNDS):
        lease = acquire(store, f"over/{number}")
        assert lease is not None
        lease.release()
    assert winners(location, _take_over) == [1] * ROUNDS


def test_a_watched_lease_expires(store: Store, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    other = foreign(store, time, monkeypatch)
    assert mine(store, time) is None
    time.now += TTL / 2
    other.renew()
    time.now += TTL / 2 + 1
    assert mine(store, time) is None  # renewed since it was first seen
    time.now += TTL / 2
    assert mine(store, time) is None
    time.now += TTL / 2 + 1
    lease = mine(store, time)
    assert lease is not None and not lease.lost
    assert other.lost
    assert holder(store, FOLDER, clock=time.clock) == lease.holder


def test_its_holder_learns_that_it_was_taken_over(
    store: Store, time: Time, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = foreign(store, time, monkeypatch)
    mine(store, time)
    time.now += TTL + 1
    lease = mine(store, time)
    assert lease is not None
    other.renew()
    assert other.lost
    assert "was taken over by another process" in caplog.text
    before = store.read(f"{FOLDER}/lease/000002.json")
    other.release()  # neither ends the new one's lease
    assert store.read(f"{FOLDER}/lease/000002.json") == before
    lease.renew()
    assert not lease.lost


def test_a_holder_that_cannot_renew_counts_itself_as_lost(
    store: Store, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = mine(store, time)
    assert lease is not None
    time.now += TTL + 1
    assert lease.lost
    lease.renew()  # nobody has taken it in between
    assert not lease.lost


@pytest.mark.parametrize("skew", [-SKEW, SKEW])
def test_clocks_may_differ(skew: float, store: Store, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(store, time, monkeypatch)
    assert mine(store, Time(time.now, skew)) is None


def test_at_first_sight_the_holder_s_time_counts(store: Store, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign(store, time, monkeypatch)
    assert mine(store, Time(time.now + TTL + SKEW - 1)) is None
    module._SIGHTINGS.clear()  # pyright: ignore[reportPrivateUsage]
    assert mine(store, Time(time.now + TTL + SKEW + 1)) is not None


def test_what_status_shows_of_a_dead_machine(store: Store, time: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    other = foreign(store, time, monkeypatch)
    names = store.names(f"{FOLDER}/lease")
    assert holder(store, FOLDER, clock=Time(time.now + TTL).clock) == other.holder
    module._SIGHTINGS.clear()  # pyright: ignore[reportPrivateUsage]
    assert holder(store, FOLDER, clock=Time(time.now + 2 * TTL + 1).clock) is None
    assert store.names(f"{FOLDER}/lease") == names


HOLD = """
import sys
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.lease import acquire
lease = acquire(Store(sys.argv[1]), "trials/a", ttl=3600)
print(lease is not None, flush=True)
sys.stdin.read()
"""


def test_a_killed_process_of_this_machine_holds_nothing(store: Store) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, store.location], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert acquire(store, FOLDER) is None
        process.kill()
        process.wait()
        lease = acquire(store, FOLDER)
        assert lease is not None
        lease.release()


def test_a_number_that_another_process_has_now(store: Store, time: Time) -> None:
    lease = mine(store, time)
    assert lease is not None
    earlier = lease.holder.model_copy(update={"started": lease.holder.started - 1})
    store.write(f"{FOLDER}/lease/000001.json", sealed_record(earlier))
    assert mine(store, time) is not None


def test_a_slow_taker_does_not_win_a_number_that_was_used(
    store: Store, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = mine(store, time)
    assert first is not None
    first.release()
    stale = store.read(f"{FOLDER}/lease/000001.json")
    second = mine(store, time)
    assert second is not None
    second.release()
    third = mine(store, time)
    assert third is not None
    with monkeypatch.context() as slow:
        slow.setattr(module, "_newest", lambda store, folder: (1, stale))
        assert mine(store, time) is None
    assert store.names(f"{FOLDER}/lease") == ["000003.json"]
    third.renew()
    assert not third.lost


def test_a_damaged_lease_is_held_until_it_has_been_watched(
    store: Store, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    store.write(f"{FOLDER}/lease/000001.json", b"{")
    assert mine(store, time) is None
    time.now += TTL + 1
    assert mine(store, time) is not None
    assert f"{store.path(FOLDER)}/lease/000001.json is damaged" in caplog.text


def test_who_meets_a_damaged_lease_watches_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to submit twice: its holder, if it lived, would write it anew."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.0)
    monkeypatch.setattr(module, "MENDED", 0.1)
    store.write(f"{FOLDER}/lease/000001.json", b"{")
    with held(store, FOLDER) as lease:
        assert lease is not None
    assert holder(store, FOLDER) is None


def test_leases_are_renewed_in_the_background(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one thread for all, which ends when nothing is held."""
    heart = Heart()
    monkeypatch.setattr(module, "_HEART", heart)
    renewed = {name: threading.Semaphore(0) for name in ("a", "b")}
    renew = Lease.renew

    def noted(self: Lease) -> None:
        renew(self)
        if self.folder in renewed:  # leases of other tests may be alive
            renewed[self.folder].release()

    monkeypatch.setattr(Lease, "renew", noted)
    leases = [acquire(store, name, heartbeat=0.01) for name in renewed]
    assert None not in leases
    first = [store.read(f"{name}/lease/000001.json") for name in renewed]
    assert all(renewed[name].acquire(timeout=60) for name in [*renewed, *renewed])
    assert [store.read(f"{name}/lease/000001.json") for name in renewed] != first
    thread = heart.thread
    assert [other.name for other in threading.enumerate()].count("leases") >= 1
    for lease in leases:
        assert lease is not None
        lease.release()
    assert thread is not None
    thread.join(60)
    assert not thread.is_alive()
    assert [holder(store, name) for name in renewed] == [None, None]
