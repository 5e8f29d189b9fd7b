"""What a large sweep must not pay for: engines without work, repeated reads and writes, tables that nobody reads."""

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from ssl_sweep.orchestrator.cli.live_table import LiveTable
from ssl_sweep.orchestrator.cli.tables import MOST_ROWS, print_status
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.engine.interrupts import Interrupts
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.sweep.status import StatusRow
from ssl_sweep.orchestrator.sweep.submit import EngineMaker, Outcome, run_sweep

NEAR_EMPTY: dict[str, Any] = {"methods": ["random"], "seeds": [0, 1, 2], "evaluate": [{"name": "knn", "k": 20}]}


def submit(path: Path, make_engine: EngineMaker) -> Outcome:
    screen = LiveTable(Console(file=io.StringIO()))
    return run_sweep(path, screen, Interrupts(), make_engine)


def no_engine(*_: object) -> InProcessEngine:
    raise AssertionError("nothing is missing, so nothing needs an engine")


@pytest.mark.slow
def test_a_finished_sweep_is_read_once_and_not_written_again(
    sweep_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sweep_file(**NEAR_EMPTY)
    assert submit(path, InProcessEngine).exit_status == 0
    assert submit(path, no_engine).exit_status == 0  # MLflow's ledger settles
    reads: Counter[str] = Counter()
    writes: list[str] = []
    read, write = Store.read, Store.write

    def noted_read(store: Store, name: str) -> bytes | None:
        reads[name.split("/")[1]] += name.startswith("trials/")
        return read(store, name)

    def noted_write(store: Store, name: str, content: bytes, *, durable: bool = True) -> None:
        writes.append(name.rsplit("/", 1)[-1])
        write(store, name, content, durable=durable)

    monkeypatch.setattr(Store, "read", noted_read)
    monkeypatch.setattr(Store, "write", noted_write)
    outcome = submit(path, no_engine)
    assert [trial.status for trial in outcome.result.trials] == [TrialState.FINISHED] * 3
    assert {reads[trial.trial_id] for trial in outcome.result.trials} == {1}
    assert not {"trials.json", "report.html", "digest", "state.json"} & set(writes)


def test_of_many_trials_those_that_need_attention_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    def row(name: str, state: TrialState) -> StatusRow:
        return StatusRow(name, state, "", 0, 1, [], None)

    rows = [row(f"fine-{i}", TrialState.FINISHED) for i in range(MOST_ROWS)]
    print_status(rows)
    assert capsys.readouterr().out.count("fine-") == MOST_ROWS
    print_status([*rows, row("broken", TrialState.FAILED)])
    shown = capsys.readouterr().out
    assert "broken" in shown
    assert shown.count("fine-") == MOST_ROWS - 1
    assert "100 of 101 trials finished; 100 shown, --json prints all" in " ".join(shown.split())
