"""What shows only once the backbones of a sweep are built: weights that do not fit, and names of parts that there are not."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...evaluation.registry import EVALUATIONS
from ...methods.config import BackboneConfig
from ...methods.rates import rates_problem
from ...methods.weight_files import WeightsError, tensors_in
from ...methods.weights_config import WeightsConfig
from ..spec.errors import Steps
from ..spec.models import TrialSpec
from ..store.checked import digest
from ..store.weights import WeightsStore
from .sources import Sources

if TYPE_CHECKING:
    from torch import Tensor


class BuiltNetworks:
    """Compares trials with their backbones, and keeps copies of weights that fit."""

    def __init__(self, sources: Sources, *, keep: bool):
        self.sources, self.keep = sources, keep
        self._answers: dict[str, str | None] = {}
        self._last: tuple[str, dict[str, Tensor]] | None = None
        """Of the file that was read last: rows with the same one follow one another."""
        self._names: dict[str, tuple[str, ...]] = {}

    def unfit(self, trial: TrialSpec) -> str | None:
        """Why the trial's weights do not fit its backbone, as a message."""
        weights = trial.backbone.weights
        if weights is None or weights.sha256 is None:  # not found, which has been said
            return None
        key = f"{trial.image_size} {trial.backbone.model_dump_json()}"
        if key not in self._answers:
            try:
                self._answers[key] = self._compare(trial, weights, weights.sha256)
            except WeightsError as error:
                self._answers[key] = f"{weights.place} {error}"
        return self._answers[key]

    def _compare(self, trial: TrialSpec, weights: WeightsConfig, sha256: str) -> str | None:
        import safetensors.torch

        from ...methods.encoder import build_encoder
        from ...methods.weights import match_weights

        tensors = self._tensors(weights, trial.backbone.name, sha256)
        try:
            encoder = build_encoder(trial.backbone, trial.image_size)
        except ValueError as error:
            return str(error)
        match_weights(tensors, encoder, prefix=weights.prefix, partial=weights.partial)
        if self.keep and not (kept := WeightsStore(self.sources.store)).has(sha256):
            whole = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}  # some may share memory
            kept.keep(sha256, weights.place, safetensors.torch.save(whole))
        return None

    def _tensors(self, weights: WeightsConfig, backbone: str, sha256: str) -> "dict[str, Tensor]":
        if self._last is None or self._last[0] != sha256:
            content = self.sources.content(weights, backbone)
            if digest(content) != sha256:
                raise WeightsError("was changed while it was read")
            self._last = sha256, tensors_in(content)
        return self._last[1]

    def misnamed(self, trial: TrialSpec) -> Iterator[tuple[Steps, str]]:
        """Keys of the trial that name parts which its backbone does not have, each with a message."""
        backbone, size = trial.backbone.model_copy(update={"weights": None}), trial.image_size
        rates = trial.pretrain.rates if trial.method.trains else None
        try:
            problem = rates_problem(rates, self._parameters(backbone, size), backbone.name) if rates else None
            if problem is not None:
                yield ("pretrain", "rates"), problem
            for i, config in enumerate(trial.evaluate):
                found = EVALUATIONS[config.name].misnamed(config, backbone, size)
                if found is not None:
                    yield ("evaluate", i, found[0]), found[1]
        except ValueError as error:
            yield ("backbone",), str(error)

    def _parameters(self, backbone: BackboneConfig, image_size: int) -> tuple[str, ...]:
        """Names of the backbone's parameters."""
        from ...methods.encoder import build_encoder

        key = f"{image_size} {backbone.model_dump_json()}"
        if key not in self._names:
            model = build_encoder(backbone, image_size).model
            self._names[key] = tuple(name for name, _ in model.named_parameters())
        return self._names[key]
