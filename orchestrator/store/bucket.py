"""Objects below a prefix of a bucket, through obstore: ``s3://``, ``gs://``, ``az://`` and ``abfs://``.

Credentials, region and endpoint come from each provider's usual environment variables: ``AWS_ENDPOINT_URL``,
``AWS_REGION`` and ``AWS_ALLOW_HTTP``, ``GOOGLE_SERVICE_ACCOUNT``, ``AZURE_STORAGE_ACCOUNT_NAME``, and so on.
"""

import contextlib
from collections.abc import Generator
from datetime import timedelta

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from .disk import StoredFile

SCHEMES = {"gcs": "gs"}
"""Names of our own for those of obstore."""
RETRY = timedelta(seconds=60)


class Bucket:
    """The objects below one prefix, by relative names with ``/``. A write replaces a whole object at once.

    All methods raise OSError if the bucket cannot be used as asked.
    """

    def __init__(self, location: str):
        """`location` is ``scheme://bucket/prefix``; the prefix is taken as it is written, without decoding.

        Raises:
            ValueError: options follow a ``?``, which must come from the environment.
            OSError: there is no such kind of store.
        """
        scheme, _, rest = location.partition("://")
        if "?" in rest:
            raise ValueError("options after '?' are not read; set them in the environment, as AWS_ENDPOINT_URL")
        bucket, _, prefix = rest.partition("/")
        # No `client_options`: they would replace those of the environment.
        with _as_os_errors():
            self.store = from_url(f"{SCHEMES.get(scheme, scheme)}://{bucket}", retry_config={"retry_timeout": RETRY})
        self.prefix = prefix.strip("/")

    def read(self, name: str) -> bytes | None:
        with _as_os_errors(), contextlib.suppress(FileNotFoundError):
            return obstore.get(self.store, self._key(name)).bytes().to_bytes()
        return None

    def size(self, name: str) -> int | None:
        with _as_os_errors(), contextlib.suppress(FileNotFoundError):
            return obstore.head(self.store, self._key(name))["size"]
        return None

    def names(self, folder: str) -> list[str]:
        with _as_os_errors():
            found = obstore.list_with_delimiter(self.store, self._key(folder))
        paths = [item["path"] for item in found["objects"]] + list(found["common_prefixes"])
        return sorted(path.rsplit("/", 1)[-1] for path in paths)

    def write(self, name: str, content: bytes, *, durable: bool) -> None:
        """Write `name`; whatever is acknowledged is durable."""
        with _as_os_errors():
            obstore.put(self.store, self._key(name), content)

    def create(self, name: str, content: bytes) -> bool:
        """Write `name` if it is absent; of any number of callers exactly one gets True."""
        with _as_os_errors(), contextlib.suppress(AlreadyExistsError):
            obstore.put(self.store, self._key(name), content, mode="create")
            return True
        return False

    def delete(self, name: str) -> None:
        with _as_os_errors(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self.store, self._key(name))

    def walk(self, folder: str) -> list[StoredFile]:
        """All objects below `folder`."""
        with _as_os_errors():
            found = [item for page in obstore.list(self.store, self._key(folder)) for item in page]
        start = len(self.prefix) + 1 if self.prefix else 0
        return [StoredFile(item["path"][start:], item["size"], item["last_modified"].timestamp()) for item in found]

    def prune(self, folder: str) -> None:
        """Nothing: a bucket has no folders."""

    def _key(self, name: str) -> str:
        return "/".join(part for part in (self.prefix, name) if part)


@contextlib.contextmanager
def _as_os_errors() -> Generator[None]:
    """obstore's errors as those of a disk: their first line, which names the request and the answer."""
    try:
        yield
    except (BaseError, OSError) as error:  # "not found" is one of the system's own
        raise OSError(str(error).strip().splitlines()[0]) from error
