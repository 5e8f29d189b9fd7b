"""A local S3 server, for whatever takes an object store."""

import logging
import threading
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer

BUCKET = "bucket"


def make_puts_atomic(patch: pytest.MonkeyPatch) -> None:
    """As on S3, of those that create one object only one does so; Moto looks for it and writes it in two steps."""
    plain, one_at_a_time = S3Response.put_object, threading.Lock()

    def put_object(response: S3Response) -> Any:
        with one_at_a_time:
            return plain(response)

    patch.setattr(S3Response, "put_object", put_object)


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """Environment variables that lead to a server with one empty bucket."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    patch = pytest.MonkeyPatch()
    make_puts_atomic(patch)
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
    patch.undo()


@pytest.fixture
def s3_bucket(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty place in it, which this process and its children can reach."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"
