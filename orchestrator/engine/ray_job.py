"""A sweep as a detached job on a Ray cluster: the code and the sweep file travel, the terminal may close."""

import shutil
import tempfile
from pathlib import Path

from ..spec.errors import UserError
from ..spec.expand import expand
from ..spec.load import load_spec
from ..spec.locations import is_relative
from ..spec.models import SweepSpec
from ..spec.yaml_document import read_document
from ..store.origin import ORIGIN, origin_of
from ..store.version import travelling
from .find_cluster import HOW_TO_AUTHENTICATE

PACKAGE = Path(__file__).parents[2]
SUBPACKAGES = ("orchestrator", "methods", "datasets", "evaluation", "sweeps")


def submit_job(sweep: Path, address: str) -> str:
    """Submit `sweep` to the Ray Jobs server at `address` (``http://HOST:8265``); returns how to follow it.

    Raises:
        UserError: the sweep's store is a relative folder, or the server cannot be used.
    """
    spec, document = load_spec(sweep)
    expand(spec, document)
    storage = str(read_document(sweep).data.get("storage", SweepSpec.model_fields["storage"].default))
    if is_relative(storage):
        raise UserError(
            f"storage: got '{storage}'; a job on a cluster does not have the folder of your sweep file:"
            " name an absolute path that all nodes share, or s3:// or gs://"
        )
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
