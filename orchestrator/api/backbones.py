"""A pretrained backbone: as a torch module, and as files to take away."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..spec.errors import UserError
from ..spec.load import load_spec
from ..sweep.trials import open_trial, weights_of

if TYPE_CHECKING:
    from ...methods.encoder import Encoder


def load_backbone(source: str | Path, *, storage: str = "runs") -> "Encoder":
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


def export_backbone(sweep: Path, name: str, folder: Path, overrides: Sequence[str] = ()) -> tuple[Path, Path]:
    """Write a trial's weights and their model card into a folder, which is made if it is not there.

    Args:
        sweep: the sweep file.
        name: of the trial, by its id or label.
        overrides: as of `load`.
        folder: gets `backbone.safetensors` and `README.md`, in place of earlier ones.

    Returns:
        The weights and the card.

    Raises:
        UserError: the sweep has no such trial, it has no weights yet, or the folder cannot be written.
    """
    from ..report.model_card import WEIGHTS, model_card
    from ..store.checked import digest
    from .sweeps import results

    result = results(sweep, overrides, command=f"ssl-sweep export {sweep}").sweep
    storage = load_spec(sweep, overrides)[0].storage
    trial = open_trial(name, storage)
    found = next((item for item in result.trials if item.trial_id == trial.folder.trial_id), None)
    if found is None:
        raise UserError(f"{trial.name} is not a trial of {sweep}")
    _, content = _content(trial.folder.trial_id, storage)
    files = folder / WEIGHTS, folder / "README.md"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files[0].write_bytes(content)
        files[1].write_text(model_card(result, found, digest(content)), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}") from None
    return files
