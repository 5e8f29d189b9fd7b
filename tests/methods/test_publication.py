"""Details that published runs depend on: initial weights, and which gradients are clipped together."""

import torch
from ssl_sweep.methods.config import BackboneConfig, OptimizerConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.optimizer import clip_gradients
from ssl_sweep.methods.parts.heads import PrototypeHead
from tiny import RESNET, tiny_method
from torch import nn


def test_the_head_begins_with_the_deviation_asked_for() -> None:
    for std in (0.02, 0.2):
        head = PrototypeHead(200, 200, 200, 10, norm=False, unit_prototypes=True, std=std)
        first = head.mlp[0]
        assert isinstance(first, nn.Linear)
        assert abs(float(first.weight.detach().std()) / std - 1) < 0.05 and not first.bias.any()
    first = PrototypeHead(200, 200, 200, 10, norm=False, unit_prototypes=True, std=None).mlp[0]
    assert isinstance(first, nn.Linear)
    assert float(first.weight.detach().abs().max()) <= 200**-0.5 and first.bias.any()


def test_torch_s_initial_weights_of_the_cifar_resnet() -> None:
    """Uniform within 1 / sqrt(fan in); timm's are normal, by the fan out."""
    for options, bounded in (({"torch_init": True}, True), ({}, False)):
        torch.manual_seed(0)
        model = build_encoder(BackboneConfig(name="resnet18-cifar", options=options), 32).model
        for layer in (model.conv1, model.layer3[0].conv1):
            bound = layer.weight[0].numel() ** -0.5
            assert (float(layer.weight.detach().abs().max()) <= bound) == bounded


def test_each_gradient_is_clipped_by_itself() -> None:
    method = tiny_method("dino", RESNET)
    for i, parameter in enumerate(method.parameters()):
        parameter.grad = torch.full_like(parameter, 10.0**-i)
    before = [float(parameter.grad.norm()) for parameter in method.parameters() if parameter.grad is not None]
    clip_gradients(method, OptimizerConfig(clip_norm=0.5, clip_each=True))
    after = [float(parameter.grad.norm()) for parameter in method.parameters() if parameter.grad is not None]
    assert max(before) > 0.5 > min(before)
    torch.testing.assert_close(after, [min(0.5, norm) for norm in before], rtol=1e-4, atol=0)


def test_the_gradient_of_koleo_is_bounded_at_a_row_of_zeros() -> None:
    """As in DINOv2's own code: by 1e8, the inverse of the length that it divides by at least."""
    from ssl_sweep.methods.dinov2 import koleo_loss

    features = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    features[0] = 0
    features.requires_grad_()
    koleo_loss(features).backward()
    assert features.grad is not None and 1e6 < float(features.grad.abs().max()) < 1e9
