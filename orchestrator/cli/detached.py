"""A sweep that goes on without its terminal: the same command in a session of its own, with its output in a file."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from ..spec.errors import UserError
from ..spec.expand import expand
from ..spec.load import load_spec
from ..spec.overrides import options_of
from ..store.files import Store
from ..store.lease import holder
from ..sweep.place import Place

WAIT_SECONDS = 0.2
"""Between two looks at whether the driver has begun."""


def submit_detached(sweep: Path, address: str | None, overrides: Sequence[str], *, replace: bool, as_json: bool) -> int:
    """Start ``submit`` in the background; returns once it drives the sweep, or has ended, with the exit status to pass on.

    Raises:
        UserError: the file has errors, or the sweep is running already.
    """
    spec, document = load_spec(sweep, overrides)
    expand(spec, document)  # errors of the file appear here
    place = Place(Store(spec.storage), spec.name)
    named = [str(sweep), *options_of(overrides)]
    if holder(place.store, place.folder) is not None:
        raise UserError(
            f"sweep '{place.name}' is running already; `{shlex.join(['ssl-sweep', 'status', *named, '--watch'])}` shows it"
        )
    # -P: nothing in the current folder is taken for a module
    command = [sys.executable, "-P", "-m", "ssl_sweep.orchestrator.cli.main", "submit", *named]
    command += ["--address", address] if address else []
    command += ["--replace"] if replace else []
    log = _log_file(place)
    with log.open("ab") as stream:
        begins = stream.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
        )
    while process.poll() is None:
        if _drives(process.pid, place, document.text):
            _say_how_to_follow(named, process.pid, log, as_json=as_json)
            return 0
        time.sleep(WAIT_SECONDS)
    click.echo(log.read_bytes()[begins:], nl=False)
    return process.returncode


def _drives(pid: int, place: Place, text: str) -> bool:
    """Whether the process has the sweep's lease and has taken the file: only then it does not refuse it any more."""
    driver = holder(place.store, place.folder)
    ours = driver is not None and driver.is_here and driver.pid == pid
    return ours and place.store.read(f"{place.folder}/sweep.yaml") == text.encode()


def _log_file(place: Place) -> Path:
    """In the sweep's folder; of one that is no folder of this machine, in the user's cache."""
    local = place.store.is_local
    log = Path(place.store.path(f"{place.folder}/driver.log")) if local else _cache() / f"{place.name}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
    except OSError as error:
        raise UserError(f"--detach: {log} cannot be written: {error.strerror}") from None
    return log


def _cache() -> Path:
    return Path.home() / ".cache" / "ssl-sweep" / "logs"


def _say_how_to_follow(named: Sequence[str], pid: int, log: Path, *, as_json: bool) -> None:
    follow, stop = (shlex.join(["ssl-sweep", *words]) for words in (["status", *named, "--watch"], ["stop", *named]))
    if as_json:
        click.echo(json.dumps({"process": pid, "log": str(log), "follow": follow, "stop": stop}, indent=2))
        return
    click.echo(f"running    process {pid}; its output is in {log}\nfollow     {follow}\nstop       {stop}")
