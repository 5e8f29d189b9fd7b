"""Every test of the store runs over a folder and over a bucket of a local S3 server."""

import os
from pathlib import Path

import pytest
from ssl_sweep.orchestrator.store.files import Store


@pytest.fixture(params=["disk", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return str(tmp_path / "runs")
    bucket: str = request.getfixturevalue("s3_bucket")
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    return f"{bucket}/my runs #1 100%25"


@pytest.fixture
def store(location: str) -> Store:
    return Store(location)
