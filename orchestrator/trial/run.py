"""One trial, from images to numbers: pretrain, then evaluate. Runs in any process that has torch.

Alone, under ``torchrun`` or under Ray Train it is the same function with the same result; Ray only carries it.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import safetensors.torch

from ...datasets.image_set import ImageSet
from ...datasets.prepared import Prepared
from ...evaluation.config import FinetuneConfig, KnnConfig, LinearConfig, changed_settings
from ...evaluation.finetune import evaluate_finetune
from ...evaluation.knn import evaluate_knn
from ...evaluation.linear import evaluate_linear
from ...evaluation.task import Counts, Score, Task
from ...methods.encoder import Encoder
from ..spec.identity import evaluation_id
from ..spec.models import TrialSpec
from ..store.events import EvaluationDone, ScoreDone, StageStarted, StatusChanged
from ..store.records import EvaluationRecord
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from .journal import Deaf, Journal, Listener, TrialFailed, TrialStopped
from .pretrain import new_encoder, pretrain
from .runtime import Runtime, environment, measured

log = logging.getLogger(__name__)

EVALUATE: dict[str, Callable[[Task, Any], Score]] = {
    "knn": evaluate_knn,
    "linear": evaluate_linear,
    "finetune": evaluate_finetune,
}


def run_trial(
    trial: TrialSpec, folder: TrialStore, prepared: Prepared, runtime: Runtime, listener: Listener | None = None
) -> None:
    """Do what the store does not have yet of `trial`; every rank of a group calls it.

    Raises:
        TrialFailed: the trial cannot go on; what is done is kept.
        DataError: prepared images differ from what was written. Other ranks may not have seen it.
        TrialStopped: the listener asked for it; what is done is kept.
    """
    journal = Journal(folder, runtime, listener or Deaf())
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
        _run_stages(trial, folder, prepared, runtime, journal)
    except TrialStopped as stop:
        journal.tell(StatusChanged(state=stop.state, reason=str(stop)))
        raise
    except TrialFailed as failure:
        journal.tell(StatusChanged(state=TrialState.FAILED, reason=str(failure)))
        raise
    journal.tell(StatusChanged(state=TrialState.FINISHED))


def _run_stages(trial: TrialSpec, folder: TrialStore, prepared: Prepared, runtime: Runtime, journal: Journal) -> None:
    """The pretraining and the evaluations, as far as the store does not have them."""
    train, test = _image_sets(trial, prepared, runtime)
    encoder = _pretrained_encoder(trial, folder, train, test, runtime, journal)
    task = Task(
        runtime.place(encoder).eval(),
        trial.backbone,
        train,
        test,
        trial.image_size,
        trial.seed,
        trial.pretrain.precision == "bf16",
        runtime.rank,
        runtime.world_size,
    )
    for config in trial.evaluate:
        if runtime.agree(int(folder.evaluation(config) is not None)):
            continue
        if runtime.agree(int(journal.stop_requested())):
            raise journal.stopped(f"before {config.name}")
        journal.tell(StageStarted(stage=config.name))
        watched = task._replace(after_epoch=_AfterEpoch(config.name, runtime, journal))
        record = _evaluate(watched, config, trial, runtime)
        if runtime.is_first:
            folder.finish_evaluation(config, record)
        log.info("%s: top-1 %.2f, top-5 %.2f", config.protocol, record.top1, record.top5)
        journal.tell(EvaluationDone(stage=config.name, evaluation_id=evaluation_id(config), **dict(record)))


def _image_sets(trial: TrialSpec, prepared: Prepared, runtime: Runtime) -> tuple[ImageSet, ImageSet]:
    """What is trained on and what is scored on. Tuning never sees the test set."""
    opened = partial(ImageSet.open, prepared, device=runtime.device, decoders=runtime.decoders)
    if trial.split == "holdout":
        return opened("train", "fit"), opened("train", "holdout")
    train = opened("train")
    return train, opened("test") if train.classes else train  # without labels nothing is scored


def _pretrained_encoder(
    trial: TrialSpec, folder: TrialStore, train: ImageSet, test: ImageSet, runtime: Runtime, journal: Journal
) -> Encoder:
    content = folder.backbone()
    if not runtime.agree(int(content is not None)):
        journal.tell(StageStarted(stage="pretrain"))
        return pretrain(trial, folder, train, test, runtime, journal)
    if content is None:
        raise TrialFailed("the backbone can be read on the first rank and not on this one")
    encoder = new_encoder(trial)
    encoder.model.load_state_dict(safetensors.torch.load(content))
    return encoder


class _AfterEpoch:
    """Tells of each epoch of an evaluation, and ends it where that is asked for: its next run starts it anew."""

    def __init__(self, evaluation: str, runtime: Runtime, journal: Journal):
        self.evaluation, self.runtime, self.journal = evaluation, runtime, journal
        self.start = time.monotonic()

    def __call__(self, epoch: int, epochs: int, counts: Counts) -> None:
        seconds = time.monotonic() - self.start
        score = ScoreDone(stage=self.evaluation, epoch=epoch, epochs=epochs, top1=counts.top1, seconds=seconds)
        self.journal.tell(score)
        if self.runtime.agree(int(epoch < epochs and self.journal.stop_requested())):
            raise self.journal.stopped(f"after epoch {epoch} of {epochs} of {self.evaluation}")


def _evaluate(
    task: Task, config: KnnConfig | LinearConfig | FinetuneConfig, trial: TrialSpec, runtime: Runtime
) -> EvaluationRecord:
    with measured(runtime) as meter:
        score = EVALUATE[config.name](task, config)
    epochs = score.epochs
    settings = config.model_dump(mode="json", exclude={"name", "protocol"})
    return EvaluationRecord(
        name=config.name,
        protocol=config.protocol,
        settings=settings,
        changed={key: settings[key] for key in changed_settings(config)},
        top1=score.counts.top1,
        top5=score.counts.top5,
        best_top1=max(counts.top1 for counts in epochs) if epochs else None,
        best_top5=max(counts.top5 for counts in epochs) if epochs else None,
        correct1=score.counts.correct1,
        correct5=score.counts.correct5,
        images=score.counts.images,
        split=trial.split,
        cost=meter.cost,
    )
