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
from ...evaluation.labels import LabelList, labels_text
from ..spec.models import TrialSpec
from ..store.fault import Fault
from ..store.files import Store
from ..store.label_lists import LabelListStore
from .journal import TrialFailed
from .runtime import Runtime

Sets = tuple[ImageSet, ImageSet]
"""What is trained on, and what is scored on."""


class TrialImages:
    """Opens each set once, so that evaluations share the features of those that they share."""

    def __init__(
        self, trial: TrialSpec, prepared: Prepared, elsewhere: Mapping[str, Prepared], runtime: Runtime, store: Store
    ):
        """elsewhere: by fingerprint, the data sets of evaluations that are not those of the pretraining; store: of label lists."""
        self.trial, self.elsewhere, self.runtime, self.store = trial, elsewhere, runtime, store
        self.own = self._open(prepared)
        self._others: dict[tuple[str | None, str | None], Sets] = {}

    def of(self, config: EvaluationConfig) -> Sets:
        """Those of an evaluation, with the part of the training images that it takes.

        Raises:
            TrialFailed: the store does not have the rows of a list any more.
        """
        key = (config.fingerprint, None if config.labels is None else labels_text(config.labels))
        if key == (None, None):
            return self.own
        if key not in self._others:
            if config.labels is not None:
                train, test = self.of(config.model_copy(update={"labels": None}))
                self._others[key] = labelled_part(train, config, self.store), test
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


def labelled_part(train: ImageSet, config: EvaluationConfig, store: Store) -> ImageSet:
    """The training images that an evaluation uses. Raises as `TrialImages.of`."""
    labels = config.labels
    if labels is None:
        return train
    if not isinstance(labels, LabelList):
        return train.share(labels)
    rows = LabelListStore(store).read(labels.sha256 or "", train.origin[0])
    if rows is None:
        text = f"{config.known_as}: the store has no copy of the list '{labels.list}': submit the sweep again"
        raise TrialFailed(text, Fault.STORE_ERROR)
    return train.listed(rows)


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
