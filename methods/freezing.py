"""Parts of backbones that do not learn: no gradient, and batch norm with the running statistics as they are."""

from collections.abc import Mapping

from torch import nn

from .encoder import Encoder
from .rates import factor_of

STATISTICS = ".running_mean"


def freeze(module: nn.Module, rates: Mapping[str, float]) -> None:
    """Freeze what has the factor 0 in every encoder of `module`: a student's, and the statistics of its teacher's.

    So a frozen part of a teacher stays equal to the student's. This comes before the optimizer is made and before
    DistributedDataParallel, which both take what requires gradients.
    """
    for encoder in _encoders(module):
        thaw(encoder)
        for name, parameter in encoder.model.named_parameters():
            if parameter.requires_grad and factor_of(name, rates) == 0:
                parameter.requires_grad_(False)
                encoder.frozen.append(name)
        buffers = [name for name, _ in encoder.model.named_buffers() if name.endswith(STATISTICS)]
        encoder.still = [name.removesuffix(STATISTICS) for name in buffers if factor_of(name, rates) == 0]
        encoder.train(encoder.training)


def thaw(encoder: Encoder) -> None:
    """Undo `freeze`: what follows the training is the same whether the backbone comes from it or from a file."""
    for name in encoder.frozen:
        encoder.model.get_parameter(name).requires_grad_(True)
    encoder.frozen, encoder.still = [], []
    encoder.train(encoder.training)


def factors(module: nn.Module, rates: Mapping[str, float]) -> dict[nn.Parameter, float]:
    """Of each parameter of the encoders in `module`."""
    named = (pair for encoder in _encoders(module) for pair in encoder.model.named_parameters())
    return {parameter: factor_of(name, rates) for name, parameter in named}


def _encoders(module: nn.Module) -> list[Encoder]:
    return [part for part in module.modules() if isinstance(part, Encoder)]
