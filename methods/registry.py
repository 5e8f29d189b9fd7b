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

    Entry points are looked at only for names that are not our own, and imported only if they are asked for by name, or to
    list all names. One that cannot be imported, is not what the registry holds, or takes a name that is in use is logged
    as a warning, once, and left out.
    """

    def __init__(self, kind: str, package: str, own: Mapping[str, str], refusal: Callable[[str, T], str | None]):
        """`own`: name to ``module:attribute``, the module within `package`. Entry points are in the group ``ssl_sweep.<kind>``.

        `refusal` says why an object cannot have a name, in words that follow "it", or returns None.
        """
        self.group, self.package = f"ssl_sweep.{kind}", package
        self._refusal = refusal
        self._own = dict(own)
        self._loaded: dict[str, T] = {}
        self._plugins: dict[str, EntryPoint] | None = None

    def __getitem__(self, name: str) -> T:
        if name not in self:
            raise KeyError(name)
        if name not in self._loaded:
            module, _, attribute = self._own[name].partition(":")
            self._loaded[name] = getattr(importlib.import_module(f"{self.package}.{module}"), attribute)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._own or self._is_usable(name))

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in tuple(self._entries()) if self._is_usable(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _is_usable(self, name: str) -> bool:
        """Whether there is a plug-in of this name, imported now at the latest. One that cannot be used is forgotten."""
        entry = self._entries().get(name)
        if entry is None or name in self._loaded:
            return entry is not None
        problem = self._import(entry)
        if problem is not None:
            del self._entries()[name]
            self._skip(entry, problem)
        return problem is None

    def _import(self, entry: EntryPoint) -> str | None:
        """Import a plug-in; returns why it cannot be used, or None."""
        try:
            found: T = entry.load()
            reason = self._refusal(entry.name, found)
        except Exception as error:  # whatever another package's code raises must not end ours
            return f"{type(error).__name__}: {error}"
        if reason is not None:
            return f"it {reason}"
        self._loaded[entry.name] = found
        return None

    def _entries(self) -> dict[str, EntryPoint]:
        """The plug-ins by name, but for those that cannot be used as far as is known."""
        if self._plugins is None:
            self._plugins = {}
            for entry in entry_points(group=self.group):
                if entry.name in self._own or entry.name in self._plugins:
                    self._skip(entry, "the name is already in use")
                else:
                    self._plugins[entry.name] = entry
        return self._plugins

    def _skip(self, entry: EntryPoint, reason: str) -> None:
        package = entry.dist.name if entry.dist is not None else "unknown"
        where = f"plug-in '{entry.name}' of package '{package}' ({entry.value}, group {self.group})"
        log.warning("%s is skipped: %s", where, reason)
