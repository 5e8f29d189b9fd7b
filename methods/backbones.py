"""Which backbones there are, without importing torch: timm's model names are read from its source."""

import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from .config import BackboneConfig

MODELS = r"@register_model\s+def (\w+)"
"""A model in timm's source: its name."""
OWN_BACKBONES = ("resnet18-cifar",)
ROTARY_MODULE = "eva"
VIT_MODULES = ("vision_transformer", "deit", ROTARY_MODULE)
"""timm's modules whose models give tokens that a masked method can drop."""

DROP_BY_DEFAULT: dict[str, str | None] = {
    r"bat_|\w+_rmlp_|swinv2_cr_|test_vit_relpos|vit_s?relpos_|cpubone_b2_": None,
    r"cpubone_": "proj_drop_rate",
    r"ghostnet|legacy_se|repghostnet|rexnetr?_": "drop_rate",
    r"vit_\w+_sapiens2": "rope_rescale_coords",
    r"efficientformerv2_(l|s2)|fasternet_(l|m|s|t1|t2)|focalnet_|nest_|nextvit_|swin_|swinv2_|tiny_vit_(11|21)m": (
        "drop_path_rate"
    ),
}
"""timm's models with drop path or dropout that nobody asked for, by how their names begin, and the option that sets its rate."""
ROTARY_DRAWS = ("rope_shift_coords", "rope_jitter_coords", "rope_rescale_coords")
"""Options that move rotary positions at random in training."""


@cache
def backbone_modules() -> dict[str, str]:
    """Each backbone's name, and the module that defines it."""
    modules: dict[str, str] = dict.fromkeys(OWN_BACKBONES, "resnet")
    for path in sorted(_timms_models().glob("*.py")):
        for name in re.findall(MODELS, path.read_text(encoding="utf-8")):
            modules[name] = path.stem
    return modules


def _timms_models() -> Path:
    spec = importlib.util.find_spec("timm")  # finds the package; runs nothing of it
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "models"


def is_known(name: str) -> bool:
    """Whether there is a backbone `name` (a timm tag after a dot may follow)."""
    return name.split(".")[0] in backbone_modules()


def is_vit(name: str) -> bool:
    """True where backbone `name` (a timm tag after a dot may follow) is a vision transformer."""
    name = name.split(".")[0]
    return name not in OWN_BACKBONES and backbone_modules().get(name) in VIT_MODULES  # ours spare reading timm's source


def is_rotary(name: str) -> bool:
    """True where backbone `name` is a vision transformer of timm's `Eva`, whose positions may be angles."""
    return is_vit(name) and backbone_modules()[name.split(".")[0]] == ROTARY_MODULE


def may_have_class_token(config: BackboneConfig) -> bool:
    """Whether the backbone may be a ViT with a class token, by its options or by timm's source."""
    name = config.name.split(".")[0]
    if not is_vit(name):
        return False
    given = config.options.get("class_token")
    return given is not False and (given is True or name not in _without_class_token())


@cache
def _without_class_token() -> frozenset[str]:
    found: set[str] = set()
    for module in VIT_MODULES:
        parts = re.split(MODELS, (_timms_models() / f"{module}.py").read_text(encoding="utf-8"))
        found |= {name for name, body in zip(parts[1::2], parts[2::2], strict=True) if "class_token=False" in body}
    return frozenset(found)


NOT_OURS_TO_SET: Mapping[str, str] = {
    "in_chans": "images have three channels",
    "num_classes": "evaluations bring classifiers of their own",
    "features_only": "methods and evaluations take pooled features",
    "pretrained": "nothing is downloaded (timm's weights are taken from its cache by `weights: timm`, beside `options`)",
    "pretrained_cfg": "nothing is downloaded",
    "use_naflex": "a `naflexvit` has a name of its own",
    "checkpoint_path": "the file is named as `weights`, beside `options`",
}
"""Options of timm's that cannot be used here, and why."""


SMALLEST_IMAGES = {"inception_v3": 75, "inception_v4": 75, "inception_resnet_v2": 75}
"""Sides in pixels below which nothing of an image reaches the last layer."""


def backbone_problem(config: BackboneConfig, image_size: int) -> tuple[tuple[str, ...], str] | None:
    """The key of what cannot be used for images of `image_size` pixels, the name or an option, and why."""
    least = SMALLEST_IMAGES.get(config.name.split(".")[0], 0)
    if image_size < least:
        return ("name",), f"'{config.name}' needs images of {least} pixels or more, but `image_size` is {image_size}"
    problem = _option_problem(config, image_size)
    return None if problem is None else (("options", problem[0]), problem[1])


def _option_problem(config: BackboneConfig, image_size: int) -> tuple[str, str] | None:
    for key, why in NOT_OURS_TO_SET.items():
        if key in config.options:
            return key, f"{why}; leave it out"
    if config.options.get("global_pool", "avg") == "":
        return "global_pool", "methods and evaluations take pooled features; leave it out, or name a pooling"
    if not is_vit(config.name):
        return None
    patch = config.options.get("patch_size")
    sides = patch if isinstance(patch, tuple) else (patch,)
    if len(set(sides)) != 1:
        return "patch_size", f"got {list(sides)}; patches must be square"
    side = sides[0]
    if isinstance(side, int) and side > image_size:
        return "patch_size", f"got {side}; must be at most `image_size`, which is {image_size}"
    return None


def draws(config: BackboneConfig) -> bool:
    """Whether the backbone is trained with drop path, dropout or moved positions, by its options or by timm's defaults."""
    rates = {key: value for key, value in config.options.items() if "drop" in key or key in ROTARY_DRAWS}
    if any(rates.values()):
        return True
    option = _drops_by_default(config.name.split(".")[0])
    return option != "" and option not in rates


@cache
def _drops_by_default(name: str) -> str | None:
    """The value in `DROP_BY_DEFAULT`; empty if the model is not in it."""
    return next((option for start, option in DROP_BY_DEFAULT.items() if re.match(start, name)), "")
