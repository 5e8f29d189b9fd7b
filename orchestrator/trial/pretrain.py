"""Pretraining: the one loop that trains every method, and the checkpoint that it resumes from."""

import gc
import logging
import math
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import safetensors.torch

from ...datasets.batches import steps_per_epoch, training_batches
from ...datasets.image_set import ImageSet
from ...datasets.picture import views_picture
from ...methods.base import Batch, Progress, StepOutput
from ...methods.encoder import Encoder, export
from ...methods.finite import not_finite
from ...methods.freezing import thaw
from ..spec.identity import trial_id
from ..spec.models import TrialSpec
from ..store.events import EpochDone, PretrainingDone, StepDone
from ..store.fault import Fault
from ..store.records import PretrainRecord
from ..store.trial_folder import TrialStore
from .checkpoint import Saved, State
from .checkpoint_writer import CheckpointWriter
from .given_weights import begin_with_weights
from .journal import CONTINUE, STOP, Journal, TrialFailed
from .learner import Learner
from .monitor import Monitor
from .pending_loss import PendingLoss
from .runtime import Runtime, measured, memory_in_use

log = logging.getLogger(__name__)

STEP_EVENTS_PER_EPOCH = 10


def pretrain(
    trial: TrialSpec, folder: TrialStore, train: ImageSet, test: ImageSet, runtime: Runtime, journal: Journal
) -> Encoder:
    """Train the trial's method from its checkpoint, from one that a trial kept which is the same until then, or from the start.

    Its backbone is kept.

    Raises:
        TrialFailed: a loss or a weight is not finite, the features have collapsed and the trial shall stop then, or writing
            failed.
        TrialStopped: the listener asked for it.
    """
    with measured(runtime) as meter:
        run = _Run(trial, folder, train, test, runtime, journal)
        state = run.train()
        run.refuse_not_finite()
    seconds = state.seconds
    record = PretrainRecord(
        cost=meter.cost.model_copy(update={"seconds": seconds}),
        epochs=trial.pretrain.epochs if run.total_steps else 0,
        final_loss=run.final_loss,
        images_per_second=state.step * trial.pretrain.batch_size / seconds if seconds else 0.0,
        attempts=state.attempts,
        parameters=sum(parameter.numel() for parameter in run.learner.method.backbone.parameters()),
    ).model_copy(update=run.given)
    backbone = run.learner.method.backbone
    thaw(backbone)
    if runtime.is_first:
        tensors, metadata = export(backbone)
        run.checkpoints.wait()  # none may come after they are cleared
        folder.finish_pretraining(record, safetensors.torch.save(tensors, metadata))
        journal.tell(PretrainingDone(**dict(record)))
    return backbone


class _Step(NamedTuple):
    """A step whose loss is not known yet."""

    number: int  # of steps before it
    lr: float
    seconds: float
    loss: PendingLoss


