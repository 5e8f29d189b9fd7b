"""Temporary folders of processes that were killed."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ssl_sweep.orchestrator.store.scratch import prefix, remove_abandoned

MAKE = (
    "import tempfile; from ssl_sweep.orchestrator.store.scratch import prefix; print(tempfile.mkdtemp(prefix=prefix()))"
)


def test_those_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    left = subprocess.run([sys.executable, "-c", MAKE], check=True, capture_output=True, text=True).stdout.strip()
    (Path(left) / "group-0").mkdir()
    own = tempfile.mkdtemp(prefix=prefix())
    others = [tmp_path / "ssl-sweep-of-something-else", tmp_path / "ssl-sweep-01234567-1-0-elsewhere"]
    for other in others:
        other.mkdir()
    remove_abandoned()
    assert not Path(left).exists()
    assert all(folder.exists() for folder in (Path(own), *others))
