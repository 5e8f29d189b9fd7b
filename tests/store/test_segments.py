"""Lines that are added to the store, by several writers, and with damage."""

from pathlib import Path

import pytest
from racing import PROCESSES, ROUNDS, winners
from ssl_sweep.orchestrator.store.events import EpochDone, Event
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.segments import Segments
from ssl_sweep.orchestrator.store.trial_folder import TrialStore


def test_lines_come_back_in_their_order(store: Store) -> None:
    writer = Segments(store, "t/events")
    writer.add(['{"a": 1}', '{"a": "}"}'])
    writer.add(['{"b": {"crc": "01234567"}}'])
    assert Segments(store, "t/events").lines() == ['{"a": 1}', '{"a": "}"}', '{"b": {"crc": "01234567"}}']


def test_a_writer_keeps_to_its_own_segments(store: Store) -> None:
    one, other = Segments(store, "events"), Segments(store, "events")
    for i in range(3):
        one.add([f'{{"one": {i}}}'])
        other.add([f'{{"other": {i}}}'])
    assert sorted(one.lines()) == sorted([f'{{"{who}": {i}}}' for who in ("one", "other") for i in range(3)])
    assert len(store.names("events")) == (2 if store.is_local else 6)  # objects are never written again


def _add(store: Store, number: int) -> bool:
    Segments(store, "events").add([f'{{"round": {number}}}'])
    return True


def test_no_line_of_many_writers_is_lost(location: str) -> None:
    everyone = 2 * (PROCESSES + 1)
    assert winners(location, _add, threads=2) == [everyone] * ROUNDS
    lines = Segments(Store(location), "events").lines()
    assert sorted(lines) == sorted(f'{{"round": {i}}}' for i in range(ROUNDS) for _ in range(everyone))


def test_what_an_earlier_version_wrote_comes_first(store: Store) -> None:
    store.write("events.jsonl", b'{"a": 1}\n{"a": 2}\n')
    Segments(store, "events").add(['{"a": 3}'])
    assert Segments(store, "events").lines() == ['{"a": 1}', '{"a": 2}', '{"a": 3}']


@pytest.mark.parametrize("file", ["events.jsonl", "events/000001.jsonl"])
def test_a_line_that_a_crash_cut_is_left_out(file: str, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    if file == "events.jsonl":
        store.write(file, b'{"a": 1}\n{"a": 2}\n')
    else:
        Segments(store, "events").add(['{"a": 1}', '{"a": 2}'])
    content = store.read(file)
    assert content is not None
    start = content.index(b"\n") + 1
    for cut in range(start + 1, len(content), 1 if store.is_local else 9):
        store.write(file, content[:cut])
        caplog.clear()
        assert Segments(store, "events").lines() == ['{"a": 1}']
    store.write(file, content[:-3])
    Segments(store, "events").add(['{"a": 3}'])
    assert Segments(Store(store.location), "events").lines() == ['{"a": 1}', '{"a": 3}']
    assert store.path(file) in caplog.text


def test_every_flipped_bit_is_noticed(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    Segments(store, "events").add(['{"loss": 1.25}', '{"loss": 1.5}'])
    name = "events/000001.jsonl"
    content = store.read(name)
    assert content is not None
    for position in range(0, len(content), 1 if store.is_local else 11):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        store.write(name, bytes(damaged))
        assert set(Segments(Store(store.location), "events").lines()) < {'{"loss": 1.25}', '{"loss": 1.5}'}
    assert f"{store.path(name)} is damaged (line 1): the line is left out" in caplog.text


def test_a_line_that_was_cut_spoils_no_other(tmp_path: Path) -> None:
    """A log on a disk goes on after a crash."""
    store = Store(str(tmp_path))
    (tmp_path / "log.txt").write_bytes(b"whole\ncut")
    store.append("log.txt", ["next"])
    assert (tmp_path / "log.txt").read_bytes() == b"whole\ncut\nnext\n"


def test_a_write_that_failed_ends_the_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    writer = Segments(store, "events")
    writer.add(['{"a": 1}'])

    def half(self: Store, name: str, lines: list[str]) -> None:
        with (tmp_path / name).open("a") as stream:
            stream.write(lines[0][:3])
        raise OSError

    with monkeypatch.context() as broken:
        broken.setattr(Store, "append", half)
        with pytest.raises(OSError):
            writer.add(['{"a": 2}'])
    writer.add(['{"a": 3}'])
    assert writer.lines() == ['{"a": 1}', '{"a": 3}']


def test_the_later_event_of_a_step_counts(store: Store) -> None:
    def epochs(loss: float, *numbers: int) -> list[Event]:
        rest = {"lr": 0.1, "images_per_second": 1.0, "seconds": 1.0, "epochs": 3}
        return [EpochDone(epoch=i, step=10 * i, loss=loss - i, **rest) for i in numbers]

    attempts = [TrialStore(store, "a") for _ in range(2)]
    attempts[0].add_events(epochs(4.0, 1, 2))
    attempts[1].add_events(epochs(5.0, 2, 3))
    history = attempts[0].history()
    assert [(record.epoch, record.loss) for record in history] == [(1, 3.0), (2, 3.0), (3, 2.0)]
