"""A pretrained backbone as a torch module."""

from pathlib import Path

from ...methods.encoder import Encoder
from ..spec.errors import UserError
from ..sweep.trials import open_trial, weights_of


def load_backbone(source: str | Path, *, storage: str = "runs") -> Encoder:
    """The backbone of a trial, on the CPU, in evaluation mode.

    ``encoder(images)`` gives pooled features (B, `dim`) of images (B, 3, H, W), float32, in [0, 1] and then normalised by
    ImageNet's mean and deviation (0.485, 0.456, 0.406; 0.229, 0.224, 0.225); `feature_map` gives (B, dim, h, w), and `tokens`
    of a ViT (B, prefix + N, dim). `encoder.model` is timm's model.

    Args:
        source: a trial by its id or label as ``ssl-sweep status`` lists them, or the path of its `backbone.safetensors`.
        storage: the store of the trial: a folder, or ``s3://``, ``gs://``, ``az://``.

    Raises:
        UserError: there is no such trial or file, the trial has no weights yet, or the file is not one of ours or damaged.
    """
    from ...methods.exported import exported_encoder

    name, content = _content(source, storage)
    try:
        return exported_encoder(content)
    except ValueError as error:
        raise UserError(f"{name} {error}") from None


def _content(source: str | Path, storage: str) -> tuple[str, bytes]:
    """Where the weights are, and the file."""
    file = Path(source)
    if isinstance(source, Path) or file.is_file():
        try:
            return str(file), file.read_bytes()
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}") from None
    trial = open_trial(source, storage)
    place, content = weights_of(trial), trial.folder.backbone()
    if content is None:
        raise UserError(f"{trial.name} has lost its weights: {place} is damaged; pretrain it again")
    return place, content
