"""Whole sweeps as a user sees them: in a terminal of 80 columns, in a dumb one, in a pipe, in the POSIX locale.

A full disk and missing permissions: `test_full_store.py`.
"""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SweepFile = Callable[..., Path]
RUN = """
import sys
from ssl_sweep.orchestrator.cli import runs
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.tracking import tracker

class NoTracker:
    def __init__(self, spec, store, uri): self.uri = uri
    def __getattr__(self, name): return lambda *_: True

tracker.Tracker = NoTracker
runs._ray_engine = lambda screen, address, *given: InProcessEngine(*given)
main(sys.argv[1:])
"""
PLAIN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S.*")
CHANGES: dict[str, Any] = {
    "methods": ["random", "simclr"],
    "evaluate": [{"name": "knn", "k": 20}],
    "pretrain": {"epochs": 2, "batch_size": 32, "schedule": {"warmup_epochs": 2}},
}


def submit(path: Path, *options: str, terminal: str | None = None, **variables: str) -> tuple[str, str]:
    """Its stdout and stderr; in a `terminal` of this kind, both in the first."""
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "TERM")} | variables
    command = [sys.executable, "-c", RUN, "submit", str(path), *options]
    if terminal is None:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=400, check=True
        )
        return done.stdout, done.stderr
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 80, 0, 0))
    process = subprocess.Popen(
        command, env=environment | {"TERM": terminal}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    heard = b""
    with os.fdopen(ours, "rb", buffering=0) as stream:
        try:
            while piece := stream.read(4096):
                heard += piece
        except OSError:  # the other end is closed
            pass
    assert process.wait(timeout=400) == 0, heard
    return heard.decode().replace("\r\n", "\n"), ""


def test_a_terminal_of_80_columns(sweep_file: SweepFile) -> None:
    text, _ = submit(sweep_file(**CHANGES), terminal="xterm")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "simclr: the warm-up takes 2 epochs and the training 2" in shown
    assert (
        max(len(line) for line in shown.splitlines() if line.startswith(("trial ", "simclr seed", "random seed"))) <= 80
    )
    headers = [line for line in shown.splitlines() if line.startswith("trial ")]
    assert any("kNN" in header for header in headers) and not any("…" in header for header in headers)
    assert re.search(r"2 finished; [^,\n]+ so far", shown)
    assert "Traceback" not in shown and re.search(r"^report     \S+/report.html$", shown, re.MULTILINE)


@pytest.mark.slow
def test_a_dumb_terminal_in_the_posix_locale(sweep_file: SweepFile) -> None:
    text, _ = submit(sweep_file(**CHANGES), terminal="dumb", LC_ALL="POSIX")
    assert "\x1b" not in text and "Traceback" not in text
    before, _, _ = text.partition("digits, a part of it")
    assert all(PLAIN.fullmatch(line) for line in before.splitlines())
    assert "random seed 0" in before and "finished: kNN" in before


@pytest.mark.slow
def test_a_pipe_with_an_override_as_json(sweep_file: SweepFile, tmp_path: Path) -> None:
    out, err = submit(sweep_file(**CHANGES), "--set", "pretrain.epochs=1", "--json")
    assert '"exit_status": 0' in out and out.startswith("{") and '"scores"' in out
    assert "epoch 1/1" in err and all(PLAIN.fullmatch(line) for line in err.splitlines())
    assert re.search(r"^  epochs: 1$", (tmp_path / "runs/sweeps/small/sweep.yaml").read_text(), re.MULTILINE)
