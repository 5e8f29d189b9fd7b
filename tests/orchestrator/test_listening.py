"""What a sweep without `--address` listens on: loopback, in every process and while its workers talk to each other."""

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from command import Running
from ssl_sweep.orchestrator.api.environment import configure

SweepFile = Callable[..., Path]


def listening(processes: list[psutil.Process]) -> dict[str, set[str]]:
    """Names of processes, and the addresses on which each listens."""
    found: dict[str, set[str]] = {}
    for process in processes:
        try:
            sockets = [item for item in process.net_connections("inet") if item.status == psutil.CONN_LISTEN]
            found.setdefault(process.name(), set()).update(item.laddr.ip for item in sockets)
        except psutil.NoSuchProcess:
            continue
    return found


def is_loopback(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


@pytest.mark.slow
def test_everything_listens_on_loopback_alone(sweep_file: SweepFile, tmp_path: Path) -> None:
    path = sweep_file(
        pretrain={"epochs": 5000, "batch_size": 32}, evaluate=["knn"], resources={"workers": 2, "gpus_per_worker": 0}
    )
    running = Running(path)
    try:
        running.wait_for(lambda: "epoch 2/" in running.log.read_text())
        found = listening([psutil.Process(running.process.pid), *running.descendants()])
        assert {"gcs_server", "raylet", "ray::RayTrainWorker"} <= {name for name, where in found.items() if where}
        assert {name: where for name, where in found.items() if not all(map(is_loopback, where))} == {}
        environment = psutil.Process(running.process.pid).children(recursive=True)[0].environ()
        token = environment["RAY_AUTH_TOKEN"]
        assert (len(token), environment["RAY_AUTH_MODE"]) == (64, "token")
        assert token not in running.log.read_text()
    finally:
        running.process.terminate()
        running.end(130)
    kept = [file for file in (tmp_path / "runs").rglob("*") if file.is_file() and token.encode() in file.read_bytes()]
    assert kept == []


def test_an_embedded_ray_has_a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the user's clusters have none; joining a cluster changes nothing of how it is joined."""
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "GLOO_SOCKET_IFNAME")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    configure()
    assert [os.environ.get(name) for name in names] == [None] * len(names)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    configure(embedded=True)
    mode, token, cluster, interface = (os.environ.pop(name) for name in names)
    assert (mode, len(token), cluster, interface) == ("token", 64, "0", "lo")
