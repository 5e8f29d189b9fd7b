"""Commands as jobs on a real Ray Jobs server; it needs `ray[default]`."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import ssl_sweep
from started_ray import free_port, started, with_token

NEEDED = ("aiohttp_cors", "colorful", "opencensus", "prometheus_client", "smart_open", "virtualenv")
absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(absent), reason=f"ray[default] is not installed: {absent}")]

SweepFile = Callable[..., Path]
TINY = {"methods": ["simclr", "random"], "evaluate": ["knn"], "pretrain": {"epochs": 1, "batch_size": 32}}
DIVERGES = {"name": "moco", "pretrain": {"optimizer": {"lr": 1e30}}}


@pytest.fixture
def address(ray_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a server whose jobs run under this Python."""
    token = with_token("c" * 32)
    for name, value in token.items():
        monkeypatch.setenv(name, value)
    ports = {
        name: free_port() for name in ("dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
    }
    options = ["--include-dashboard=true", *(f"--{name}={port}" for name, port in ports.items())]
    variables = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    with started(ray_folder, token | variables, cpus=2, options=options):
        yield f"http://127.0.0.1:{ports['dashboard-port']}"


def test_a_sweep_is_run_looked_at_and_deleted_by_jobs(address: str, sweep_file: SweepFile, tmp_path: Path) -> None:
    """One after another on one server, whose start takes longest."""
    path = sweep_file("mine.yaml", **TINY)
    place = ("--storage", str(tmp_path / "runs"))

    def run(*arguments: object, expect: int = 0) -> str:
        return ssl_sweep(*arguments, "--address", address, expect=expect)

    assert "2 new" in run("resume", path)
    assert "submitted as raysubmit_" in run("submit", path)
    assert "2 of 2 trials finished" in run("status", path)
    assert "2 trials: 2 finished" in run("status", "small", *place, "--watch")
    assert "epoch 1 of 1" in run("logs", "simclr", "-f", *place)
    assert Path(run("path", "simclr", *place).strip()).is_file()
    assert "simclr" in run("diff", "simclr", "random", *place)
    assert "report.html" in run("report", path)
    run("export", path, "--format", "parquet", "-o", tmp_path / "here.parquet")
    assert pq.read_table(tmp_path / "here.parquet").num_rows == 2
    assert "small" in run("du", *place)

    sweep_file("mine.yaml", **TINY | {"methods": [DIVERGES]})
    assert "the loss is not finite" in run("retry", path, "moco", expect=1)
    assert "is not running" in run("stop", path)
    assert "simclr" in run("gc", "--dry-run", *place) and "freed" in run("gc", "--yes", *place)
    assert "deleted    sweep 'small'" in run("rm", path, "--yes")
    assert not list((tmp_path / "runs").glob("trials/*"))
