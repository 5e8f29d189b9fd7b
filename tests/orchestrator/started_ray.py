"""Ray clusters as a user starts them, with ``ray start``, each with its own folder and port."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
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


def started(
    folder: Path, variables: dict[str, str], cpus: int = 1, options: Sequence[str] = ()
) -> contextlib.AbstractContextManager[str]:
    """A cluster of one node, in a short `folder` (sockets have paths of at most 107 bytes); yields ``HOST:PORT``."""
    port = free_port()
    head = ["--head", f"--port={port}", f"--temp-dir={folder}", *options]
    return _node(folder, f"127.0.0.1:{port}", head, variables, cpus)


def joined(folder: Path, address: str, variables: dict[str, str]) -> contextlib.AbstractContextManager[str]:
    """One node more, with one CPU."""
    return _node(folder, address, [f"--address={address}"], variables)


class Cluster:
    """Machines on this one, each with one CPU, the first of which is the head. They may be lost, all of them too."""

    def __init__(self, folder: Path, machines: int):
        self.folder, self.machines = folder, machines
        self.stack = contextlib.ExitStack()
        self.address = ""

    def __enter__(self) -> "Cluster":
        self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def restart(self) -> None:
        """End what is left, and start another cluster at another address."""
        self.stack.close()
        folder = self.folder / uuid.uuid4().hex[:8]
        folder.mkdir()
        self.address = self.stack.enter_context(started(folder, OPEN))
        self.fill()

    def fill(self) -> None:
        """Machines in place of those that were lost."""
        while len(self.raylets(head=True)) == 1 and len(self.raylets(head=False)) < self.machines - 1:
            self.stack.enter_context(joined(self.folder, self.address, OPEN))

    def is_up(self) -> bool:
        """Whether its head lives."""
        return bool(processes("gcs/gcs_server")) and bool(self.raylets(head=True))

    def raylets(self, *, head: bool) -> list[psutil.Process]:
        """Of the head, or of the other machines."""
        return [process for process in processes("raylet/raylet ") if ("--head" in process.cmdline()) == head]


def processes(words: str) -> list[psutil.Process]:
    """Of the tests, those with these words in their command."""
    found: list[psutil.Process] = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE and words in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


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