class _Run:
    def __init__(
        self,
        trial: TrialSpec,
        folder: TrialStore,
        train: ImageSet,
        test: ImageSet,
        runtime: Runtime,
        journal: Journal,
    ):
        self.trial, self.folder, self.runtime, self.journal = trial, folder, runtime, journal
        self.train_set = train
        self.monitor = Monitor(trial, train, test, runtime, folder.store)
        self.config = trial.pretrain
        trains = trial.method.trains
        self.steps_per_epoch = steps_per_epoch(len(train), self.config.batch_size) if trains else 1
        self.total_steps = self.config.epochs * self.steps_per_epoch if trains else 0
        self.final_loss: float | None = None
        saved = self._saved() if self.total_steps else None
        self.state = State() if saved is None else saved.state
        self.learner = self._learner(saved)
        match = begin_with_weights(trial, self.learner.method, folder.store, resumed=saved is not None)
        self.given: dict[str, object] = {}
        if match is not None:
            self.given = {"weights": str(match), "weights_missing": match.total - match.found}
        """What the record says of weights that the trial was given."""
        del match  # a copy of the backbone
        self.changes = {change.after_epoch * self.steps_per_epoch for change in trial.changes}
        """Steps after which settings change."""
        self.checkpoints = CheckpointWriter(journal, folder.save_checkpoint)
        self.kept = CheckpointWriter(journal, folder.keep_checkpoint)
        self.untold: list[_Step] = []

    def train(self) -> State:
        if not self.total_steps:
            return self.state
        if self.state.step == 0 and self.runtime.is_first:
            views = self.trial.method.views
            self.folder.keep_picture(views_picture(self.train_set, views, self.trial.image_size, seed=self.trial.seed))
        batches = training_batches(
            self.train_set,
            self.trial.method.views,
            self.trial.image_size,
            seed=self.trial.seed,
            batch_size=self.config.batch_size,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
            parts=self.config.accumulate,
            start_step=self.state.step,
            total_steps=self.total_steps,
        )
        last = time.perf_counter()
        for batch in _closing(batches):
            progress = Progress(self.state.step, self.total_steps, self.steps_per_epoch, self.trial.seed)
            output, lr = self.learner.step(batch, progress)
            del batch  # so that the next one is made in its memory
            loss = PendingLoss(output.loss, self.runtime.world_size)
            self._tell_steps()
            ends_epoch = (progress.step + 1) % self.steps_per_epoch == 0
            if ends_epoch:
                loss.wait()  # so that the epoch's time is all of its work
            seconds = time.perf_counter() - last
            self.state.step += 1
            self.state.seconds += seconds
            self.state.epoch_seconds += seconds
            self.untold.append(_Step(progress.step, lr, seconds, loss))
            if ends_epoch:
                self._tell_steps()
                self._end_epoch(lr, output)
            code = self.checkpoints.request()
            if code != CONTINUE and self.state.step < self.total_steps:
                self._tell_steps()  # nothing that follows a loss that is not finite is worth keeping
                self.checkpoints.save(self.state.step, partial(self.learner.snapshot, self.state))
                if code == STOP:
                    raise self.journal.stopped(f"after step {self.state.step} of {self.total_steps}")
            if self.state.step in self.changes:
                self._change_settings()
            last = time.perf_counter()
        return self.state

    def refuse_not_finite(self) -> None:
        """Raise TrialFailed if the last step, whose weights no loss has told of, spoiled the backbone."""
        name = not_finite(self.learner.method.backbone)
        if self.runtime.largest([float(name is not None)])[0]:
            raise TrialFailed(
                f"the weights of {name or 'another rank'} are not finite after the last step", Fault.DIVERGED
            )

    # -- what is told --

    def _tell_steps(self) -> None:
        """Take in the losses of the steps before this one, which a GPU has finished long ago."""
        every = max(1, self.steps_per_epoch // STEP_EVENTS_PER_EPOCH)
        for step in self.untold:
            loss = step.loss.wait()
            if not math.isfinite(loss):
                epoch = step.number // self.steps_per_epoch + 1
                text = f"the loss is not finite at step {step.number} (epoch {epoch})"
                raise TrialFailed(text, Fault.DIVERGED)
            self.state.epoch_loss += loss
            if step.number % every == 0:
                rate = self.config.batch_size / step.seconds
                self.journal.tell(StepDone(step=step.number + 1, loss=loss, lr=step.lr, images_per_second=rate))
        self.untold.clear()

    def _end_epoch(self, lr: float, output: StepOutput) -> None:
        state, epoch = self.state, self.state.step // self.steps_per_epoch
        logs = {key: float(value) for key, value in output.logs.items()}
        logs |= self.monitor.look(self.learner.method.backbone, epoch)
        self.final_loss = state.epoch_loss / self.steps_per_epoch
        done = EpochDone(
            epoch=epoch,
            epochs=self.config.epochs,
            step=state.step,
            loss=self.final_loss,
            lr=lr,
            images_per_second=self.steps_per_epoch * self.config.batch_size / state.epoch_seconds,
            seconds=state.seconds,
            logs=logs,
            memory=memory_in_use(self.runtime.device),
        )
        state.epoch_loss = state.epoch_seconds = 0.0
        if self.trial.keep_every and epoch % self.trial.keep_every == 0 and epoch < self.config.epochs:
            self.kept.save(state.step, partial(self.learner.snapshot, state))
            self.kept.wait()  # who hears the score may begin another trial from here
        log.info("epoch %d of %d: loss %.4f %s", epoch, self.config.epochs, done.loss, _brief(logs))
        self.journal.tell(done)
        self.monitor.refuse_collapsed(logs, epoch)

    # -- what training goes on from --

    def _saved(self) -> Saved | None:
        content = self._readable(self.folder.checkpoint())
        if content is not None:
            saved = Saved(content, self.runtime.device)
            saved.state.attempts += 1
            log.info("resumed at step %d of %d", saved.state.step, self.total_steps)
            return saved
        for folder, epoch in self._origins():
            content = self._readable(folder.kept_checkpoint(epoch * self.steps_per_epoch))
            if content is not None:
                saved = Saved(content, self.runtime.device)
                saved.state.attempts = 1
                log.info("begins after epoch %d from a checkpoint of %s", epoch, folder.trial_id)
                return saved
        return None

    def _origins(self) -> list[tuple[TrialStore, int]]:
        """Trials that this one is until each of its changes, and after how many epochs that comes; the last one first."""
        fingerprint, _ = self.train_set.origin
        found: list[tuple[TrialStore, int]] = []
        for i, change in enumerate(self.trial.changes):
            same = self.trial.model_copy(update={"changes": self.trial.changes[:i]})
            found.insert(0, (TrialStore(self.folder.store, trial_id(same, fingerprint)), change.after_epoch))
        return found

    def _readable(self, content: bytes | None) -> bytes | None:
        """A checkpoint, if the first rank has it; every rank calls it."""
        if not self.runtime.agree(int(content is not None)):
            return None
        if content is None:
            raise TrialFailed("a checkpoint can be read on the first rank and not on this one", Fault.STORE_ERROR)
        return content

    def _learner(self, saved: Saved | None) -> Learner:
        trial = self.trial.after(self.state.step // self.steps_per_epoch)
        return Learner(trial, self.train_set.info, self.runtime, saved)

    def _change_settings(self) -> None:
        """Go on with those that hold from here, just as from a checkpoint."""
        content = self.learner.snapshot(self.state).to_bytes()
        del self.learner
        gc.collect()  # two at once may not fit, and networks of several workers hold one another
        self.learner = self._learner(Saved(content, self.runtime.device))
        log.info("settings change after step %d of %d", self.state.step, self.total_steps)


def _closing(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches; however the loop ends, what prepares them ends too."""
    try:
        yield from batches
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()


def _brief(logs: dict[str, float]) -> str:
    return " ".join(f"{key} {value:.4g}" for key, value in logs.items())
