"""Which Ray cluster an address means, and whether it can be joined: found out before Ray is asked to, which takes minutes to fail."""

import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import psutil
import ray

from ..spec.errors import UserError

AUTO = "auto"
ADDRESS, MODE, TOKENS = "RAY_ADDRESS", "RAY_AUTH_MODE", ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
EMBEDDED = {"ssl-sweep/embedded": "true"}
"""Label of the node of a Ray that we embed; it is on its raylet's command line."""
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
STUCK_SECONDS = 300.0
"""After which a process that asks has hung; it takes a second, beside other programs ten."""
HOW_TO_AUTHENTICATE = (
    "asks for a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's"
    " (`ray get-auth-token` on its head node prints it)"
)
FORMS = "must be auto, HOST:PORT, or http://HOST:8265 for a detached job"


class Cluster(NamedTuple):
    """What the head of a cluster says of itself."""

    ray: str
    """Version."""
    python: str
    """Version."""
    embedded: bool
    """A program's own Ray, from `ray.init`: it ends with that program."""


class Unusable(NamedTuple):
    """Why there is no cluster to be joined, as the rest of a sentence that begins with its address."""

    why: str
    asks_for_token: bool = False


def find_cluster(address: str) -> str:
    """The ``HOST:PORT`` of the cluster that `address` means: such a one itself, or ``auto``.

    ``auto`` is `RAY_ADDRESS` if it is set (as it is in a Ray job), else the cluster that this machine is a node of. Ray's own
    ``auto`` would also take a Ray that another program embeds, and the first of several.

    Raises:
        UserError: there is none, or several, or it cannot be joined.
    """
    if address != AUTO:
        return _joinable(address)
    named = os.environ.get(ADDRESS)
    if named and named != AUTO:
        return _joinable(named)
    return _on_this_machine(_local_addresses())


def _joinable(address: str) -> str:
    found = ask(address)
    if isinstance(found, Unusable):
        raise UserError(
            f"the Ray cluster at '{address}' {found.why}" if found.asks_for_token else _none(address, found)
        )
    if found.embedded:
        raise UserError(
            f"the Ray at '{address}' is embedded in another program and ends with it; start a cluster with"
            " `ray start --head`, or leave --address out"
        )
    _refuse_other_versions(address, found)
    return address


def _none(address: str, found: Unusable) -> str:
    return f"no Ray cluster at '{address}': {found.why}"


def _on_this_machine(addresses: Iterable[str]) -> str:
    places = sorted(addresses)
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = dict(zip(places, pool.map(lambda place: ask(place, send_token=True), places), strict=True))
    clusters = [place for place, found in answers.items() if isinstance(found, Cluster) and not found.embedded]
    if len(clusters) > 1:
        raise UserError(f"--address auto: several Ray clusters run on this machine ({', '.join(clusters)}); name one")
    if clusters:
        found = answers[clusters[0]]
        assert isinstance(found, Cluster)
        _refuse_other_versions(clusters[0], found)
        return clusters[0]
    locked = [place for place, found in answers.items() if isinstance(found, Unusable) and found.asks_for_token]
    if locked:
        raise UserError(f"the Ray cluster at '{locked[0]}' {HOW_TO_AUTHENTICATE}")
    raise UserError(
        "no Ray cluster runs on this machine (a Ray that another program embeds does not count); start one with"
        " `ray start --head`, name one with --address HOST:PORT, or leave --address out"
    )


def _local_addresses() -> set[str]:
    """Of the clusters that this machine is a node of, without what other sweeps embed."""
    found: set[str] = set()
    for process in psutil.process_iter(["cmdline"]):
        words: list[str] = process.info["cmdline"] or []
        if not words or Path(words[0]).name != "raylet":
            continue
        options = dict(word.lstrip("-").split("=", 1) for word in words[1:] if "=" in word)
        if not EMBEDDED.items() <= _labels(options.get("labels", "")).items() and options.get("gcs-address"):
            found.add(options["gcs-address"])
    return found


def _labels(text: str) -> dict[str, str]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        return {}


def ask(address: str, *, send_token: bool = False) -> Cluster | Unusable:
    """What listens at ``HOST:PORT``, or why there is nothing of use.

    `send_token`: whatever the cluster says, show it the token that this user has, if any. Ray does so on this machine alone.

    Raises:
        UserError: that is no such address.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host or not 0 < int(port) < 65536:
        raise UserError(f"--address: got '{address}'; {FORMS}")
    closed = why_closed(address)
    if closed is not None:
        return Unusable(closed)
    token = {MODE: os.environ.get(MODE, "token")} if send_token and _has_token() else {}
    program = [sys.executable, str(Path(__file__).with_name("ask_gcs.py")), address, str(ANSWER_SECONDS)]
    done = subprocess.run(
        program, capture_output=True, text=True, timeout=STUCK_SECONDS, check=False, env={**os.environ, **token}
    )
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return Unusable((done.stderr.strip().splitlines() or ["it could not be asked"])[-1])
    match answer.get("error"):
        case "token":
            return Unusable(HOW_TO_AUTHENTICATE, asks_for_token=True)
        case "silent":
            return Unusable(
                "what listens there does not answer as Ray's head does (its port is 6379, if none is given)"
            )
        case _:
            return Cluster(**answer)


def why_closed(address: str) -> str | None:
    """Why nothing can be reached at ``HOST:PORT``; None if something listens."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except socket.gaierror:
        return f"no host is known as '{host}'"
    except TimeoutError:
        return f"it does not answer within {CONNECT_SECONDS:g} s"
    except OSError as error:
        return f"{error.strerror or error}"
    return None


def _has_token() -> bool:
    return any(map(os.environ.get, TOKENS)) or (Path.home() / ".ray" / "auth_token").is_file()


def _refuse_other_versions(address: str, cluster: Cluster) -> None:
    """As Ray does, which takes Pythons that differ in their third number only if its own variable says so."""
    parts = 2 if os.environ.get("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL") == "minor" else 3
    here = platform.python_version()
    same_python = cluster.python.split(".")[:parts] == here.split(".")[:parts]
    if (cluster.ray, True) != (ray.__version__, same_python):
        raise UserError(
            f"the Ray cluster at '{address}' runs Ray {cluster.ray} on Python {cluster.python}, and here are Ray"
            f" {ray.__version__} and Python {here}; they must be the same"
        )
