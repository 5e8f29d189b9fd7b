"""Which ssl-sweep runs: its version and its commit. Both travel with the code to where it is not installed."""

import os
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

VERSION, COMMIT = "SSL_SWEEP_VERSION", "SSL_SWEEP_COMMIT"


def travelling() -> dict[str, str]:
    """Environment variables for a process that gets the code alone."""
    return {VERSION: package_version(), COMMIT: git_commit() or ""}


def package_version() -> str:
    try:
        return version("ssl-sweep")
    except PackageNotFoundError:
        return os.environ.get(VERSION, "unknown")


@cache
def git_commit() -> str | None:
    """Commit of the checkout that this code runs from, with ``+`` where it has changes; None outside of one."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return os.environ.get(COMMIT) or None
    answers: list[str] = []
    for command in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(
                ["git", "-C", str(here), *command], capture_output=True, text=True, timeout=10, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        answers.append(done.stdout.strip())
    return answers[0] + ("+" if answers[1] else "")
