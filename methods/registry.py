"""What a sweep file may name (methods, evaluations, data sets): our own, and what other packages add as entry points."""

import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Objects by name, imported when they are first asked for.

    Entry points are looked at only for names that are not our own, or to list all names. One that cannot be imported,
    is not what the registry holds, or takes a name that is in use is logged as a warning and left out.
    """

    def __init__(self, kind: str, package: str, own: Mapping[str, str], refusal: Callable[[str, T], str | None]):
        """`own`: name to ``module:attribute``, the module within `package`. Entry points are in the group ``ssl_sweep.<kind>``.

        `refusal` says why an object cannot have a name, in words that follow "it", or returns None.
        """
        self.group, self.package = f"ssl_sweep.{kind}", package
        self._refusal = refusal
        self._own = dict(own)
        self._loaded: dict[str, T] = {}
        self._plugins: dict[str, T] | None = None

    def __getitem__(self, name: str) -> T:
        if name not in self._own:
            return self._from_plugins()[name]
        if name not in self._loaded:
            module, _, attribute = self._own[name].partition(":")
            self._loaded[name] = getattr(importlib.import_module(f"{self.package}.{module}"), attribute)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._own or name in self._from_plugins())

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from self._from_plugins()

    def __len__(self) -> int:
        return len(self._own) + len(self._from_plugins())

    def _from_plugins(self) -> Mapping[str, T]:
        if self._plugins is None:
            self._plugins = {}
            for entry in entry_points(group=self.group):
                self._add(entry, self._plugins)
        return self._plugins

    def _add(self, entry: EntryPoint, plugins: dict[str, T]) -> None:
        package = entry.dist.name if entry.dist is not None else "unknown"
        where = f"plug-in '{entry.name}' of package '{package}' ({entry.value}, group {self.group})"
        if entry.name in self._own or entry.name in plugins:
            log.warning("%s is skipped: the name is already in use", where)
            return
        try:
            found: T = entry.load()
        except Exception as error:  # whatever another package's code raises must not end ours
            log.warning("%s is skipped: %s: %s", where, type(error).__name__, error)
            return
        reason = self._refusal(entry.name, found)
        if reason is not None:
            log.warning("%s is skipped: it %s", where, reason)
            return
        plugins[entry.name] = found
