"""A picture of a data set's images and of the views that a method makes of them, as a sweep would."""

from pydantic import ValidationError

from ...datasets.config import DatasetConfig
from ...datasets.image_set import ImageSet
from ...datasets.picture import views_picture
from ...datasets.prepared import Prepared
from ...methods import METHODS
from ..spec.errors import UserError, unknown
from ..spec.messages import validate
from ..spec.models import SweepSpec, TrialSpec
from ..spec.resolve import groups, resolve


def look(config: DatasetConfig, prepared: Prepared, method: str, recipe: str, seed: int) -> bytes:
    """The picture, a PNG. Raises UserError where the method is not known, has no views or does not fit the images."""
    if method not in METHODS:
        raise UserError(unknown("method", method, METHODS))
    trial = _trial(config, method, recipe, seed)
    if not trial.method.views.global_views:
        raise UserError(f"method '{method}' makes no views")
    return views_picture(ImageSet.open(prepared, "train"), trial.method.views, trial.image_size, seed=seed)


def _trial(config: DatasetConfig, method: str, recipe: str, seed: int) -> TrialSpec:
    backbone = "vit_small_patch16_224" if METHODS[method].needs_vit else "resnet18"
    values = {"name": "look", "dataset": config.model_dump(), "backbone": backbone, "methods": (method,)}
    try:
        spec = validate(SweepSpec, {**values, "recipe": recipe, "seeds": (seed,)})
        return resolve(spec, groups(spec)[0], seed)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"the views of '{method}' on '{config.display_name}': {reason}") from None
