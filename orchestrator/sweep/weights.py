"""The weights that a sweep's backbones begin with: found, read, compared with the backbones, and copied into the store."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError

from ...methods.config import BackboneConfig
from ...methods.weight_files import WeightsError, find_file, tensors_in
from ...methods.weights_config import TIMM, WeightsConfig
from ..spec.errors import Problem, SpecError, Steps, UserError, dotted
from ..spec.expand import expand
from ..spec.label import WEIGHTS
from ..spec.locations import is_address
from ..spec.messages import validate
from ..spec.models import MethodEntry, SweepSpec, TrialSpec
from ..spec.yaml_document import Document
from ..store.checked import digest
from ..store.files import Store
from ..store.records import TrialList
from ..store.trial_folder import TrialStore
from ..store.trial_names import TrialName, find_trial, trial_names
from ..store.weights import WeightsStore

if TYPE_CHECKING:
    from torch import Tensor

NAME = "backbone.name"


class Found(NamedTuple):
    """Weights that were looked up."""

    sha256: str
    """Of the content."""
    title: str | None = None
    """In tables, if they have no other."""


Key = tuple[str | None, str | None, str | None]
LookUp = Callable[[WeightsConfig, str], Found]
"""Of weights for the backbone of this name. Raises WeightsError or UserError."""


def expanded(
    spec: SweepSpec, document: Document, *, read: bool = False, keep: bool = False
) -> tuple[SweepSpec, list[TrialSpec]]:
    """The sweep with the digest of all weights that it names, and its trials.

    Args:
        spec: as it was loaded.
        document: of its file.
        read: read the weights and compare them with the backbones; otherwise they are only looked up, and those that were
            found when the sweep was submitted may be gone.
        keep: copy them into the store.

    Raises:
        SpecError: with all problems of the file that `expand` finds, and of the weights.
    """
    sources = _Sources(spec.storage, spec.name, must_be_there=read)
    filled = _Filled(document, spec, sources.look_up)
    spec = filled.filled()
    try:
        trials = expand(spec, document, _Reader(sources, keep=keep).problem if read else None)
    except SpecError as error:
        raise SpecError([*filled.problems, *error.problems]) from None
    if filled.problems:
        raise SpecError(filled.problems)
    return spec, trials


class _Filled:
    """Puts digests into a sweep; `problems` are what could not be found."""

    def __init__(self, document: Document, spec: SweepSpec, look_up: LookUp):
        self.document, self.spec, self.look_up = document, spec, look_up
        axes = [*spec.grid, *(spec.search.space if spec.search else ())]
        self.one_name = NAME not in axes
        """Whether a backbone of the file has the name that the file gives it."""
        self.problems: list[Problem] = []

    def filled(self) -> SweepSpec:
        spec = self.spec
        methods = tuple(self.entry(entry, ("methods", i)) for i, entry in enumerate(spec.methods))
        grid = {
            key: tuple(self.of_axis(key, value, ("grid", key, i)) for i, value in enumerate(values))
            for key, values in spec.grid.items()
        }
        changes = {"backbone": self.backbone(spec.backbone, ("backbone",)), "methods": methods, "grid": grid}
        return spec.model_copy(update=changes)

    def entry(self, entry: MethodEntry, path: Steps) -> MethodEntry:
        if entry.weights is not None:
            name = (entry.backbone or self.spec.backbone).name
            entry = entry.model_copy(update={"weights": self.weights(entry.weights, {name}, (*path, "weights"))})
        if entry.backbone is not None:
            entry = entry.model_copy(update={"backbone": self.backbone(entry.backbone, (*path, "backbone"))})
        return entry

    def backbone(self, backbone: BackboneConfig, path: Steps) -> BackboneConfig:
        if backbone.weights is None:
            return backbone
        weights = self.weights(backbone.weights, {backbone.name}, (*path, "weights"))
        return backbone.model_copy(update={"weights": weights})

    def of_axis(self, key: str, value: Any, path: Steps) -> Any:
        """A value of the grid, which is plain data; what is no such value is for `expand` to refuse."""
        try:
            if key == WEIGHTS:
                names = {(entry.backbone or self.spec.backbone).name for entry in self.spec.methods}
                return self.weights(validate(WeightsConfig, value), names, path).model_dump()
            if key == "backbone" and isinstance(value, dict) and "weights" in value:
                return self.backbone(validate(BackboneConfig, value), path).model_dump()
        except ValidationError:
            pass
        return value

    def weights(self, weights: WeightsConfig, names: set[str], path: Steps) -> WeightsConfig:
        """The weights with their digest; `names`: of the backbones that may begin with them."""
        try:
            if weights.timm is not None and (len(names) > 1 or not self.one_name):
                raise WeightsError(
                    "means other weights for each backbone, and several may begin with these; name them beside each"
                    f" backbone, as in {{name: resnet50, weights: {TIMM}}}, which `grid.backbone` can list too"
                )
            found = self.look_up(weights, min(names))
            return weights.model_copy(update={"sha256": found.sha256, "title": weights.title or found.title})
        except (WeightsError, UserError) as error:
            text = f"{weights.place} {error}" if isinstance(error, WeightsError) else str(error)
            self.problems.append(self.document.problem(path, f"{dotted(path)}: {text}"))
            return weights


class _Sources:
    """Files, trials of the store, and timm's, by the weights that name them."""

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
    def _submitted(self) -> Mapping[Key, Found]:
        """What the weights were when the sweep was submitted last."""
        listed = self.store.read_record(f"sweeps/{self.sweep}/trials.json", TrialList)
        found: dict[Key, Found] = {}
        for item in listed.trials if listed else ():
            backbone = item.trial.get("backbone") or {}
            given = backbone.get("weights")
            if given and given.get("sha256"):
                weights = WeightsConfig.model_validate(given)
                found[_key(weights, backbone.get("name", ""))] = Found(given["sha256"], weights.title)
        return found


def _key(weights: WeightsConfig, backbone: str) -> Key:
    """What tells weights from others: timm's depend on the backbone."""
    return weights.path, weights.trial, None if weights.timm is None else f"{backbone}:{weights.timm}"


class _Reader:
    """Compares weights with backbones, and keeps copies of those that fit."""

    def __init__(self, sources: _Sources, *, keep: bool):
        self.sources, self.keep = sources, keep
        self._answers: dict[str, str | None] = {}
        self._last: tuple[str, dict[str, Tensor]] | None = None
        """Of the file that was read last: rows with the same one follow one another."""

    def problem(self, trial: TrialSpec) -> str | None:
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
