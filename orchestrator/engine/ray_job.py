"""Commands as jobs on a Ray cluster: the code and the sweep file travel; a sweep goes on when the terminal closes."""

import asyncio
import contextlib
import logging
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..spec.errors import UserError
from ..spec.expand import expand
from ..spec.load import load_spec
from ..spec.locate import relative_files
from ..spec.locations import is_address, is_relative
from ..spec.models import SweepSpec
from ..spec.yaml_document import parse_document
from ..store.origin import ORIGIN, origin_of
from ..store.scratch import prefix
from ..store.version import travelling
from .find_cluster import HOW_TO_AUTHENTICATE

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

PACKAGE = Path(__file__).parents[2]
SUBPACKAGES = ("orchestrator", "methods", "datasets", "evaluation", "sweeps")
COMMAND = "python -m ssl_sweep.orchestrator.cli.main"
MARK = "-- ssl-sweep begins --"
"""A line of the job's output, before which all are Ray's."""
DRIVING = ("resume", "retry")
"""Commands that go on when their user goes away."""
POLL_SECONDS = 0.5
SQLITE_BESIDE_THE_FILE = re.compile(r"sqlite:///[^/:?]")


class SubmittedJob(NamedTuple):
    """A job of the cluster."""

    id: str
    follow: str
    """The command that shows its output."""


def submit_job(sweep: Path, address: str, overrides: Sequence[str] = ()) -> SubmittedJob:
    """Submit `sweep`, with its `overrides`, to the Ray Jobs server at `address` (``http://HOST:8265``).

    Raises:
        UserError: the sweep's store or MLflow's database would be in the job's folder, or the server cannot be used.
    """
    text = _refuse_what_a_job_lacks(sweep, overrides, drives=True)
    with _connected(address) as client:
        job = _start(client, f"{COMMAND} submit {shlex.quote(sweep.name)} --address auto", sweep, text)
    return SubmittedJob(job, shlex.join(["ray", "job", "logs", "--address", address, "--follow", job]))


def run_job(
    arguments: Sequence[str],
    sweep: Path | None,
    address: str,
    show: Callable[[str], None],
    overrides: Sequence[str] = (),
) -> int:
    """Run ``ssl-sweep ARGUMENTS`` as a job, with `sweep` and its `overrides` in its folder. Returns its exit status.

    `show` gets its output.

    Raises:
        UserError: as `submit_job`; or the job did not begin.
        KeyboardInterrupt: the user went away. A job that drives a sweep goes on, any other one is stopped.
    """
    drives = arguments[0] in DRIVING
    text = "" if sweep is None else _refuse_what_a_job_lacks(sweep, overrides, drives=drives)
    with _connected(address) as client:
        job = _start(client, f"echo '{MARK}' && {COMMAND} {shlex.join(arguments)}", sweep, text)
        try:
            asyncio.run(_tail(client, job, show))
            while not (info := client.get_job_info(job)).status.is_terminal():
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            if not drives:
                client.stop_job(job)
            raise
    if info.driver_exit_code is None:
        raise UserError(f"the job at '{address}' did not begin: {info.message or info.status}")
    return info.driver_exit_code


async def _tail(client: "JobSubmissionClient", job: str, show: Callable[[str], None]) -> None:
    """Pass on the lines that the command prints, without those that Ray adds: before it, and one as it starts."""
    begun, rest = False, ""
    async for text in client.tail_job_logs(job):
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            if begun and not line.startswith(f"Running entrypoint for job {job}:"):
                show(f"{line}\n")
            begun |= line == MARK
    if begun and rest:
        show(rest)


def _start(client: "JobSubmissionClient", entrypoint: str, sweep: Path | None, text: str) -> str:
    """Submit the code, the sweep file with this `text` and the entry point; returns the job's id."""
    with tempfile.TemporaryDirectory(prefix=prefix()) as scratch:
        folder, code = Path(scratch) / "job", Path(scratch) / "ssl_sweep"
        folder.mkdir()
        variables = travelling()
        if sweep is not None:
            (folder / sweep.name).write_text(text, encoding="utf-8")  # under its name, which messages mention
            variables[ORIGIN] = origin_of(sweep)
        for name in SUBPACKAGES:
            shutil.copytree(PACKAGE / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(PACKAGE / "__init__.py", code)
        runtime = {"working_dir": str(folder), "py_modules": [str(code)], "env_vars": variables}
        return client.submit_job(entrypoint=entrypoint, runtime_env=runtime)


def _refuse_what_a_job_lacks(sweep: Path, overrides: Sequence[str], *, drives: bool) -> str:
    """A job's copy of the sweep file is in a folder that is deleted with the job; `drives`: it writes to MLflow as well.

    Returns the text of the sweep file, with its overrides.
    """
    spec, document = load_spec(sweep, overrides)
    expand(spec, document)
    lacks = "a job on a cluster does not have the folder of your sweep file"
    written = parse_document(document.text, document.name).data
    place = next(relative_files(written), None)
    if drives and place is not None:
        raise UserError(
            f"got '{place}'; {lacks}: name an absolute path there, or for weights trial:ID of the sweep's own store"
        )
    published = written.get("published")
    if isinstance(published, str) and is_relative(published):
        raise UserError(f"published: got '{published}'; {lacks}: name an absolute path on a disk that all nodes share")
    storage = str(written.get("storage", SweepSpec.model_fields["storage"].default))
    if is_relative(storage):
        raise UserError(
            f"storage: got '{storage}'; {lacks}: name an absolute path that all nodes share, or s3:// or gs://"
        )
    if drives and spec.tracking is None and is_address(spec.storage):
        raise UserError(
            f"tracking: not set, and with storage '{spec.storage}' MLflow's database would be beside the sweep file;"
            f" {lacks}: name an MLflow server, as in `tracking: http://HOST:5000`"
        )
    if drives and spec.tracking is not None and SQLITE_BESIDE_THE_FILE.match(spec.tracking):
        raise UserError(
            f"tracking: got '{spec.tracking}'; {lacks}: name an MLflow server, or sqlite:////PATH with an absolute path"
        )
    return document.text


@contextlib.contextmanager
def _connected(address: str) -> "Generator[JobSubmissionClient]":
    """A client of the Ray Jobs server; what goes wrong between the two is the user's to read."""
    try:
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise UserError(f"jobs need Ray's job client: pip install 'ray[default]' ({error})") from None
    level = logging.root.manager.disable
    logging.disable(logging.INFO)  # Ray's client tells of each upload
    try:
        yield JobSubmissionClient(address)
    except AuthenticationError:
        raise UserError(f"the cluster at '{address}' {HOW_TO_AUTHENTICATE}") from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"no Ray Jobs server at '{address}': {str(error).splitlines()[0]}") from None
    finally:
        logging.disable(level)
