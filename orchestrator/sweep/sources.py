"""Where the weights and label lists of a sweep come from: files, trials of its store, and timm's cache."""

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ...evaluation.labels import LabelList
from ...methods.weight_files import WeightsError, find_file
from ...methods.weights_config import TIMM, WeightsConfig
from ..spec.errors import UserError
from ..spec.locations import is_address
from ..store.checked import digest
from ..store.files import Store
from ..store.trial_folder import TrialStore
from ..store.trial_list import ListedTrial, TrialList
from ..store.trial_names import TrialName, find_trial, trial_names
from .label_lists import filled


class Found(NamedTuple):
    """Weights that were looked up."""

    sha256: str
    """Of the content."""
    title: str | None = None
    """In tables, if they have no other."""


Key = tuple[str | None, str | None, str | None]


class Sources:
    """Files, trials of the store, and timm's, by the weights that name them; and label lists."""

    def __init__(self, storage: str, sweep: str, *, must_be_there: bool):
        self.storage, self.sweep, self.must_be_there = storage, sweep, must_be_there
        self._found: dict[Key, Found] = {}

    @cached_property
    def store(self) -> Store:
        """The sweep's own; opened if any weights are named."""
        return Store(self.storage)

    def look_up(self, weights: WeightsConfig, backbone: str) -> Found:
        """Their digest and title.

        Raises:
            WeightsError: there is no such file, or it is not the one whose digest is given.
            UserError: there is no such trial, or it is not pretrained.
        """
        key = _key(weights, backbone)
        if key not in self._found:
            known = self._submitted.get(key)
            if weights.sha256 is not None:
                known = known or Found(weights.sha256)
            try:
                quick = known if weights.timm is not None and not self.must_be_there else None  # timm takes seconds
                self._found[key] = quick or self._look_up(weights, backbone)
            except (WeightsError, UserError):
                if self.must_be_there or known is None:
                    raise
                self._found[key] = known
        found = self._found[key]
        if weights.sha256 not in (None, found.sha256):
            raise WeightsError(f"has the SHA-256 {found.sha256}, and not the one that `sha256` names")
        return found

    def label_list(self, labels: LabelList) -> LabelList:
        """With its digest. Raises UserError if it cannot be read."""
        return filled(labels, self._submitted_lists, must_be_there=self.must_be_there)

    @cached_property
    def _submitted_lists(self) -> list[LabelList]:
        items = (item for one in self._listed for item in one.trial.get("evaluate") or ())
        given = (item.get("labels") for item in items)
        return [LabelList.model_validate(labels) for labels in given if isinstance(labels, dict)]

    def _look_up(self, weights: WeightsConfig, backbone: str) -> Found:
        if weights.trial is not None:
            record = self._trial(weights).pretrained()
            assert record is not None
            return Found(record.backbone_sha256 or digest(self.content(weights, backbone)))
        file, title = self._file(weights, backbone)
        try:
            with file.open("rb") as stream:
                return Found(hashlib.file_digest(stream, "sha256").hexdigest(), title)
        except OSError as error:
            raise WeightsError(f"cannot be read: {error.strerror}") from None

    def content(self, weights: WeightsConfig, backbone: str) -> bytes:
        """All bytes. Raises as `look_up`."""
        if weights.trial is None:
            try:
                return self._file(weights, backbone)[0].read_bytes()
            except OSError as error:
                raise WeightsError(f"cannot be read: {error.strerror}") from None
        content = self._trial(weights).backbone()
        if content is None:
            raise WeightsError("has damaged weights")
        return content

    def _file(self, weights: WeightsConfig, backbone: str) -> tuple[Path, str | None]:
        """With its title, if it has one of its own."""
        if weights.timm is not None:
            from ...methods.timm_weights import timm_weights

            timms = timm_weights(backbone, weights.timm)
            return timms.file(), f"{TIMM} {timms.tag}"
        assert weights.path is not None
        if is_address(weights.path):
            raise WeightsError("is an address; weights are a file, a folder, or trial:ID of the sweep's own store")
        return find_file(Path(weights.path)), None

    def _trial(self, weights: WeightsConfig) -> TrialStore:
        assert weights.trial is not None
        folder = TrialStore(self.store, find_trial(weights.trial, self._names, self.store.location).trial_id)
        if folder.pretrained() is None:
            raise WeightsError(
                f"({folder.trial_id}) has no weights yet: its pretraining must be done before this sweep"
            )
        return folder

    @cached_property
    def _names(self) -> list[TrialName]:
        return trial_names(self.store)

    @cached_property
    def _listed(self) -> tuple[ListedTrial, ...]:
        """The trials of the last submit."""
        listed = self.store.read_record(f"sweeps/{self.sweep}/trials.json", TrialList)
        return listed.trials if listed else ()

    @cached_property
    def _submitted(self) -> Mapping[Key, Found]:
        """What the weights were when the sweep was submitted last."""
        found: dict[Key, Found] = {}
        for item in self._listed:
            backbone = item.trial.get("backbone") or {}
            given = backbone.get("weights")
            if given and given.get("sha256"):
                weights = WeightsConfig.model_validate(given)
                found[_key(weights, backbone.get("name", ""))] = Found(given["sha256"], weights.title)
        return found


def _key(weights: WeightsConfig, backbone: str) -> Key:
    """What tells weights from others: timm's depend on the backbone."""
    return weights.path, weights.trial, None if weights.timm is None else f"{backbone}:{weights.timm}"
