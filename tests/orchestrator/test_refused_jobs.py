"""What is refused before a sweep is sent to a cluster as a job."""

from collections.abc import Callable
from pathlib import Path

import pytest
from ssl_sweep.orchestrator.engine.ray_job import submit_job
from ssl_sweep.orchestrator.spec.errors import UserError

SweepFile = Callable[..., Path]
NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"storage": "runs"}, "storage: got 'runs'; a job on a cluster does not have the folder of your sweep file"),
        (
            {"storage": "s3://bucket/runs"},
            "tracking: not set, and with storage 's3://bucket/runs' MLflow's database would be",
        ),
        ({"tracking": "sqlite:///mlflow.db"}, "tracking: got 'sqlite:///mlflow.db'; a job on a cluster does not have"),
    ],
)
def test_a_job_leaves_nothing_in_its_folder(changes: dict[str, str], expected: str, sweep_file: SweepFile) -> None:
    with pytest.raises(UserError) as error:
        submit_job(sweep_file(**changes), NOWHERE)
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tracking": "sqlite:////shared/mlflow.db"},
        {"storage": "s3://bucket/runs", "tracking": "http://mlflow:5000"},
    ],
)
def test_what_a_job_can_keep_is_not_refused(changes: dict[str, str], sweep_file: SweepFile) -> None:
    with pytest.raises(UserError, match=r"Ray's job client|no Ray Jobs server"):  # of which there is none
        submit_job(sweep_file(**changes), NOWHERE)
