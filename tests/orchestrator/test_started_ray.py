"""Clusters that `ray start` started: which of several is joined, with and without a token."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import COMMAND, TIMEOUT, Running
from ssl_sweep.orchestrator.engine import find_cluster
from ssl_sweep.orchestrator.spec.errors import UserError
from started_ray import OPEN, joined, started, with_token

pytestmark = pytest.mark.slow

SweepFile = Callable[..., Path]
ONE = {"methods": ["random"], "evaluate": ["knn"], "pretrain": {"epochs": 1, "batch_size": 32}}


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's user: neither a token nor the address of a cluster."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (find_cluster.ADDRESS, find_cluster.MODE, *find_cluster.TOKENS):
        monkeypatch.delenv(name, raising=False)


def submit(sweep: Path, address: str, variables: dict[str, str], expect: int) -> str:
    done = subprocess.run(
        [*COMMAND, "submit", str(sweep), "--address", address],
        capture_output=True, text=True, timeout=TIMEOUT, check=False, env={**os.environ, **variables},
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == expect, text
    assert "Traceback" not in text
    return text


def test_a_cluster_with_a_token(ray_folder: Path, sweep_file: SweepFile) -> None:
    sweep = sweep_file(**ONE)
    with started(ray_folder, with_token("a" * 32)) as address:
        said = submit(sweep, address, {}, 2)
        assert (
            f"error: the Ray cluster at '{address}' asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
            in said
        )
        assert "asks for a token" in submit(sweep, address, with_token("b" * 32), 2)
        submit(sweep, address, with_token("a" * 32), 0)
    gone = submit(sweep_file(**ONE, seeds=[1]), address, {}, 2)
    assert f"error: no Ray cluster at '{address}': Connection refused" in gone


def test_a_second_node_is_asked_and_works(ray_folder: Path, sweep_file: SweepFile) -> None:
    with started(ray_folder, OPEN) as address, joined(ray_folder, address, OPEN):
        submit(sweep_file(**ONE, resources={"workers": 2}), address, {}, 0)


def test_auto_is_a_started_cluster_and_no_embedded_ray(ray_folder: Path, sweep_file: SweepFile) -> None:
    long = sweep_file("long.yaml", name="long", pretrain={"epochs": 5000, "batch_size": 32}, evaluate=["knn"])
    running = Running(long)
    try:
        running.wait_for(running.workers)
        raylet = next(child for child in running.descendants() if child.name() == "raylet")
        own = dict(word.split("=", 1) for word in raylet.cmdline() if "=" in word)["--gcs-address"]
        with started(ray_folder, OPEN) as address:
            others = find_cluster._local_addresses()  # those of other tests may be among them
            assert own not in others
            assert address.rpartition(":")[2] in {other.rpartition(":")[2] for other in others}
            assert find_cluster._on_this_machine([own, address]) == address
        assert find_cluster.ask(own) == find_cluster.Unusable(find_cluster.HOW_TO_AUTHENTICATE, asks_for_token=True)
        assert running.process.poll() is None
    finally:
        running.process.terminate()
        running.end(130)


def test_another_program_s_ray_is_not_joined() -> None:
    """It shares the user's token, so it is asked and says what it is."""
    program = (
        "import ray; ray.init('local', num_cpus=1); print(ray.get_runtime_context().gcs_address, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        address = other.stdout.readline().strip()
        with pytest.raises(UserError, match="no Ray cluster runs on this machine"):
            find_cluster._on_this_machine([address])
        other.stdin.write("\n")


def test_two_started_clusters(ray_folder: Path) -> None:
    for name in ("a", "b"):
        (ray_folder / name).mkdir()
    with started(ray_folder / "a", OPEN) as a, started(ray_folder / "b", OPEN) as b:
        with pytest.raises(UserError, match=rf"several Ray clusters run on this machine \({a}, {b}\); name one"):
            find_cluster._on_this_machine([a, b])
        assert [find_cluster.find_cluster(address) for address in (a, b)] == [a, b]
