"""One trial, from images to numbers: pretrain, then evaluate. Runs in any process that has torch.

Alone, under ``torchrun`` or under Ray Train it is the same function with the same result; Ray only carries it.
"""

import logging
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
from ...methods.catalog import build_method
from ...methods.encoder import Encoder
from ..spec.models import TrialSpec
from ..store.records import EvaluationRecord
from ..store.trial_folder import TrialStore
from .evaluation_checkpoints import EvaluationCheckpoints
from .event_log import EventLog, Listener, TrialStopped
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
        checkpoints = EvaluationCheckpoints(config, folder, runtime, events)
        if runtime.agree(int(folder.evaluation(config) is not None)):
            checkpoints.discard()  # a crash may have come between the record and this
            continue
        if runtime.agree(int(events.stop_requested())):
            raise TrialStopped(f"stopped before {config.name}")
        events.tell("stage", config.name)
        record = _evaluate(task, config, trial, checkpoints, events)
        if runtime.is_first:
            folder.finish_evaluation(config, record)
        checkpoints.discard()
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
    if not runtime.agree(int(folder.pretrained() is not None)):
        events.tell("stage", "pretrain")
        return pretrain(trial, folder, train, test, runtime, events)
    content = folder.backbone()
    assert content is not None, "pretrain.json is written after the backbone"
    # As the method has it, for fine-tuning keeps the positions fixed that the method fixed, and files hold weights alone.
    encoder = build_method(trial.method, new_encoder(trial), train.info).backbone
    encoder.model.load_state_dict(safetensors.torch.load(content))
    return encoder


def _evaluate(
    task: Task,
    config: KnnConfig | LinearConfig | FinetuneConfig,
    trial: TrialSpec,
    checkpoints: EvaluationCheckpoints,
    events: EventLog,
) -> EvaluationRecord:
    def after_epoch(epoch: int, epochs: int, counts: Counts) -> None:
        seconds = checkpoints.seconds()
        events.tell("score", config.name, epoch=epoch, epochs=epochs, top1=counts.top1, seconds=seconds)

    with measured(events.runtime) as meter:
        score = EVALUATE[config.name](task._replace(after_epoch=after_epoch, checkpoints=checkpoints), config)
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
        cost=meter.cost.model_copy(update={"seconds": meter.cost.seconds + checkpoints.seconds_before}),
    )
