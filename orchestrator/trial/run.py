"""One trial, from images to numbers: pretrain, then evaluate. Runs in any process that has torch.

Alone, under ``torchrun`` or under Ray Train it is the same function with the same result; Ray only runs it.
"""

from collections.abc import Mapping
from contextlib import closing, nullcontext
from types import MappingProxyType

import safetensors.torch

from ...datasets.image_set import ImageSet
from ...datasets.prepared import Prepared
from ...evaluation.task import Extracted, Task, guessing_top1
from ...methods import build_method
from ...methods.base import TrainingSet
from ...methods.encoder import Encoder
from ..spec.models import TrialSpec
from ..store.events import PretrainingDone, StageStarted, StatusChanged
from ..store.fault import Fault
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from .background import Background
from .evaluations import run_evaluations
from .images import TrialImages
from .journal import Deaf, Journal, Listener, TrialFailed, TrialStopped
from .keep_features import keep_features
from .learner import new_encoder
from .pretrain import pretrain
from .runtime import Runtime, environment


def run_trial(
    trial: TrialSpec,
    folder: TrialStore,
    prepared: Prepared,
    runtime: Runtime,
    listener: Listener | None = None,
    background: Background | None = None,
    elsewhere: Mapping[str, Prepared] = MappingProxyType({}),
) -> None:
    """Do what the store does not have yet of `trial`; every rank of a group calls it. However it ends, all is written then.

    Args:
        trial: what to do.
        folder: the trial's own.
        prepared: its images.
        runtime: this worker.
        listener: hears of the progress, and may end it.
        background: writes; without one the trial has its own.
        elsewhere: by fingerprint, the images of evaluations on other data sets.

    Raises:
        TrialFailed: the trial cannot go on, or something could not be written; what is done is kept.
        DataError: prepared images differ from what was written. Other ranks may not have seen it.
        TrialStopped: the listener asked for it; what is done is kept.
    """
    with nullcontext(background) if background else closing(Background()) as writes:
        journal = Journal(folder, runtime, listener or Deaf(), writes)
        if runtime.is_first:
            folder.start(trial, prepared.fingerprint, environment())
        journal.tell(
            StatusChanged(
                state=TrialState.RUNNING,
                attempt=journal.status.attempts + 1,
                environment=environment(),
                dataset_fingerprint=prepared.fingerprint,
            )
        )
        try:
            with journal.warnings():
                _run_stages(
                    trial, folder, TrialImages(trial, prepared, elsewhere, runtime, folder.store), runtime, journal
                )
                journal.settle()
        except TrialStopped as stop:
            journal.end(StatusChanged(state=stop.state, reason=str(stop)))
            raise
        except TrialFailed as failure:
            journal.end(StatusChanged(state=TrialState.FAILED, reason=str(failure), fault=failure.fault))
            raise
        finally:
            journal.flush()
        journal.end(StatusChanged(state=TrialState.FINISHED))


def _run_stages(trial: TrialSpec, folder: TrialStore, images: TrialImages, runtime: Runtime, journal: Journal) -> None:
    """The pretraining and the evaluations, as far as the store does not have them."""
    encoder = _pretrained_encoder(trial, folder, *images.own, runtime, journal)
    task = task_of(trial, encoder, images, runtime)
    if run_evaluations(
        trial, folder, task, images, journal
    ):  # what is done already is not computed again for its features
        keep_features(trial, folder, task, journal)


def task_of(trial: TrialSpec, encoder: Encoder, images: TrialImages, runtime: Runtime) -> Task:
    """What the trial's evaluations get."""
    return Task(
        runtime.place(encoder).eval(),
        trial.backbone,
        *images.own,
        trial.image_size,
        trial.seed,
        trial.pretrain.precision == "bf16",
        runtime.rank,
        runtime.world_size,
        is_alive=runtime.pulse.beat,
        extracted=Extracted(),
    )


def _pretrained_encoder(
    trial: TrialSpec, folder: TrialStore, train: ImageSet, test: ImageSet, runtime: Runtime, journal: Journal
) -> Encoder:
    content = folder.backbone()
    if not runtime.agree(int(content is not None)):
        journal.tell(StageStarted(stage="pretrain", chance=guessing_top1(test.labels)))
        return pretrain(trial, folder, train, test, runtime, journal)
    if content is None:
        raise TrialFailed("the backbone can be read on the first rank and not on this one", Fault.STORE_ERROR)
    if runtime.is_first and journal.status.pretrain is None and (record := folder.pretrained()) is not None:
        journal.tell(PretrainingDone(**dict(record)))  # a crash came between the record and this
    return restored_encoder(trial, content, train.info)


def restored_encoder(trial: TrialSpec, content: bytes, data: TrainingSet) -> Encoder:
    """The trial's backbone with the weights of its file."""
    # As the method has it, for fine-tuning keeps the positions fixed that the method fixed, and files hold weights alone.
    encoder = build_method(trial.method, new_encoder(trial), data).backbone
    encoder.model.load_state_dict(safetensors.torch.load(content))
    return encoder
