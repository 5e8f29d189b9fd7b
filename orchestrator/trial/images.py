"""The images of a trial: those that it is pretrained on, and those that its evaluations score it on."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from ...datasets.config import DatasetConfig
from ...datasets.errors import DataError
from ...datasets.image_set import ImageSet
from ...datasets.prepare import prepare
from ...datasets.prepared import Prepared, find_known
from ...evaluation.base import EvaluationConfig
from ..spec.models import TrialSpec
from .runtime import Runtime

Sets = tuple[ImageSet, ImageSet]
"""What is trained on, and what is scored on."""


class TrialImages:
    """Opens each set once, so that evaluations share the features of those that they share."""

    def __init__(self, trial: TrialSpec, prepared: Prepared, elsewhere: Mapping[str, Prepared], runtime: Runtime):
        """elsewhere: by fingerprint, the data sets of evaluations that are not those of the pretraining."""
        self.trial, self.elsewhere, self.runtime = trial, elsewhere, runtime
        self.own = self._open(prepared)
        self._others: dict[tuple[str | None, float | None], Sets] = {}

    def of(self, config: EvaluationConfig) -> Sets:
        """Those of an evaluation, with the share of the training images that it takes."""
        key = (config.fingerprint, config.labels)
        if key == (None, None):
            return self.own
        if key not in self._others:
            if config.labels is not None:
                train, test = self.of(config.model_copy(update={"labels": None}))
                self._others[key] = train.share(config.labels), test
            else:
                self._others[key] = self._open(self.elsewhere[config.fingerprint or ""])
        return self._others[key]

    def _open(self, prepared: Prepared) -> Sets:
        """Tuning never sees the test set."""
        opened = partial(ImageSet.open, prepared, device=self.runtime.device, decoders=self.runtime.decoders)
        if self.trial.split == "holdout":
            return opened("train", "fit"), opened("train", "holdout")
        train = opened("train")
        return train, opened("test") if prepared.test.count else train


def prepared_images(
    config: DatasetConfig, fingerprint: str, root: Path, on_progress: Callable[[int, int], None]
) -> Prepared:
    """The data set with this fingerprint under `root`; prepared if it was not, which `on_progress` hears of.

    Raises:
        DataError: it cannot be prepared here, or its images are others.
    """
    prepared = find_known(config, fingerprint, root) or prepare(config, root, on_progress)
    if prepared.fingerprint != fingerprint:
        raise DataError(f"the images of '{config.display_name}' on this node differ from those of the sweep")
    return prepared
