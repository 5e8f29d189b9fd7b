"""Which parameters fine-tuning optimizes, at which rate and with which weight decay: as MAE's code, timm's and Lightly's."""

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from ssl_sweep.evaluation.classifier import Classifier
from ssl_sweep.evaluation.finetune import FINETUNE, FinetuneConfig, _classifier, _optimizer  # pyright: ignore
from ssl_sweep.evaluation.parameter_groups import parameter_groups
from ssl_sweep.evaluation.task import Task
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from timm.optim import param_groups_layer_decay
from torch import nn

MakeTask = Callable[..., Task]
VIT = BackboneConfig(
    name="vit_tiny_patch16_224",
    options={"patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2, "init_values": 1e-5},
)
Settings = dict[str, tuple[float, float]]
"""Rate and weight decay by the parameter's name."""


def protocol(name: str, **changes: Any) -> FinetuneConfig:
    config = FINETUNE.protocol(f"finetune/{name}").model_copy(update=changes)
    assert isinstance(config, FinetuneConfig)
    return config


def settings(model: nn.Module, groups: Any) -> Settings:
    """Of everything that is in the groups, each parameter once."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: Settings = {}
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)].removeprefix("encoder.model.")
            assert name not in found and parameter.requires_grad
            found[name] = (group.get("lr", group.get("lr_scale")), group["weight_decay"])
    return found


def maes(model: nn.Module, depth: int, decay: float) -> Settings:
    """What `util/lr_decay.py` of MAE gives: rate 1 for the layer `depth` + 1, and less by `decay` for each layer below it."""
    found: Settings = {}
    for long_name, parameter in model.named_parameters():
        name = long_name.removeprefix("encoder.model.")
        layer = depth + 1
        if name in ("cls_token", "pos_embed") or name.startswith("patch_embed"):
            layer = 0
        elif name.startswith("blocks"):
            layer = int(name.split(".")[1]) + 1
        spared = parameter.ndim == 1 or name in ("cls_token", "pos_embed")
        found[name] = (decay ** (depth + 1 - layer), 0.0 if spared else 0.05)
    return found


def test_a_vit_has_maes_groups(task: MakeTask) -> None:
    config = protocol("mae@2", lr=1.0)
    model = _classifier(task(VIT), config)
    found = settings(model, parameter_groups(model, config, 1.0))
    assert found == maes(model, 3, 0.65)
    rates = [
        found[name][0] for name in ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.2.norm1.weight")
    ]
    assert rates == pytest.approx([0.65**4, 0.65**3, 0.65]) and rates[0] == pytest.approx(0.1785, abs=1e-4)
    assert found["head.weight"] == (1.0, 0.05) and found["head.bias"] == (1.0, 0.0)
    assert found["fc_norm.weight"] == (1.0, 0.0) and not any(name.startswith("norm.") for name in found)
    optimizer = _optimizer(model, config, 0.5)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    halved = {name: (0.5 * rate, decay) for name, (rate, decay) in found.items()}
    assert settings(model, optimizer.param_groups) == halved


def test_the_first_version_is_as_it_was(task: MakeTask) -> None:
    config = protocol("mae@1")
    model = _classifier(task(VIT), config)
    found = settings(model, parameter_groups(model, config, 1.0))
    parts = (
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.weight",
        "blocks.1.attn.qkv.weight",
        "blocks.2.attn.qkv.weight",
    )
    rates = [found[name][0] for name in parts]
    assert rates == pytest.approx([0.65**3, 0.65**2, 0.65, 1.0])
    assert found["norm.weight"][0] == 1.0 and found["head.weight"] == (1.0, 0.0) and found["cls_token"][1] == 0.05


@pytest.mark.parametrize(
    "name", ["resnet10t", "convnext_atto", "efficientnet_lite0", "swin_tiny_patch4_window7_224", "poolformer_s12"]
)
def test_other_networks_have_timms_groups(name: str) -> None:
    """timm's, of the network with its classifier."""
    with torch.device("meta"):
        encoder = build_encoder(BackboneConfig(name=name), 224)
        whole: Any = timm.create_model(name, num_classes=10)
    model = Classifier(encoder, 10, 0)
    spared = whole.no_weight_decay() if hasattr(whole, "no_weight_decay") else ()
    groups = param_groups_layer_decay(whole, 0.05, no_weight_decay_list=spared, layer_decay=0.65)
    prefix = f"{whole.pretrained_cfg['classifier']}."
    wanted = {
        f"head.{key.removeprefix(prefix)}" if key.startswith(prefix) else key: value
        for key, value in settings(whole, groups).items()
    }
    found = settings(model, parameter_groups(model, protocol("mae@2"), 1.0))
    assert found.keys() == wanted.keys()
    for key, (rate, decay) in wanted.items():
        assert found[key] == (pytest.approx(rate), decay), key
    assert len({rate for rate, _ in found.values()}) > 4


def test_rotary_positions_that_are_learned_are_of_the_lowest_layer(task: MakeTask) -> None:
    config = protocol("mae@2")
    model = _classifier(task(VIT.model_copy(update={"name": "vit_small_patch16_rope_mixed_224"})), config)
    found = settings(model, parameter_groups(model, config, 1.0))
    assert found["rope.freqs"] == found["cls_token"] == (pytest.approx(0.65**4), 0.0)
    assert found["blocks.2.attn.qkv.weight"] == (pytest.approx(0.65), 0.05)
    assert "fc_norm.weight" in found and "norm.weight" not in found  # the mean of the patches, as of other ViTs


def test_lightlys_groups_keep_what_lies_beside_other_modules(task: MakeTask) -> None:
    config = protocol("lightly-vit@1")
    model = _classifier(task(VIT.model_copy(update={"name": "vit_small_patch16_dinov3_qkvb"})), config)
    left_out = {name.removeprefix("encoder.model.") for name, _ in model.named_parameters()} - settings(
        model, parameter_groups(model, config, 1.0)
    ).keys()
    assert {"cls_token", "reg_token", "blocks.0.gamma_1", "blocks.0.attn.q_bias"} <= left_out


def test_the_classifier_of_cifar_resnet_is_the_top_layer() -> None:
    model = Classifier(build_encoder(BackboneConfig(name="resnet18-cifar"), 32), 10, 0)
    found = settings(model, parameter_groups(model, protocol("mae@2"), 1.0))
    assert found.keys() == {name.removeprefix("encoder.model.") for name, _ in model.named_parameters()}
    assert found["head.weight"] == (1.0, 0.05)
    assert found["layer4.1.conv1.weight"][0] == pytest.approx(0.65) and found["conv1.weight"][0] == pytest.approx(
        0.65**9
    )


def test_a_vit_has_lightlys_groups(task: MakeTask) -> None:
    config = protocol("lightly-vit@1")
    model = _classifier(task(VIT), config)
    found = settings(model, parameter_groups(model, config, 2.0))
    names = {name.removeprefix("encoder.model.") for name, _ in model.named_parameters()}
    assert names - found.keys() == {"cls_token", "pos_embed"}
    for name, (rate, decay) in found.items():
        head = name.startswith("head.")
        assert rate == (0.001 if head else 2.0)  # whatever the batch
        assert decay == (0.0 if head or "norm" in name or name.endswith("bias") else 0.05), name
    assert found["blocks.0.ls1.gamma"][1] == 0.05  # a LayerScale is neither norm nor bias
    assert not any(part.drop_prob for part in model.modules() if hasattr(part, "drop_prob"))
    untrained = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert len(untrained) == 2


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_rate_of_the_head_is_of_the_head_alone(optimizer: str, task: MakeTask) -> None:
    plain = FinetuneConfig.model_validate({"optimizer": optimizer})
    model = _classifier(task(VIT), plain)
    before = settings(model, parameter_groups(model, plain, 1.0))
    after = settings(model, parameter_groups(model, plain.model_copy(update={"head_lr": 7.0}), 1.0))
    assert {name: (rate, 0.0) for name, (rate, _) in after.items() if name.startswith("head.")} == {
        "head.weight": (7.0, 0.0),
        "head.bias": (7.0, 0.0),
    }
    assert {name: value for name, value in after.items() if not name.startswith("head.")} == {
        name: value for name, value in before.items() if not name.startswith("head.")
    }


def drop_path(model: nn.Module) -> list[float]:
    """Rates of all drop paths, in their order; 0 for blocks without one."""
    parts: list[Any] = [part for part in model.modules() if hasattr(part, "drop_prob")]
    return [part.drop_prob for part in parts]


def test_drop_path_rises_from_block_to_block(task: MakeTask) -> None:
    model = _classifier(task(VIT), protocol("mae@2"))
    rates = drop_path(model.encoder.model)
    assert rates == pytest.approx([0.05, 0.05, 0.1, 0.1])  # linspace(0, 0.1, 3): the first block has none
    model = _classifier(task(BackboneConfig(name="resnet10t")), protocol("mae@2"))
    whole = timm.create_model("resnet10t", drop_path_rate=0.1)
    assert drop_path(model) == drop_path(whole) and max(drop_path(model)) == pytest.approx(0.1)


def test_the_mean_of_patches_is_maes(task: MakeTask) -> None:
    """`models_vit.py` with `global_pool`: no norm of the tokens, their mean without the class token, a norm that begins anew."""
    made = task(VIT)
    with torch.no_grad():
        made.encoder.model.norm.weight.fill_(3.0)
    model = _classifier(made, protocol("mae@2", drop_path=0.0)).eval()
    images = torch.randn(5, 3, 16, 16)
    network = made.encoder.eval().model
    tokens = network.blocks(network.norm_pre(network._pos_embed(network.patch_embed(images))))
    pooled = nn.functional.layer_norm(tokens[:, 1:].mean(dim=1), (32,), eps=1e-6)
    torch.testing.assert_close(model.encoder(images), pooled)
    kept = _classifier(made, protocol("mae@2", drop_path=0.0, pooling="backbone")).eval()
    torch.testing.assert_close(kept.encoder(images), made.encoder(images))


@pytest.mark.parametrize("name", ["resnet10t", "deit_tiny_distilled_patch16_224"])
def test_what_has_no_class_token_alone_keeps_its_pooling(name: str, task: MakeTask) -> None:
    made = task(BackboneConfig(name=name))
    model = _classifier(made, protocol("mae@2", drop_path=0.0)).eval()
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model.encoder(images), made.encoder.eval()(images))


