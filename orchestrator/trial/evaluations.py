"""The evaluations of a trial: each that the store does not have is run, and recorded; one that fails does not end the others."""

import logging
import math
import traceback
from collections.abc import Mapping
from typing import Any

import torch

from ...datasets.image_set import ImageSet
from ...evaluation.base import ACCURACY, Evaluation, EvaluationConfig
from ...evaluation.registry import EVALUATIONS, changed_settings
from ...evaluation.task import FeaturesNotFinite, NotFinite, Score, Task, majority_remark
from ...methods.quantities import plural
from ..spec.identity import evaluation_id
from ..spec.models import TrialSpec
from ..store.confusion import Confusion
from ..store.events import EvaluationDone, EvaluationFailed, ScoreDone, StageStarted
from ..store.fault import Fault
from ..store.records import EvaluationRecord, Variant
from ..store.trial_folder import TrialStore
from .answers import confusion_record, details_record
from .evaluation_checkpoints import EvaluationCheckpoints
from .failures import fault_of, is_in_words, is_of_evaluation_alone, reason_of
from .images import TrialImages
from .journal import STOP, Journal, TrialFailed, TrialStopped
from .runtime import measured

log = logging.getLogger(__name__)


def run_evaluations(trial: TrialSpec, folder: TrialStore, task: Task, images: TrialImages, journal: Journal) -> bool:
    """Those that the store does not have; every rank calls it. Returns whether there were any.

    Raises:
        TrialFailed: some failed, each by itself, and the others are done; or none can go on.
        TrialStopped: the listener asked for it.
        Exception: of an evaluation, where this rank cannot know that the others have met it too.
    """
    failed: list[str] = []
    ran = False
    for config in trial.evaluate:
        checkpoints = EvaluationCheckpoints(config, folder, journal)
        done = folder.evaluation(config)
        if journal.runtime.agree(int(done is not None)):
            checkpoints.discard()  # a crash may have come between the record and this
            if done is not None and evaluation_id(config) not in journal.status.evaluations:  # or before the event
                journal.tell(EvaluationDone(stage=config.known_as, evaluation_id=evaluation_id(config), **dict(done)))
            continue
        if journal.request() == STOP:
            raise journal.stopped(f"before {config.known_as}")
        ran = True
        journal.tell(StageStarted(stage=config.known_as))
        try:
            record, confusion = _evaluated(task, images, config, trial, checkpoints, journal)
        except (TrialFailed, TrialStopped):
            raise
        except FeaturesNotFinite as error:
            raise TrialFailed(f"{config.known_as}: {error}", Fault.DIVERGED) from error
        except Exception as error:
            if journal.listener.failed or not is_of_evaluation_alone(error, journal.runtime):
                raise
            failed.append(_tell_failure(config, error, journal))
            continue
        if journal.runtime.is_first:
            folder.finish_evaluation(config, record, confusion)
        checkpoints.discard()
        log.info("%s (%s): %s", config.known_as, config.protocol, EVALUATIONS[config.name].text(record.metrics))
        journal.tell(EvaluationDone(stage=config.known_as, evaluation_id=evaluation_id(config), **dict(record)))
    if failed:
        raise TrialFailed("; ".join(failed), Fault.EVALUATION)
    return ran


def _tell_failure(config: EvaluationConfig, error: Exception, journal: Journal) -> str:
    """Tell that an evaluation failed; returns its name and the reason."""
    reason = reason_of(error)
    log.error("%s failed: %s", config.known_as, reason if is_in_words(error) else traceback.format_exc())
    stage, evaluation = config.known_as, evaluation_id(config)
    journal.tell(EvaluationFailed(stage=stage, evaluation_id=evaluation, fault=fault_of(error), reason=reason))
    return f"{config.known_as}: {reason}"


def _evaluated(
    task: Task,
    images: TrialImages,
    config: EvaluationConfig,
    trial: TrialSpec,
    checkpoints: EvaluationCheckpoints,
    journal: Journal,
) -> tuple[EvaluationRecord, Confusion | None]:
    """Raises NotFinite for a metric that is not finite, ValueError for metrics that are not those of the registry."""

    def after_epoch(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        values, seconds = dict(metrics), checkpoints.seconds()
        journal.tell(ScoreDone(stage=config.known_as, epoch=epoch, epochs=epochs, metrics=values, seconds=seconds))

    evaluation = EVALUATIONS[config.name]
    train, test = images.of(config)
    task = task._replace(train=train, test=test, after_epoch=after_epoch, checkpoints=checkpoints)
    with measured(journal.runtime) as meter:
        score = evaluation.run(task, config)
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
        remarks=(
            *score.remarks,
            *_of_the_images(evaluation, task.test),
            *_of_labels(config, images),
            *_of_weights(journal),
        ),
        details=None if score.details is None else details_record(score.details, classes),
        split=trial.split,
        cost=meter.cost.model_copy(update={"seconds": meter.cost.seconds + checkpoints.seconds_before}),
    )
    return record, None if score.details is None else confusion_record(score.details, classes)


def _of_the_images(evaluation: Evaluation[Any], test: ImageSet) -> list[str]:
    """What the scored images say about the numbers of a classifier."""
    remark = majority_remark(test.labels, test.num_classes) if evaluation.metrics[0] == ACCURACY[0] else None
    return [] if remark is None else [remark]


def _of_labels(config: EvaluationConfig, images: TrialImages) -> list[str]:
    """Which classes have no image among a share of the labels."""
    if config.labels is None:
        return []
    train, test = images.of(config)
    whole, _ = images.of(config.model_copy(update={"labels": None}))
    known = torch.cat([whole.labels, test.labels]).unique()
    without = known[~torch.isin(known, train.labels)]
    few = f"{len(without)} of {plural(len(known), 'class')} have none of the {plural(len(train), 'labelled image')}"
    return [few] if len(without) else []


def _of_weights(journal: Journal) -> tuple[str, ...]:
    """What must be said of a backbone that began with a part of its weights."""
    record = journal.status.pretrain
    missing = 0 if record is None else record.weights_missing or 0
    tensors = f"{plural(missing, 'tensor')} of the backbone {'was' if missing == 1 else 'were'}"
    return (f"{tensors} not among its given weights and began at random",) if missing else ()


def _declared(evaluation: Evaluation[Any], score: Score) -> dict[str, float]:
    """The score's metrics in the order in which the evaluation declares them."""
    names = [metric.name for metric in evaluation.metrics]
    if sorted(names) != sorted(score.metrics):
        raise ValueError(f"evaluation '{evaluation.name}' declares {names}, but returned {list(score.metrics)}")
    for metric in evaluation.metrics:
        if not math.isfinite(score.metrics[metric.name]):
            raise NotFinite(f"{metric.title} is not finite ({score.metrics[metric.name]})")
    return {name: score.metrics[name] for name in names}
