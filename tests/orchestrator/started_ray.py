"""Ray clusters as a user starts them, with ``ray start``, each with its own folder and port."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil

TIMEOUT = 240
RAY = [
    sys.executable,
    "-c",
    "import sys; from ray.scripts.scripts import main; sys.argv[0] = 'ray'; main()",
    "start",
    "--block",
]
OPEN = {"RAY_AUTH_MODE": "disabled"}


def with_token(token: str) -> dict[str, str]:
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def started(folder: Path, variables: dict[str, str], cpus: int = 1) -> contextlib.AbstractContextManager[str]:
    """A cluster of one node, in a short `folder` (sockets have paths of at most 107 bytes); yields ``HOST:PORT``."""
    port = free_port()
    return _node(folder, f"127.0.0.1:{port}", ["--head", f"--port={port}", f"--temp-dir={folder}"], variables, cpus)


def joined(folder: Path, address: str, variables: dict[str, str]) -> contextlib.AbstractContextManager[str]:
    """One node more, with one CPU."""
    return _node(folder, address, [f"--address={address}"], variables)


@contextlib.contextmanager
def _node(folder: Path, address: str, options: list[str], variables: dict[str, str], cpus: int = 1) -> Iterator[str]:
    path = folder / f"{uuid.uuid4().hex}.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            [*RAY, *options, f"--num-cpus={cpus}", "--disable-usage-stats"],
            stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **variables}, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + TIMEOUT
        while "Ray runtime started" not in path.read_text():
            assert process.poll() is None, path.read_text()
            assert time.monotonic() < deadline, "Ray takes too long to start"
            time.sleep(0.1)
        yield address
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)  # it ends the processes of the node
        process.wait(TIMEOUT)
        psutil.wait_procs(children, TIMEOUT)
