"""Commands as jobs on a cluster: what travels, what comes back. The server runs a job's command in its folder, as Ray's does."""

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import click
import pytest
import ray.job_submission
from by_hand import TRIAL, SweepByHand
from click.testing import CliRunner
from ray.job_submission import JobStatus
from ssl_sweep.orchestrator.cli.file_in_output import print_file
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.engine.ray_job import MARK
from ssl_sweep.orchestrator.sweep.results import write_trials

ADDRESS = "http://head:8265"


class Server:
    """In the place of Ray's client; `node` is the disk of the cluster's head."""

    node: Path = Path()
    entrypoints: ClassVar[list[str]] = []
    variables: ClassVar[dict[str, str]] = {}
    status = 0
    noise = "INFO job_manager.py -- Runtime env is setting up.\n"
    broken = False
    printed: str | None = None
    """What a job prints, instead of its command."""

    def __init__(self, address: str):
        if address != ADDRESS:
            raise ConnectionError(f"Failed to connect to Ray at address: {address}.\nmore")

    def submit_job(self, *, entrypoint: str, runtime_env: dict[str, Any]) -> str:
        Server.entrypoints.append(entrypoint)
        shutil.copytree(runtime_env["working_dir"], Server.node / "job", dirs_exist_ok=True)
        (code,) = runtime_env["py_modules"]
        shutil.copytree(code, Server.node / "modules" / Path(code).name, dirs_exist_ok=True)
        Server.variables = runtime_env["env_vars"]
        return "raysubmit_1"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield Server.noise
        if Server.broken:
            return
        environment = os.environ | Server.variables | {"PYTHONPATH": str(Server.node / "modules")}
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        command = Server.entrypoints[-1]
        if Server.printed is not None:
            yield f"{MARK}\n{Server.printed}"
            return
        done = subprocess.run(
            command, shell=True, cwd=Server.node / "job", env=environment, stdout=-1, stderr=-2, text=True, check=False
        )
        Server.status = done.returncode
        mark, _, text = done.stdout.partition("\n")
        output = f"{mark}\nRunning entrypoint for job {job}: {command}\n{text}"
        half = len(output) // 2
        for part in (output[:10], output[10:half], output[half:]):
            yield part

    def get_job_info(self, job: str) -> SimpleNamespace:
        if Server.broken:
            return SimpleNamespace(status=JobStatus.FAILED, driver_exit_code=None, message="no runtime environment")
        status = JobStatus.FAILED if Server.status else JobStatus.SUCCEEDED
        return SimpleNamespace(status=status, driver_exit_code=Server.status, message="")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Server]:
    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", Server)
    monkeypatch.setattr(Server, "node", tmp_path / "node")
    monkeypatch.setattr(Server, "entrypoints", [])
    monkeypatch.setattr(Server, "broken", False)
    monkeypatch.setattr(Server, "status", 0)
    return Server


def ssl_sweep(*arguments: object, expect: int = 0) -> str:
    done = CliRunner().invoke(main, [*map(str, arguments), "--address", ADDRESS], catch_exceptions=False)
    assert done.exit_code == expect, done.output
    return done.output


def test_the_answer_and_the_exit_status_come_back(server: type[Server], sweep: SweepByHand, tmp_path: Path) -> None:
    """And nothing of what Ray says before."""
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.begin()
    place = ("--storage", sweep.store.location)
    text = ssl_sweep("status", "small", *place, "--json")
    assert text.startswith("[\n") and TRIAL in text
    assert "has no log yet; it is interrupted (pretrain)" in ssl_sweep("logs", "simclr seed 0", *place, expect=2)
    assert "is not running" in ssl_sweep("stop", tmp_path / "sweep.yaml")
    assert server.entrypoints[-1].endswith("main stop sweep.yaml")
    assert (server.node / "job/sweep.yaml").read_bytes() == (tmp_path / "sweep.yaml").read_bytes()


