"""Every test of the store runs over a folder and over a bucket of a local S3 server."""

import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer
from ssl_sweep.orchestrator.store.files import Store

BUCKET = "bucket"


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """Environment variables that lead to a server with one empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    urlopen(Request(f"{endpoint}/{BUCKET}", method="PUT")).close()
    yield {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_REGION": "us-east-1",
    }
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "disk":
        return str(tmp_path / "runs")
    for name, value in request.getfixturevalue("s3").items():
        monkeypatch.setenv(name, value)
    assert os.environ["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    return f"s3://{BUCKET}/{uuid.uuid4().hex}/my runs #1 100%25"


@pytest.fixture
def store(location: str) -> Store:
    return Store(location)
