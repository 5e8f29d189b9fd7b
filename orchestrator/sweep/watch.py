"""Looks at a store again and again, as seldom as the store bears it."""

import time
from collections.abc import Iterator

from ..store.files import Store
from ..store.lease import holder

LOCAL_SECONDS = 2.0
OBJECT_SECONDS = 10.0
"""On an object store, whose every look is a request for each trial."""


def until_released(store: Store, folder: str) -> Iterator[None]:
    """Yields every few seconds while somebody holds the lease of `folder`, and once after that; writes nothing."""
    while holder(store, folder) is not None:
        time.sleep(LOCAL_SECONDS if store.is_local else OBJECT_SECONDS)
        yield
    yield
