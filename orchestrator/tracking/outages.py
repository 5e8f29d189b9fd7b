"""What to do with an MLflow that fails: say so once, leave it alone for a while, and say once that it works again."""

import logging
import time
from collections.abc import Callable

from ..spec.secrets import without_passwords
from .database import sqlite_path

log = logging.getLogger(__name__)

BEYOND_REPAIR = ("malformed", "not a database")
"""Words of SQLite's about a damaged file."""
RETRY_SECONDS = 10.0
"""During an outage, between two attempts."""
CLOSING_RETRY_SECONDS = 1.0
CLOSING_SECONDS = 30.0
"""How long the end of a sweep waits for an MLflow that worked before."""


class Outages:
    """Makes calls to MLflow, and tells an outage, in which all calls fail, from a call that is refused."""

    def __init__(self, uri: str, works: Callable[[], bool]):
        """`works` asks MLflow for something small that it has to write; it may raise whatever MLflow raises."""
        self.uri, self.works, self.place = uri, works, without_passwords(uri)
        self.out = False
        """During an outage."""
        self.happened = False
        """Whether there was any: a request whose answer was lost may have been done."""
        self.reached = False
        """Whether any call was answered."""
        self.refused: set[str] = set()
        """Messages of calls that failed though MLflow works."""
        self._retry_at = 0.0

    def attempt(self, call: Callable[[], None]) -> bool:
        """Whether `call` was done. Trouble with MLflow costs nothing but lateness: the store has everything."""
        if time.monotonic() < self._retry_at:
            return False
        try:
            call()
        except Exception as error:  # a database that is locked, full or damaged, a server that is away or refuses
            self._failed(error)
            return False
        self._answered()
        return True

    def insist(self, call: Callable[[], None]) -> bool:
        """Make a call at the end of a sweep: wait for an end of the outage, unless MLflow was never reached.

        Returns False if the outage goes on; True if the call was done or refused.
        """
        began = time.monotonic()
        self._retry_at = 0.0
        while not self.attempt(call) and self.out:
            if not self.reached or time.monotonic() - began > CLOSING_SECONDS:
                return False
            time.sleep(CLOSING_RETRY_SECONDS)
            self._retry_at = 0.0
        return True

    def _failed(self, error: Exception) -> None:
        message = _first_line(error)
        if not self._is_outage(error):
            self._answered()
            if message not in self.refused:
                self.refused.add(message)
                log.warning("MLflow at %s refuses: %s; events wait in the store", self.place, message)
            return
        if not self.out:
            log.warning("MLflow at %s: %s; events wait in the store%s", self.place, message, self._remedy(message))
        self.out = self.happened = True
        self._retry_at = time.monotonic() + RETRY_SECONDS

    def _remedy(self, message: str) -> str:
        """What the user can do about a database that no waiting mends."""
        path = sqlite_path(self.uri)
        if path is None or not any(words in message for words in BEYOND_REPAIR):
            return ""
        return f". Restore {path}, or delete it: the next submit makes it again"

    def _is_outage(self, error: Exception) -> bool:
        from mlflow.exceptions import MlflowException

        if isinstance(error, MlflowException) and error.error_code == "TEMPORARILY_UNAVAILABLE":
            return True  # a database's error: asking again would wait for its lock again
        try:
            return not self.works()
        except Exception:
            return True

    def _answered(self) -> None:
        self.reached = True
        if self.out:
            log.warning("MLflow at %s works again", self.place)
        self.out = False


def _first_line(error: BaseException) -> str:
    return without_passwords((str(error).strip().splitlines() or [type(error).__name__])[0])[:300]
