"""Which backbones there are, without importing torch: timm's model names are read from its source."""

import importlib.util
import re
from functools import cache
from pathlib import Path

OWN_BACKBONES = ("resnet18-cifar",)
VIT_MODULES = ("vision_transformer", "deit")
"""timm's modules whose models give tokens that a masked method can drop."""


@cache
def backbone_modules() -> dict[str, str]:
    """Each backbone's name, and the module that defines it."""
    spec = importlib.util.find_spec("timm")  # finds the package; runs nothing of it
    assert spec is not None and spec.origin is not None
    modules: dict[str, str] = dict.fromkeys(OWN_BACKBONES, "resnet")
    for path in sorted((Path(spec.origin).parent / "models").glob("*.py")):
        for name in re.findall(r"@register_model\s+def (\w+)", path.read_text(encoding="utf-8")):
            modules[name] = path.stem
    return modules


def is_vit(name: str) -> bool:
    """True where backbone `name` (a timm tag after a dot may follow) is a vision transformer."""
    name = name.split(".")[0]
    return name not in OWN_BACKBONES and backbone_modules().get(name) in VIT_MODULES  # ours spare reading timm's source
