"""A sweep as a detached job on a Ray cluster: the code and the sweep file travel, the terminal may close."""

import re
import shutil
import tempfile
from pathlib import Path

from ..spec.errors import UserError
from ..spec.expand import expand
from ..spec.load import load_spec
from ..spec.locations import is_address, is_relative
from ..spec.models import SweepSpec
from ..spec.yaml_document import read_document
from ..store.origin import ORIGIN, origin_of
from ..store.version import travelling
from .find_cluster import HOW_TO_AUTHENTICATE

PACKAGE = Path(__file__).parents[2]
SUBPACKAGES = ("orchestrator", "methods", "datasets", "evaluation", "sweeps")
SQLITE_BESIDE_THE_FILE = re.compile(r"sqlite:///[^/:?]")


def submit_job(sweep: Path, address: str) -> str:
    """Submit `sweep` to the Ray Jobs server at `address` (``http://HOST:8265``); returns how to follow it.

    Raises:
        UserError: the sweep's store or MLflow's database would be in the job's folder, or the server cannot be used.
    """
    spec, document = load_spec(sweep)
    expand(spec, document)
    _refuse_what_a_job_would_lose(spec, sweep)
    try:
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise UserError(f"jobs need Ray's job client: pip install 'ray[default]' ({error})") from None
    with tempfile.TemporaryDirectory(prefix="ssl-sweep-job-") as scratch:
        folder, code = Path(scratch) / "job", Path(scratch) / "ssl_sweep"
        folder.mkdir()
        shutil.copy(sweep, folder / "sweep.yaml")
        for name in SUBPACKAGES:
            shutil.copytree(PACKAGE / name, code / name, ignore=shutil.ignore_patterns("__pycache__"))
        try:
            client = JobSubmissionClient(address)
            job = client.submit_job(
                entrypoint="python -m ssl_sweep.orchestrator.cli.main submit sweep.yaml --address auto",
                runtime_env={
                    "working_dir": str(folder),
                    "py_modules": [str(code)],
                    "env_vars": {**travelling(), ORIGIN: origin_of(sweep)},
                },
            )
        except AuthenticationError:
            raise UserError(f"the cluster at '{address}' {HOW_TO_AUTHENTICATE}") from None
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"no Ray Jobs server at '{address}': {str(error).splitlines()[0]}") from None
    return f"submitted as {job}; follow it with: ray job logs --address {address} --follow {job}"


def _refuse_what_a_job_would_lose(spec: SweepSpec, sweep: Path) -> None:
    """A job's copy of the sweep file is in a folder that is deleted with the job."""
    lacks = "a job on a cluster does not have the folder of your sweep file"
    storage = str(read_document(sweep).data.get("storage", SweepSpec.model_fields["storage"].default))
    if is_relative(storage):
        raise UserError(
            f"storage: got '{storage}'; {lacks}: name an absolute path that all nodes share, or s3:// or gs://"
        )
    if spec.tracking is None and is_address(spec.storage):
        raise UserError(
            f"tracking: not set, and with storage '{spec.storage}' MLflow's database would be beside the sweep file;"
            f" {lacks}: name an MLflow server, as in `tracking: http://HOST:5000`"
        )
    if spec.tracking is not None and SQLITE_BESIDE_THE_FILE.match(spec.tracking):
        raise UserError(
            f"tracking: got '{spec.tracking}'; {lacks}: name an MLflow server, or sqlite:////PATH with an absolute path"
        )
