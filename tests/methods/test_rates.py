"""Rates of parts of a backbone: patterns, frozen parts, and what the optimizer makes of the factors."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from ssl_sweep.methods.base import Method
from ssl_sweep.methods.config import BackboneConfig, OptimizerConfig, PretrainConfig
from ssl_sweep.methods.encoder import Encoder, build_encoder
from ssl_sweep.methods.freezing import freeze, thaw
from ssl_sweep.methods.optimizer import build_optimizer, set_rates
from ssl_sweep.methods.rates import Rates, factor_of, rates_problem
from tiny import IMAGE_SIZE, RESNET, VIT, progress, tiny_batch, tiny_method

BACKBONES = {"resnet": RESNET, "vit": VIT}
LOWER: dict[str, dict[str, float]] = {
    "resnet": {"conv1*": 0, "bn1.*": 0, "layer1.*": 0},
    "vit": {"cls_token": 0, "patch_embed.*": 0, "blocks.0.*": 0},
}


def names_of(backbone: BackboneConfig) -> list[str]:
    return [name for name, _ in build_encoder(backbone, IMAGE_SIZE).model.named_parameters()]


def encoders(method: Method[Any]) -> list[Encoder]:
    return [module for module in method.modules() if isinstance(module, Encoder)]


def frozen_parts(encoder: Encoder, rates: dict[str, float]) -> dict[str, torch.Tensor]:
    state = encoder.model.state_dict()
    return {name: tensor.clone() for name, tensor in state.items() if factor_of(name, rates) == 0}


def test_the_last_pattern_that_matches_counts() -> None:
    rates = {"*": 0.1, "layer1.*": 0, "*.bias": 1}
    found = [factor_of(name, rates) for name in ("conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.bias")]
    assert found == [0.1, 0, 1] and factor_of("conv1.weight", {"layer1.*": 0}) == 1


def test_they_are_written_in_their_order_and_read_back() -> None:
    one, other = (
        PretrainConfig.model_validate({"rates": rates}) for rates in ({"b": 0, "a": 1 / 3}, {"a": 1 / 3, "b": 0})
    )
    assert one.model_dump()["rates"] == ["b: 0", "a: 0.3333333333333333"] != other.model_dump()["rates"]
    again = PretrainConfig.model_validate_json(one.model_dump_json())
    assert again.rates is not None and list(again.rates.items()) == [("b", 0), ("a", 1 / 3)]
    assert "rates" not in PretrainConfig().model_dump()
    for bad in ({"a": -1}, {"a": "fast"}, {"": 0}, {"a": float("nan")}, [0.1]):
        with pytest.raises(ValidationError):
            TypeAdapter(Rates).validate_python(bad, strict=True) if bad != {"a": float("nan")} else PretrainConfig(
                rates=bad
            )


@pytest.mark.parametrize(
    ("backbone", "pattern", "message"),
    [
        ("resnet", "layr1.*", "did you mean 'layer1.0.*'? (it has conv1."),
        ("resnet", "layer1", "did you mean 'layer1.*'?"),
        ("vit", "block.*", "(it has cls_token, pos_embed, patch_embed.*, blocks.0.* to blocks.1.*, norm.*)"),
    ],
)
def test_a_pattern_that_matches_nothing(backbone: str, pattern: str, message: str) -> None:
    found = rates_problem({"*": 0.5, pattern: 0}, names_of(BACKBONES[backbone]), backbone)
    assert found is not None and found.startswith(f"'{pattern}' matches no parameter of backbone '{backbone}'")
    assert message in found


@pytest.mark.parametrize(
    ("name", "backbone"),
    [("byol", "resnet"), ("moco", "resnet"), ("simclr", "resnet"), ("dino", "vit"), ("mae", "vit"), ("mocov3", "vit")],
)
def test_frozen_parts_stay_in_student_and_teacher(name: str, backbone: str) -> None:
    """Parameters and statistics of batch norm, with the largest weight decay and momentum."""
    rates = LOWER[backbone]
    method = tiny_method(name, BACKBONES[backbone])
    freeze(method, rates)
    method.train()
    config = OptimizerConfig(lr=0.1, weight_decay=0.1)
    optimizer = build_optimizer(method, config, 256, rates)
    before = [frozen_parts(encoder, rates) for encoder in encoders(method)]
    whole = [{key: value.clone() for key, value in encoder.model.state_dict().items()} for encoder in encoders(method)]
    for step in range(3):
        method(tiny_batch(method, seed=step), progress(step)).loss.backward()
        method.before_optimizer_step(progress(step))
        optimizer.step()
        optimizer.zero_grad()
        method.after_optimizer_step(progress(step))
    for encoder, kept, old in zip(encoders(method), before, whole, strict=True):
        state = encoder.model.state_dict()
        assert kept and all(torch.equal(state[key], value) for key, value in kept.items())
        assert any(not torch.equal(state[key], value) for key, value in old.items() if key not in kept)
    assert all(torch.equal(before[0][key], value) for other in before for key, value in other.items())


def test_the_rest_of_the_training_is_as_it_would_be() -> None:
    """Thawed, everything learns again; what a method fixed by itself does not."""
    method = tiny_method("mae", VIT)
    fixed = [name for name, parameter in method.named_parameters() if not parameter.requires_grad]
    assert fixed
    freeze(method, {"*": 0})
    (encoder,) = encoders(method)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    thaw(encoder)
    assert [name for name, parameter in method.named_parameters() if not parameter.requires_grad] == fixed


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars"])
def test_factors_multiply_the_rate_of_every_group(name: Any) -> None:
    """Decayed and undecayed, whatever the schedule does; weight decay stays that of the group."""
    rates = {"*": 0.5, "layer1.*": 0.1, "layer2.*": 0}
    config = OptimizerConfig(name=name, lr=0.2, weight_decay=0.05, norm_and_bias_lr=0.25)
    plain, method = tiny_method("simclr", RESNET), tiny_method("simclr", RESNET)
    freeze(method, rates)
    settings = PretrainConfig().schedule

    def groups(of: Method[Any], given: dict[str, float] | None) -> dict[str, tuple[float, float]]:
        optimizer = build_optimizer(of, config, 256, given)
        set_rates(optimizer, config, settings, 256, progress(3))
        named = {id(parameter): key for key, parameter in of.named_parameters()}
        return {
            named[id(parameter)]: (group["lr"], group["weight_decay"])
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    usual, changed = groups(plain, None), groups(method, rates)
    assert set(usual) - set(changed) == {key for key in usual if ".layer2." in key}
    for key, (lr, decay) in changed.items():
        network = key.removeprefix("model.encoder.model.")
        factor = 1.0 if network == key else factor_of(network, rates)
        assert (lr, decay) == (pytest.approx(factor * usual[key][0]), usual[key][1])


def test_layer_decay_of_dinov2_is_multiplied() -> None:
    rates = {"blocks.1.*": 0.5}
    plain, method = tiny_method("dinov2", VIT), tiny_method("dinov2", VIT)

    def scale(of: Method[Any], given: dict[str, float] | None) -> float:
        weight = of.get_parameter("networks.student.encoder.model.blocks.1.mlp.fc1.weight")
        groups = build_optimizer(of, OptimizerConfig(), 256, given).param_groups
        return next(group["lr_scale"] for group in groups if any(one is weight for one in group["params"]))

    assert scale(method, rates) == pytest.approx(0.5 * scale(plain, None)) != 0.5


def test_compiled_blocks_stay_too() -> None:
    """Compiled by a back end that only calls them: the norm's mode is looked at when it is called."""
    encoder = build_encoder(RESNET, IMAGE_SIZE)
    freeze(encoder, {"layer1.*": 0})
    encoder.model.compile(backend="eager")
    encoder.train()
    before = frozen_parts(encoder, {"layer1.*": 0})
    encoder(torch.randn(4, 3, IMAGE_SIZE, IMAGE_SIZE)).sum().backward()
    state = encoder.model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in before.items())
    assert state["layer2.0.bn1.num_batches_tracked"] == 1
