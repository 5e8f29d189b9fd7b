"""Small sweeps on the digits, and a place for their prepared data."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import yaml
from in_process import SMALL
from ssl_sweep.orchestrator.api.environment import configure

if TYPE_CHECKING:
    from by_hand import SweepByHand

configure()  # as every command does


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Sums have one order, here as in the workers that are compared."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of pytest-xdist are told of a terminal of 80 columns, which would fold the tables of commands."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def _own_data(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_SWEEP_DATA", str(data_root))


@pytest.fixture
def sweep_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes `SMALL` with changes to a file; storage is in the test's folder."""

    def write(file: str = "sweep.yaml", **changes: Any) -> Path:
        path = tmp_path / file
        path.write_text(yaml.safe_dump({**SMALL, "storage": str(tmp_path / "runs"), **changes}, sort_keys=False))
        return path

    return write


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """For clusters: sockets have paths of at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ray-") as name:
        yield Path(name)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be copied: MLflow takes seconds to make its tables."""
    from ssl_sweep.orchestrator.tracking.database import ready

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    ready(f"sqlite:///{path}")
    return path


@pytest.fixture
def sweep(sweep_file: Callable[..., Path], empty_database: Path, tmp_path: Path) -> "SweepByHand":
    """A sweep over an empty store, to be filled by hand."""
    from by_hand import SweepByHand

    (tmp_path / "runs").mkdir()
    shutil.copy(empty_database, tmp_path / "runs" / "mlflow.db")
    return SweepByHand(sweep_file(evaluate=[{"name": "knn", "k": 20}]))
