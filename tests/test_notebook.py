"""The notebook of docs/python.md: its cells run, in their order, as a notebook runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parent.parent / "docs" / "python.ipynb"


def cells() -> list[str]:
    """The code cells."""
    found = json.loads(NOTEBOOK.read_text())
    return ["".join(cell["source"]) for cell in found["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_stored_without_outputs() -> None:
    found = json.loads(NOTEBOOK.read_text())["cells"]
    assert [cell["id"] for cell in found if cell.get("outputs") or cell.get("execution_count")] == []


def test_the_cells_are_python_and_use_every_function() -> None:
    text = "\n".join(cells())
    compile(text, NOTEBOOK.name, "exec")
    for name in ("load", "plan", "submit", "results", "load_backbone"):
        assert f"ssl_sweep.{name}(" in text


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_cells_run(tmp_path: Path) -> None:
    script = tmp_path / "cells.py"
    script.write_text("\n".join(cells()))
    environment = os.environ | {"SSL_SWEEP_DATA": str(tmp_path / "data")}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "simclr 0 knn/" in done.stdout
    assert (tmp_path / "runs" / "sweeps" / "notebook" / "report" / "report.html").exists()
