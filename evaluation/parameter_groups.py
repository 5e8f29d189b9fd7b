"""What fine-tuning optimizes, at which rate and with which weight decay: as MAE, as Lightly, and as `finetune/mae@1` did."""

from collections.abc import Iterator
from fnmatch import fnmatch
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypedDict

from timm.models import group_parameters
from timm.optim import param_groups_layer_decay
from timm.optim._param_groups import auto_group_layers
from torch import nn

from ..methods.encoder import Encoder
from ..methods.freezing import factors
from .classifier import Classifier

if TYPE_CHECKING:
    from .finetune import FinetuneConfig

NORMS = (
    nn.modules.batchnorm._NormBase,  # pyright: ignore[reportPrivateUsage]
    nn.LayerNorm,
    nn.CrossMapLRN2d,
    nn.LocalResponseNorm,
    nn.GroupNorm,
)
"""Whose parameters Lightly does not decay. A LayerScale is none of them."""


class Group(TypedDict):
    """Parameters that share a peak rate and a weight decay."""

    params: list[nn.Parameter]
    lr: float
    weight_decay: float


def parameter_groups(model: Classifier, config: "FinetuneConfig", lr: float) -> list[Group]:
    """Everything that is trained, each parameter once. `lr` is the peak rate for the batch that is used."""
    if config.param_groups == "mae":
        groups = _mae(model, config, lr)
    elif config.param_groups == "lightly":
        groups = _lightly(model, config, lr)
    elif config.optimizer == "sgd":
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        groups = [Group(params=trained, lr=lr, weight_decay=config.weight_decay)]
    else:
        groups = _headless(model, config, lr)
    if config.rates:
        groups = list(_with_factors(groups, factors(model, config.rates)))
    return groups if config.head_lr == "scaled" else list(_with_head_rate(groups, model.head, config.head_lr))


def freeze_tokens(encoder: Encoder) -> None:
    """Train no parameter of a module that has modules in it: of a ViT its class token, registers and positions.

    Lightly's ViTs are fine-tuned like this, since its groups are made of the modules without others in them. By the same rule
    timm's `Eva` keeps its layer scales and the biases of queries and values.
    """
    for module in encoder.model.modules():
        if any(module.children()):
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)


def layers(encoder: Encoder) -> tuple[dict[str, int], int]:
    """The layer of each parameter of the encoder's network, by its name there, and that of a classifier on top.

    Of a ViT as in MAE's `util/lr_decay.py`: what comes before the blocks is layer 0, the classifier is the layer after the
    last block, and the final norm is with it. Of others as timm groups the network with its classifier.
    """
    network = encoder.model
    names = [name for name, _ in network.named_parameters()]
    if encoder.patch_size is not None:
        top = len(network.blocks) + 1
        return {name: _vit_layer(name, top) for name in names}, top
    head = network.pretrained_cfg.get("classifier") or "head"
    head = f"{head if isinstance(head, str) else head[0]}.weight"
    whole: Any = SimpleNamespace(  # what timm asks of a network
        named_parameters=lambda: [(name, None) for name in [*names, head]], pretrained_cfg=network.pretrained_cfg
    )
    found: Any
    if hasattr(network, "group_matcher"):
        found = group_parameters(whole, network.group_matcher(coarse=False), reverse=True)
    else:
        found = auto_group_layers(whole)
    return {name: found[name] for name in names}, found[head]


def _vit_layer(name: str, top: int) -> int:
    part, _, rest = name.partition(".")
    if part == "blocks":
        return int(rest.partition(".")[0]) + 1
    before = part in ("cls_token", "dist_token", "reg_token", "pos_embed", "rope", "patch_embed", "norm_pre")
    return 0 if before else top


def _mae(model: Classifier, config: "FinetuneConfig", lr: float) -> list[Group]:
    """MAE's: the rate falls by `layer_decay` from layer to layer; vectors, tokens and positions have no weight decay."""
    network = model.encoder.model
    layer_of, top = layers(model.encoder)
    spared: set[str] = set(network.no_weight_decay()) if hasattr(network, "no_weight_decay") else set()
    groups: dict[tuple[int, bool], Group] = {}
    own = [(name, parameter, layer_of[name]) for name, parameter in network.named_parameters()]
    for name, parameter, layer in [*own, *(("head", parameter, top) for parameter in model.head.parameters())]:
        if not parameter.requires_grad:
            continue
        decays = parameter.ndim > 1 and not any(fnmatch(name, pattern) for pattern in spared)
        rate = lr * config.layer_decay ** (top - layer)
        empty = Group(params=[], lr=rate, weight_decay=config.weight_decay if decays else 0.0)
        groups.setdefault((layer, decays), empty)["params"].append(parameter)
    return list(groups.values())


def _lightly(model: Classifier, config: "FinetuneConfig", lr: float) -> list[Group]:
    """Lightly's: one rate; norms, biases and the classifier have no weight decay."""
    decayed, others = list[nn.Parameter](), list[nn.Parameter]()
    for module in model.encoder.model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                spared = isinstance(module, NORMS) or name.endswith("bias")
                (others if spared else decayed).append(parameter)
    return [
        Group(params=decayed, lr=lr, weight_decay=config.weight_decay),
        Group(params=[*others, *model.head.parameters()], lr=lr, weight_decay=0.0),
    ]


def _headless(model: Classifier, config: "FinetuneConfig", lr: float) -> list[Group]:
    """As timm groups a network without its classifier: the last layer of the network has the classifier's rate."""
    network = param_groups_layer_decay(
        model.encoder.model, weight_decay=config.weight_decay, layer_decay=config.layer_decay
    )
    head = {"params": list(model.head.parameters()), "weight_decay": 0.0}
    groups: list[Any] = [*network, head]
    return [
        Group(params=group["params"], lr=lr * group.get("lr_scale", 1.0), weight_decay=group["weight_decay"])
        for group in groups
    ]


def _with_factors(groups: list[Group], factor_of: dict[nn.Parameter, float]) -> Iterator[Group]:
    """The groups in one part for each factor on the rates of their parameters."""
    for group in groups:
        parts: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            parts.setdefault(factor_of.get(parameter, 1.0), []).append(parameter)
        for factor, params in parts.items():
            yield Group(params=params, lr=group["lr"] * factor, weight_decay=group["weight_decay"])


def _with_head_rate(groups: list[Group], head: nn.Module, rate: float) -> Iterator[Group]:
    """The groups with the parameters of the head at a rate of their own."""
    ours = {id(parameter) for parameter in head.parameters()}
    for group in groups:
        for is_head in (False, True):
            params = [parameter for parameter in group["params"] if (id(parameter) in ours) == is_head]
            if params:
                yield Group(params=params, lr=rate if is_head else group["lr"], weight_decay=group["weight_decay"])
