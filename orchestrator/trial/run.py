"""One trial, from images to numbers: pretrain, then evaluate. Runs in any process that has torch.

Alone, under ``torchrun`` or under Ray Train it is the same function with the same result; Ray only runs it.
"""

import logging
import math
from collections.abc import Mapping
from contextlib import closing, nullcontext
from types import MappingProxyType
from typing import Any

import safetensors.torch

from ...datasets.image_set import ImageSet
from ...datasets.prepared import Prepared
from ...evaluation.base import ACCURACY, Evaluation, EvaluationConfig
from ...evaluation.registry import EVALUATIONS, changed_settings
from ...evaluation.task import Extracted, NotFinite, Score, Task, guessing_top1, majority_remark
from ...methods import build_method
from ...methods.base import TrainingSet
from ...methods.encoder import Encoder
from ..spec.identity import evaluation_id
from ..spec.models import TrialSpec
from ..store.confusion import Confusion
from ..store.events import EvaluationDone, PretrainingDone, ScoreDone, StageStarted, StatusChanged
from ..store.fault import Fault
from ..store.records import EvaluationRecord, Variant
from ..store.trial_folder import TrialStore
from ..store.trial_state import TrialState
from .answers import confusion_record, details_record
from .background import Background
from .evaluation_checkpoints import EvaluationCheckpoints
from .images import TrialImages
from .journal import STOP, Deaf, Journal, Listener, TrialFailed, TrialStopped
from .keep_features import keep_features
from .learner import new_encoder
from .pretrain import pretrain
from .runtime import Runtime, environment, measured

log = logging.getLogger(__name__)


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
                _run_stages(trial, folder, TrialImages(trial, prepared, elsewhere, runtime), runtime, journal)
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
    evaluates = False
    for config in trial.evaluate:
        checkpoints = EvaluationCheckpoints(config, folder, journal)
        done = folder.evaluation(config)
        if runtime.agree(int(done is not None)):
            checkpoints.discard()  # a crash may have come between the record and this
            if done is not None and evaluation_id(config) not in journal.status.evaluations:  # or before the event
                journal.tell(EvaluationDone(stage=config.known_as, evaluation_id=evaluation_id(config), **dict(done)))
            continue
        if journal.request() == STOP:
            raise journal.stopped(f"before {config.known_as}")
        evaluates = True
        journal.tell(StageStarted(stage=config.known_as))
        train, test = images.of(config)
        record, confusion = _evaluate(task._replace(train=train, test=test), config, trial, checkpoints, journal)
        if runtime.is_first:
            folder.finish_evaluation(config, record, confusion)
        checkpoints.discard()
        log.info("%s (%s): %s", config.known_as, config.protocol, EVALUATIONS[config.name].text(record.metrics))
        journal.tell(EvaluationDone(stage=config.known_as, evaluation_id=evaluation_id(config), **dict(record)))
    if evaluates:  # what is done already is not computed again for its features
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


def _evaluate(
    task: Task, config: EvaluationConfig, trial: TrialSpec, checkpoints: EvaluationCheckpoints, journal: Journal
) -> tuple[EvaluationRecord, Confusion | None]:
    """Raises TrialFailed for a metric that is not finite, ValueError for metrics that are not those of the registry."""

    def after_epoch(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        values, seconds = dict(metrics), checkpoints.seconds()
        journal.tell(ScoreDone(stage=config.known_as, epoch=epoch, epochs=epochs, metrics=values, seconds=seconds))

    evaluation = EVALUATIONS[config.name]
    with measured(journal.runtime) as meter:
        try:
            score = evaluation.run(task._replace(after_epoch=after_epoch, checkpoints=checkpoints), config)
        except NotFinite as error:
            raise TrialFailed(f"{evaluation.name}: {error}", Fault.DIVERGED) from error
    metrics, classes = _declared(evaluation, score), task.test.classes
    record = EvaluationRecord(
        name=config.name,
        protocol=config.protocol,
        settings=config.settings,
        changed=changed_settings(config),
        metrics=metrics,
        best={
            metric.name: metric.best([epoch[metric.name] for epoch in score.epochs])
            for metric in evaluation.metrics
            if score.epochs
        },
        counts=dict(score.counts),
        images=score.images,
        variants=tuple(Variant(settings=dict(one.settings), metrics=dict(one.metrics)) for one in score.variants),
        remarks=(*score.remarks, *_of_the_images(evaluation, task.test), *_of_weights(journal)),
        details=None if score.details is None else details_record(score.details, classes),
        split=trial.split,
        cost=meter.cost.model_copy(update={"seconds": meter.cost.seconds + checkpoints.seconds_before}),
    )
    return record, None if score.details is None else confusion_record(score.details, classes)


def _of_the_images(evaluation: Evaluation[Any], test: ImageSet) -> list[str]:
    """What the scored images say about the numbers of a classifier."""
    remark = majority_remark(test.labels, test.num_classes) if evaluation.metrics[0] == ACCURACY[0] else None
    return [] if remark is None else [remark]


def _of_weights(journal: Journal) -> tuple[str, ...]:
    """What must be said of a backbone that began with a part of its weights."""
    record = journal.status.pretrain
    missing = 0 if record is None else record.weights_missing or 0
    tensors = "tensor of the backbone was" if missing == 1 else "tensors of the backbone were"
    return (f"{missing} {tensors} not among its given weights and began at random",) if missing else ()


def _declared(evaluation: Evaluation[Any], score: Score) -> dict[str, float]:
    """The score's metrics in the order in which the evaluation declares them."""
    names = [metric.name for metric in evaluation.metrics]
    if sorted(names) != sorted(score.metrics):
        raise ValueError(f"evaluation '{evaluation.name}' declares {names}, but returned {list(score.metrics)}")
    for metric in evaluation.metrics:
        if not math.isfinite(score.metrics[metric.name]):
            text = f"{evaluation.name}: {metric.title} is not finite ({score.metrics[metric.name]})"
            raise TrialFailed(text, Fault.DIVERGED)
    return {name: score.metrics[name] for name in names}
