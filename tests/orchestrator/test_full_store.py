"""A store that is full or read-only: one sentence, nothing lost, and the sweep goes on once there is room."""

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from ssl_sweep.orchestrator.cli.live_table import LiveTable
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.engine.interrupts import Interrupts
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.store.disk import Disk
from ssl_sweep.orchestrator.sweep.submit import Outcome, run_sweep

SweepFile = Callable[..., Path]


class Room:
    """How many writes the disk still has room for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.left = 10**9
        self.error = errno.ENOSPC
        for name in ("write", "create", "append"):
            monkeypatch.setattr(Disk, name, self.limited(getattr(Disk, name)))

    def limited(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def attempt(disk: Disk, name: str, *arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise OSError(self.error, "No space left on device", f"{disk.root}/{name}")
            return write(disk, name, *arguments, **options)

        return attempt


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(monkeypatch)


def submit(path: Path) -> tuple[Outcome, str]:
    heard = io.StringIO()
    outcome = run_sweep(path, LiveTable(Console(file=heard)), Interrupts(), InProcessEngine)
    return outcome, heard.getvalue()


def scores(outcome: Outcome) -> dict[str, dict[str, float]]:
    return {trial.trial_id: dict(trial.evaluations[0].metrics) for trial in outcome.result.trials}


def test_a_full_disk_ends_the_sweep_in_one_sentence(sweep_file: SweepFile, room: Room, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"methods": ["simclr"], "evaluate": [{"name": "knn", "k": 20}], "seeds": [0, 1]}
    changes["resources"] = {"checkpoint_minutes": 0}
    used = room.left
    undisturbed, _ = submit(sweep_file("whole.yaml", **changes, name="whole"))
    used -= room.left
    for part in (0.0, 0.2, 0.4, 0.6):
        sweep = sweep_file(**changes, storage=str(tmp_path / f"full-{part}"))
        room.left = int(used * part)
        with pytest.raises(UserError, match=r"storage '\S+full-\S+' cannot be used: No space left on device"):
            submit(sweep)
        room.left = 10**9
    outcome, heard = submit(sweep)
    assert outcome.exit_status == 0 and scores(outcome) == scores(undisturbed)
    assert "failed before" not in heard  # the trials were only interrupted


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_store_that_is_read_only_says_so(error: int, sweep_file: SweepFile, room: Room) -> None:
    room.left, room.error = 0, error
    with pytest.raises(UserError, match=r"storage '\S+' cannot be used"):
        submit(sweep_file())