def test_how_the_classifier_begins(task: MakeTask) -> None:
    made = task(VIT)
    maes = _classifier(made, protocol("mae@2")).head
    assert maes.weight.std().item() == pytest.approx(2e-5, rel=0.2) and not maes.bias.any()
    lightlys = _classifier(made, protocol("lightly-vit@1")).head
    bound = 32**-0.5
    for values in (lightlys.weight, lightlys.bias):
        assert values.abs().max() <= bound and values.abs().max() > 0.6 * bound
    torch.testing.assert_close(lightlys.weight.std().item(), bound / 3**0.5, rtol=0.15, atol=0)
    assert torch.equal(lightlys.weight, _classifier(made, protocol("lightly-vit@1")).head.weight)
    first = _classifier(made, protocol("mae@1")).head
    assert first.weight.std().item() == pytest.approx(0.01, rel=0.2) and not first.bias.any()


def test_positions_that_a_method_fixed_stay_fixed(task: MakeTask) -> None:
    made = task(VIT)
    made.encoder.fix_positions()
    config = protocol("mae@2")
    model = _classifier(made, config)
    assert "pos_embed" not in settings(model, parameter_groups(model, config, 1.0))
    torch.testing.assert_close(model.encoder.model.pos_embed, made.encoder.model.pos_embed)


def test_the_rate_ends_where_maes_ends() -> None:
    config = protocol("mae@2")
    assert config.lr * config.final_lr_factor == pytest.approx(1e-6)
