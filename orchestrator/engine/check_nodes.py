"""Whether every node of a cluster can do a sweep's work: it has our code, sees the store, and finds the images."""

import functools
import importlib.util
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ...datasets.config import DatasetConfig
from ...datasets.errors import DataError
from ...datasets.prepared import find_known, source_path
from ..spec.errors import UserError
from ..store.files import Store, StoreError
from ..store.version import git_commit, package_version
from .protocol import Job

LAG_SECONDS = 5.0
"""Network file systems may show a new file late."""
PATIENCE = 300.0
"""Seconds in which each node must answer: it may have to fetch our code and to start a process first."""
NEEDED = ("torch", "torchvision", "timm", "numba")
"""Packages that workers import, beside those that this module does."""

Check = Callable[[], str | None]
"""Says what is wrong with the node on which it is called, as a part of a sentence."""


class NodeChecks:
    """Asks the nodes of the cluster that this process has joined. Of a single node nothing is asked: this process is on it."""

    def __init__(self, store: Store, data_root: Path):
        self.store, self.data_root = store, data_root
        self._known: set[str] = set()
        """Fingerprints of the data that every node has."""

    def code_and_store(self) -> None:
        """Raise UserError that names each node that lacks our code, or that cannot read and write the store."""
        nodes = _alive()
        if len(nodes) < 2:
            return
        probe = f"probe-{uuid.uuid4().hex}"
        written = {node: f"{probe}.{node}" for node in nodes}
        self.store.write(probe, b"seen")
        try:
            problems = _ask(
                nodes,
                functools.partial(_problem_with_code, package_version(), git_commit()),
                functools.partial(_problem_with_store, self.store.location, probe),
            )
            for node, name in nodes.items():
                if node not in problems and not _appears(self.store, written[node]):
                    problems[node] = f"{name}: what it writes to storage '{self.store.location}' does not appear here"
        finally:
            for name in (probe, *written.values()):
                self.store.delete(name)
        _refuse(problems)

    def data(self, jobs: Iterable[Job]) -> None:
        """Raise UserError that names each node that has neither the prepared images of these jobs nor their source."""
        nodes = _alive()
        needed = {key: config for job in jobs for key, config in job.datasets(but=self._known).items()}
        new = {key: config for key, config in needed.items() if key not in self._known}
        if len(nodes) < 2 or not new:
            return
        root = str(self.data_root)
        checks = [functools.partial(_problem_with_data, config, key, root) for key, config in new.items()]
        _refuse(_ask(nodes, *checks))
        self._known |= set(new)


def _refuse(problems: dict[str, str]) -> None:
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems.values())
        raise UserError(f"not every node of the cluster can run this sweep:\n{listed}")


def _alive() -> dict[str, str]:
    """Names of the nodes by their ids."""
    return {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}


def _ask(nodes: Mapping[str, str], *checks: Check) -> dict[str, str]:
    """The first problem of each node that has one, with the node's name before it."""
    task: Any = ray.remote(_first_problem())
    asked = {
        node: task.options(
            num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote([ray.put(check) for check in checks])
        for node in nodes
    }
    deadline = time.monotonic() + PATIENCE
    problems: dict[str, str] = {}
    for node, answer in asked.items():
        try:
            problem: str | None = ray.get(answer, timeout=max(0.0, deadline - time.monotonic()))
        except GetTimeoutError:
            problem = f"it has not answered within {PATIENCE:g} s"
        except RayError as error:
            problem = " ".join(str(error).split())[-300:]
        if problem is not None:
            problems[node] = f"{nodes[node]}: {problem}"
    return problems


def _first_problem() -> Callable[..., str | None]:
    """A function that Ray sends as it is, not by the name of its module: a node without our package can say so."""

    def ask(checks: list["ray.ObjectRef[Check]"]) -> str | None:
        try:
            for check in ray.get(checks):
                problem = check()
                if problem is not None:
                    return problem
        except Exception as error:
            if "No module named" not in str(error):
                raise
            missing = str(error).rpartition("No module named ")[2].splitlines()[0]
            return f"Python cannot import {missing} there; install the same ssl-sweep on every node, or submit a job to http://HOST:8265"
        return None

    return ask


def _problem_with_code(version: str, commit: str | None) -> str | None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"the package '{missing[0]}' is not installed there"
    there, commit_there = package_version(), git_commit()
    if there != version or (commit and commit_there and commit != commit_there):
        return f"it has ssl-sweep {_named(there, commit_there)}, and here is {_named(version, commit)}"
    return None


def _named(version: str, commit: str | None) -> str:
    return f"{version} (commit {commit})" if commit else version


def _problem_with_store(location: str, probe: str) -> str | None:
    try:
        store = Store(location)
        if not _appears(store, probe):
            return f"storage '{location}' is not shared with it; use a folder that all nodes share, or s3:// or gs://"
        store.write(f"{probe}.{ray.get_runtime_context().get_node_id()}", b"written")
    except StoreError as error:
        return str(error)
    return None


def _appears(store: Store, name: str) -> bool:
    deadline = time.monotonic() + LAG_SECONDS
    while not store.exists(name):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _problem_with_data(config: DatasetConfig, fingerprint: str, data_root: str) -> str | None:
    """Prepared images are enough, and so is their source, which a worker prepares."""
    if find_known(config, fingerprint, Path(data_root)) is not None:
        return None
    try:
        if config.is_remote:
            from ...datasets.remote_source import remote_state  # pyarrow

            remote_state(str(config.path))
        else:
            source_path(config)
    except DataError as error:
        return str(error)
    return None
