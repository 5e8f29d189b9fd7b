"""Taking a sweep's runs out of MLflow: they go to its trash, from which MLflow can restore them."""

import sqlite3
from typing import NamedTuple

from ..spec.errors import SpecError, UserError
from ..spec.locations import VARIABLE, expanded
from ..spec.secrets import HIDDEN, without_passwords
from ..spec.yaml_document import parse_document
from ..store.files import Store
from .database import sqlite_path
from .ledger import Ledger


class Trashed(NamedTuple):
    """What became of a sweep's runs."""

    uri: str
    runs: int
    error: str | None = None
    """Why the rest stay, if MLflow could not be used."""


def out_of_reach(store: Store, sweep: str) -> str | None:
    """Why the sweep's runs cannot be deleted as long as the password of its MLflow is not known; None if it is, or has none."""
    ledger = store.read_record(Ledger.name(sweep), Ledger)
    try:
        if ledger is not None:
            _whole_uri(ledger.uri, store, sweep)
    except UserError as error:
        return str(error)
    return None


def delete_runs(store: Store, sweep: str) -> Trashed | None:
    """Move all runs of a sweep to MLflow's trash; None if MLflow has none. Raises nothing of MLflow's."""
    ledger = store.read_record(Ledger.name(sweep), Ledger)
    if ledger is None or not ledger.uri:
        return None
    path = sqlite_path(ledger.uri)
    if path is not None and not path.exists():  # MLflow would make an empty one
        return None

    from mlflow.exceptions import MlflowException

    deleted = 0
    try:
        uri = _whole_uri(ledger.uri, store, sweep)
        for run_id in _runs(uri, ledger, store, sweep):
            deleted += _delete(uri, run_id)
    except (UserError, MlflowException, OSError, sqlite3.Error) as error:
        return Trashed(ledger.uri, deleted, without_passwords(" ".join(str(error).split()))[:300])
    return Trashed(ledger.uri, deleted)


def _whole_uri(shown: str, store: Store, sweep: str) -> str:
    """MLflow's URI with its password, which the store does not keep: from the variable that the sweep's file names.

    Raises:
        UserError: there is no such variable.
    """
    if HIDDEN not in shown:
        return shown
    tracking = _tracking_in_file(store, sweep)
    try:
        uri = expanded(tracking)
    except ValueError as error:
        raise UserError(
            f"the store does not keep its password, and {error}; set it as for `ssl-sweep submit`"
        ) from None
    if not VARIABLE.search(tracking) or without_passwords(uri) != shown:
        raise UserError("the store does not keep its password, nor does `tracking` of the sweep's file there say it")
    return uri


def _tracking_in_file(store: Store, sweep: str) -> str:
    """In the copy of the sweep's file, as it is written there; empty if it cannot be read."""
    name = f"sweeps/{sweep}/sweep.yaml"
    try:
        return str(parse_document((store.read(name) or b"").decode(), name).data.get("tracking", ""))
    except (SpecError, UnicodeDecodeError):
        return ""


def _runs(uri: str, ledger: Ledger, store: Store, sweep: str) -> list[str]:
    """Those that the ledger knows, and those that a driver that was killed had no time to note there."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    known = [item.run_id for item in ledger.trials.values()] + [ledger.parent]
    experiment = client.get_experiment_by_name(sweep)
    if experiment is not None:
        of_sweep = f"tags.`ssl_sweep.sweep` = '{sweep}'"
        if ledger.uri.startswith("http"):
            of_sweep += f" and tags.`ssl_sweep.storage` = '{store.location}'"
        token: str | None = None
        while True:
            page = client.search_runs([experiment.experiment_id], of_sweep, max_results=1000, page_token=token)
            known += [run.info.run_id for run in page]
            token = page.token
            if not token:
                break
    return list(dict.fromkeys(filter(None, known)))


def _delete(uri: str, run_id: str) -> bool:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    try:
        if client.get_run(run_id).info.lifecycle_stage != "active":
            return False
        client.delete_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True
