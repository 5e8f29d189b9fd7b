"""From a method's name to its configuration (without torch) and to its class.

A method's file holds both, as a reader wants it, and opens with `import torch`, which takes seconds. To check a sweep
file in a blink, `load_config_class` runs of that file only the configuration: the class that derives from
`MethodConfig`, or from another method's configuration, and the imports that are free of torch. Once the file itself has
been imported, its own class is used.
"""

import ast
import importlib
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .config import MethodConfig

if TYPE_CHECKING:
    from .base import Method, TrainingSet
    from .encoder import Encoder

LIGHT_IMPORTS = {"typing", "pydantic", "config", "view_presets"}


def load_method_class(name: str) -> "type[Method[Any]]":
    """The class of method `name`; imports torch."""
    module = importlib.import_module(f".{name}", __package__)
    from .base import Method  # torch comes with it

    return next(
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Method) and member.__module__ == module.__name__
    )


def build_method(config: MethodConfig, encoder: "Encoder", data: "TrainingSet") -> "Method[Any]":
    """The method of this configuration around a freshly built encoder; imports torch."""
    return load_method_class(config.name)(config, encoder, data)


@cache
def load_config_class(name: str) -> type[MethodConfig]:
    """The configuration class of method `name`, without importing torch."""
    module_name = f"{__package__}.{name}"
    module = sys.modules.get(module_name) or _configuration_alone(name, module_name)
    return next(
        member
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, MethodConfig) and member.__module__ == module_name
    )


def _configuration_alone(name: str, module_name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    module = ModuleType(module_name)
    module.__package__ = __package__
    module.__file__ = str(path)
    for method, config in _bases(tree):
        setattr(module, config, load_config_class(method))
    tree.body = [node for node in tree.body if _is_light(node)]
    exec(compile(tree, str(path), "exec"), vars(module))
    return module


def _is_light(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module in LIGHT_IMPORTS
    return isinstance(node, ast.ClassDef) and node.name.endswith("Config")


def _bases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Methods, and names of their configurations, that the file imports to derive its own from."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module not in LIGHT_IMPORTS:
            yield from ((node.module, alias.name) for alias in node.names if alias.name.endswith("Config"))
