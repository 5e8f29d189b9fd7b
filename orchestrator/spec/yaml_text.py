"""Data as the text of a sweep file, which `read_document` reads as the same data."""

from collections.abc import Mapping

import yaml

from .yaml_document import CoreResolver

WIDTH = 120


class _Dumper(CoreResolver, yaml.SafeDumper):
    """Puts text in quotes where the core schema would read something else: ``'1e-3'``; but not ``no``."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def as_yaml(values: Mapping[str, object]) -> str:
    """The text of a sweep file with `values`, in their order."""
    return yaml.dump(plain(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)


def plain(value: object) -> object:
    """Lists for tuples, as YAML has them."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (tuple, list)) else value
