"""From a configuration to the method that it configures. Torch is imported when a method is first asked for."""

import importlib
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .config import MethodConfig

if TYPE_CHECKING:
    from .base import Method, TrainingSet
    from .encoder import Encoder


def build_method(config: MethodConfig, encoder: "Encoder", data: "TrainingSet") -> "Method[Any]":
    """The method of this configuration around a freshly built encoder.

    Raises:
        TypeError: `load_method_class` finds no method for it.
    """
    return load_method_class(type(config))(config, encoder, data)


def load_method_class(config: type[MethodConfig]) -> "type[Method[Any]]":
    """The class that `config` configures: `HypersphereConfig` is the configuration of `Hypersphere`, in the same file.

    A configuration in a folder ``configs`` has its method beside that folder: `DINOConfig` of ``methods/configs/dino.py``
    is the configuration of `DINO` in ``methods/dino.py``.

    Raises:
        TypeError: there is no such class, or it does not derive from `Method`.
    """
    parts = config.__module__.split(".")
    if parts[-2:-1] == ["configs"]:
        del parts[-2]
    module = importlib.import_module(".".join(parts))
    from .base import Method  # torch comes with it

    name = config.__name__.removesuffix("Config")
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise TypeError(f"{config.__name__} configures class {name}, but {module.__name__} defines no such Method")
    return found


def refusal(name: str, found: object) -> str | None:
    """Why `found` cannot be the configuration of method `name`, in words that follow "it"; None if it can."""
    if not (isinstance(found, type) and issubclass(found, MethodConfig)):
        return "is not a class that derives from MethodConfig"
    if not found.__name__.endswith("Config"):
        return f"is named {found.__name__}; the configuration of class X must be named XConfig"
    missing = [key for key in ("title", "paper", "family", "pretrain") if not hasattr(found, key)]
    if missing:
        return f"does not set {', '.join(missing)}"
    try:
        config = found.model_validate({})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, item['loc'])) or 'defaults'}: {item['msg']}" for item in error.errors())
        return f"is not valid without settings ({'; '.join(problems)})"
    return None if config.name == name else f"has the name '{config.name}'"
