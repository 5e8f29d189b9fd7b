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
from ..spec.models import TrialSpec
from ..store.records import EvaluationRecord
from ..store.trial_folder import TrialStore
from .event_log import EventLog, Listener, TrialFailed, TrialStopped
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
        TrialStopped: the listener asked for it; what is done is kept.
    """
    if runtime.is_first:
        folder.start(trial, prepared.fingerprint, environment())
    events = EventLog(folder, runtime, listener or Listener())
    train, test = _image_sets(trial, prepared, runtime)
    encoder = _pretrained_encoder(trial, folder, train, test, runtime, events)
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
        if runtime.agree(int(events.stop_requested())):
            raise TrialStopped(f"stopped before {config.name}")
        events.tell("stage", config.name)
        record = _evaluate(task._replace(after_epoch=_AfterEpoch(config.name, runtime, events)), config, trial, runtime)
        if runtime.is_first:
            folder.finish_evaluation(config, record)
        log.info("%s: top-1 %.2f, top-5 %.2f", config.protocol, record.top1, record.top5)
        events.tell("evaluation", config.name, **record.model_dump(mode="json"))


def _image_sets(trial: TrialSpec, prepared: Prepared, runtime: Runtime) -> tuple[ImageSet, ImageSet]:
    """What is trained on and what is scored on. Tuning never sees the test set."""
    opened = partial(ImageSet.open, prepared, device=runtime.device, decoders=runtime.decoders)
    if trial.split == "holdout":
        return opened("train", "fit"), opened("train", "holdout")
    train = opened("train")
    return train, opened("test") if train.classes else train  # without labels nothing is scored


def _pretrained_encoder(
    trial: TrialSpec, folder: TrialStore, train: ImageSet, test: ImageSet, runtime: Runtime, events: EventLog
) -> Encoder:
    content = folder.backbone()
    if not runtime.agree(int(content is not None)):
        events.tell("stage", "pretrain")
        return pretrain(trial, folder, train, test, runtime, events)
    if content is None:
        raise TrialFailed("the backbone can be read on the first rank and not on this one")
    encoder = new_encoder(trial)
    encoder.model.load_state_dict(safetensors.torch.load(content))
    return encoder


class _AfterEpoch:
    """Tells of each epoch of an evaluation, and ends it where that is asked for: its next run starts it anew."""

    def __init__(self, evaluation: str, runtime: Runtime, events: EventLog):
        self.evaluation, self.runtime, self.events = evaluation, runtime, events
        self.start = time.monotonic()

    def __call__(self, epoch: int, epochs: int, counts: Counts) -> None:
        seconds = time.monotonic() - self.start
        self.events.tell("score", self.evaluation, epoch=epoch, epochs=epochs, top1=counts.top1, seconds=seconds)
        if self.runtime.agree(int(epoch < epochs and self.events.stop_requested())):
            self.events.flush()
            raise TrialStopped(f"stopped after epoch {epoch} of {epochs} of {self.evaluation}")


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