def test_a_sweep_is_driven_there(server: type[Server], sweep: SweepByHand, tmp_path: Path) -> None:
    server.broken = True  # nothing is run
    text = ssl_sweep("retry", tmp_path / "sweep.yaml", "simclr seed 0", expect=2)
    assert text == f"error: the job at '{ADDRESS}' did not begin: no runtime environment\n"
    assert server.entrypoints[-1].endswith("main retry sweep.yaml 'simclr seed 0' --address auto")
    ssl_sweep("resume", tmp_path / "sweep.yaml", expect=2)
    assert server.entrypoints[-1].endswith("main resume sweep.yaml --address auto")
    assert "submitted as raysubmit_1" in ssl_sweep("submit", tmp_path / "sweep.yaml")
    assert server.entrypoints[-1].endswith("main submit sweep.yaml --address auto")


def test_what_a_trial_has_is_looked_at_there(server: type[Server], sweep: SweepByHand, tmp_path: Path) -> None:
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.run()
    place = ("--storage", sweep.store.location)
    assert ssl_sweep("path", "simclr seed 0", *place) == f"{sweep.store.location}/trials/{TRIAL}/backbone.safetensors\n"
    assert "finished" in ssl_sweep("diff", TRIAL, "simclr seed 0", *place)
    assert "two sweep files are compared here" in ssl_sweep(
        "diff", tmp_path / "sweep.yaml", tmp_path / "sweep.yaml", expect=2
    )
    assert "name an absolute path there" in ssl_sweep("features", TRIAL, "out.parquet", *place, expect=2)


def test_what_a_store_takes_is_deleted_there(server: type[Server], sweep: SweepByHand, tmp_path: Path) -> None:
    write_trials(sweep.spec, [sweep.item], sweep.store)
    sweep.run()
    sweep.store.write("trials/simclr-alone-0123456789/trial.json", bytes(1000))
    place = ("--storage", sweep.store.location)
    assert "small" in ssl_sweep("du", *place)
    for command, problem in ((("rm", "small"), "add --yes"), (("gc",), "add --yes, or --dry-run")):
        assert problem in ssl_sweep(*command, *place, expect=2)
    assert "simclr-alone" in ssl_sweep("gc", "--dry-run", *place) and "freed" in ssl_sweep("gc", "--yes", *place)
    assert "deleted    sweep 'small'" in ssl_sweep("rm", tmp_path / "sweep.yaml", "--yes")
    assert sweep.store.names("sweeps") == sweep.store.names("trials") == []


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_exported_results_come_here(
    kind: str, server: type[Server], sweep: SweepByHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte; what else the job prints goes to stderr."""
    content = bytes(range(256)) * 60
    sent = CliRunner().invoke(click.Command("send", callback=lambda: print_file(content))).output
    monkeypatch.setattr(server, "printed", f"warning: of the job\n{sent}")
    out = tmp_path / "results"
    text = ssl_sweep("export", tmp_path / "sweep.yaml", "--format", kind, "-o", out)
    assert server.entrypoints[-1].endswith(f"main export sweep.yaml --format {kind} --into-output")
    assert out.read_bytes() == content
    assert text == f"warning: of the job\nresults    {out}\n"
    monkeypatch.setattr(server, "printed", sent[: len(sent) // 2])
    assert "the connection to the Ray Jobs server was lost" in ssl_sweep("export", tmp_path / "sweep.yaml", expect=2)


def test_what_a_cluster_cannot_reach_is_refused(server: type[Server], sweep: SweepByHand, tmp_path: Path) -> None:
    assert "a job on a cluster does not have this folder" in ssl_sweep("status", expect=2)
    path = tmp_path / "relative.yaml"
    path.write_text((tmp_path / "sweep.yaml").read_text().replace(str(tmp_path / "runs"), "runs"))
    assert "does not have the folder of your sweep file" in ssl_sweep("status", path, expect=2)
    (tmp_path / "mine.csv").write_text("method,dataset,backbone,evaluation,value,source\nsimclr,digits,a,knn,1,mine\n")
    path.write_text((tmp_path / "sweep.yaml").read_text() + "\npublished: mine.csv\n")
    assert "published: got 'mine.csv'; a job on a cluster does not have" in ssl_sweep("status", path, expect=2)
    for address, problem in (("http://other:8265", "no Ray Jobs server at"), ("auto", "must be a Ray Jobs server")):
        arguments = ["status", str(tmp_path / "sweep.yaml"), "--address", address]
        done = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert done.exit_code == 2 and problem in done.output
