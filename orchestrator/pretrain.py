"""Pretraining: the one loop that trains every method, and the checkpoint that it resumes from."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import safetensors.torch
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..datasets.batches import steps_per_epoch, training_batches
from ..datasets.image_set import ImageSet
from ..evaluation.config import KnnConfig
from ..evaluation.knn import evaluate_knn
from ..evaluation.task import Task
from ..methods.base import Batch, Method, Progress, StepOutput
from ..methods.catalog import build_method
from ..methods.encoder import Encoder, build_encoder, export
from ..methods.optimizer import build_optimizer, set_rates
from ..methods.parts.sync_batchnorm import convert_sync_batchnorm
from . import checkpoint
from .checkpoint import State
from .records import EpochRecord, PretrainRecord
from .runtime import Runtime, measured, memory_in_use
from .spec import TrialSpec
from .trial_store import TrialStore

log = logging.getLogger(__name__)

CONTINUE, CHECKPOINT, STOP = 0, 1, 2
STEP_EVENTS_PER_EPOCH = 10
FLUSH_SECONDS = 2.0


class TrialFailed(Exception):
    """A trial cannot go on, for a reason that all its ranks see alike."""


class TrialStopped(Exception):
    """The trial was asked to stop; it has kept its checkpoint."""


class Listener(Protocol):
    """Who hears of a trial's progress, on rank 0."""

    def tell(self, event: dict[str, Any]) -> None:
        """One event, as it is written to the trial's `events.jsonl`."""

    def stop_requested(self) -> bool:
        """True once the trial shall keep a checkpoint and end."""
        ...


def new_encoder(trial: TrialSpec) -> Encoder:
    """The backbone with the initial weights that the trial's seed stands for."""
    torch.manual_seed(trial.seed)
    return build_encoder(trial.backbone, trial.image_size)


def pretrain(
    trial: TrialSpec, folder: TrialStore, train: ImageSet, test: ImageSet, runtime: Runtime, listener: Listener
) -> Encoder:
    """Train the trial's method from its checkpoint, or from the start, and keep the backbone.

    Raises:
        TrialFailed: the loss is not finite.
        TrialStopped: the listener asked for it.
    """
    with measured(runtime) as meter:
        run = _Run(trial, folder, train, test, runtime, listener)
        state = run.train()
    seconds = state.seconds
    images = state.step * trial.pretrain.batch_size
    record = PretrainRecord(
        cost=meter.cost.model_copy(update={"seconds": seconds}),
        epochs=trial.pretrain.epochs if run.total_steps else 0,
        final_loss=run.final_loss,
        images_per_second=images / seconds if seconds else 0.0,
        attempts=state.attempts,
        parameters=sum(parameter.numel() for parameter in run.method.backbone.parameters()),
    )
    backbone = run.method.backbone
    if runtime.is_first:
        tensors, metadata = export(backbone)
        folder.finish_pretraining(record, safetensors.torch.save(tensors, metadata))
    return backbone


class _Run:
    def __init__(
        self,
        trial: TrialSpec,
        folder: TrialStore,
        train: ImageSet,
        test: ImageSet,
        runtime: Runtime,
        listener: Listener,
    ):
        self.trial, self.folder, self.runtime, self.listener = trial, folder, runtime, listener
        self.train_set, self.test_set = train, test
        self.config = trial.pretrain
        self.method: Method[Any] = build_method(trial.method, new_encoder(trial), train.info)
        if runtime.world_size > 1 and self.config.sync_batchnorm:
            convert_sync_batchnorm(self.method, runtime.device)
        self.method.to(runtime.device).train()
        self.steps_per_epoch = steps_per_epoch(len(train), self.config.batch_size)
        self.total_steps = self.config.epochs * self.steps_per_epoch if trial.method.trains else 0
        self.final_loss: float | None = None
        self.state = State()
        self.events: list[dict[str, Any]] = []
        self.flushed = time.monotonic()

    def train(self) -> State:
        if not self.total_steps:
            return self.state
        self.optimizer = build_optimizer(self.method, self.config.optimizer, self.config.batch_size)
        self._resume()
        forward = self._forward()
        batches = training_batches(
            self.train_set,
            self.trial.method.views,
            self.trial.image_size,
            seed=self.trial.seed,
            batch_size=self.config.batch_size,
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
            start_step=self.state.step,
            total_steps=self.total_steps,
        )
        saved = time.monotonic()
        last = time.perf_counter()
        for batch in _closing(batches):
            progress = Progress(self.state.step, self.total_steps, self.steps_per_epoch, self.trial.seed)
            output, lr = self._step(forward, batch, progress)
            loss = self._mean_loss(output.loss)
            now = time.perf_counter()
            self._count(loss, now - last)
            self._log_step(progress, loss, lr, now - last)
            if self.state.step % self.steps_per_epoch == 0:
                self._end_epoch(lr, output)
            code = self.runtime.agree(self._request(saved))
            if code != CONTINUE and self.state.step < self.total_steps:
                self._save()
                saved = time.monotonic()
                if code == STOP:
                    raise TrialStopped(f"stopped after step {self.state.step} of {self.total_steps}")
            last = time.perf_counter()
        return self.state

    def _forward(self) -> Callable[[Batch, Progress], StepOutput]:
        method: nn.Module = self.method
        if self.runtime.compile:
            method = torch.compile(method)  # type: ignore[assignment]
        if self.runtime.world_size > 1:
            devices = [self.runtime.device] if self.runtime.device.type == "cuda" else None
            # With synchronised statistics all ranks hold equal buffers; otherwise rank 0's are everyone's.
            method = DistributedDataParallel(
                method,
                device_ids=devices,
                broadcast_buffers=not self.config.sync_batchnorm,
                gradient_as_bucket_view=True,
            )
        return method

    def _step(
        self, forward: Callable[[Batch, Progress], StepOutput], batch: Batch, progress: Progress
    ) -> tuple[StepOutput, float]:
        config = self.config.optimizer
        # Drop path and dropout depend on the step and the rank alone, so a resume repeats them.
        torch.manual_seed(hash((self.trial.seed, progress.step, self.runtime.rank)) % 2**63)
        lr = set_rates(self.optimizer, config, self.config.schedule, self.config.batch_size, progress)
        with torch.autocast(self.runtime.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            output = forward(batch, progress)
        self.optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        self._refuse_non_finite(output.loss)
        self.method.before_optimizer_step(progress)
        if config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.method.parameters(), config.clip_norm)
        self.optimizer.step()
        self.method.after_optimizer_step(progress)
        return output, lr

    def _refuse_non_finite(self, loss: Tensor) -> None:
        finite = torch.isfinite(loss.detach()).float()
        if self.runtime.world_size > 1:
            dist.all_reduce(finite, dist.ReduceOp.MIN)
        if not finite.item():
            raise TrialFailed(f"the loss is not finite at step {self.state.step} (epoch {self._epoch() + 1})")

    def _mean_loss(self, loss: Tensor) -> float:
        mean = loss.detach().float()
        if self.runtime.world_size > 1:
            dist.all_reduce(mean)
            mean /= self.runtime.world_size
        return mean.item()

    def _epoch(self) -> int:
        return self.state.step // self.steps_per_epoch

    def _count(self, loss: float, seconds: float) -> None:
        self.state.step += 1
        self.state.seconds += seconds
        self.state.epoch_loss += loss
        self.state.epoch_seconds += seconds

    # -- what is told --

    def _log_step(self, progress: Progress, loss: float, lr: float, seconds: float) -> None:
        every = max(1, self.steps_per_epoch // STEP_EVENTS_PER_EPOCH)
        if progress.step % every == 0:
            rate = self.config.batch_size / seconds
            self._tell("step", step=self.state.step, loss=loss, lr=lr, images_per_second=rate)

    def _end_epoch(self, lr: float, output: StepOutput) -> None:
        state, epoch = self.state, self._epoch()
        logs = {key: float(value) for key, value in output.logs.items()}
        if self.config.knn_every and (epoch % self.config.knn_every == 0 or epoch == self.config.epochs):
            logs |= self._knn()
        self.final_loss = state.epoch_loss / self.steps_per_epoch
        record = EpochRecord(
            epoch=epoch,
            step=state.step,
            loss=self.final_loss,
            lr=lr,
            images_per_second=self.steps_per_epoch * self.config.batch_size / state.epoch_seconds,
            seconds=state.seconds,
            logs=logs,
        )
        state.epoch_loss = state.epoch_seconds = 0.0
        log.info("epoch %d of %d: loss %.4f %s", epoch, self.config.epochs, record.loss, _brief(logs))
        self._tell("epoch", **record.model_dump(), epochs=self.config.epochs, memory=memory_in_use(self.runtime.device))

    def _knn(self) -> dict[str, float]:
        """kNN of the backbone as it stands; its time is not the training's."""
        encoder = self.method.backbone
        training = encoder.training
        config = next((item for item in self.trial.evaluate if isinstance(item, KnnConfig)), KnnConfig())
        task = Task(
            encoder,
            self.trial.backbone,
            self.train_set,
            self.test_set,
            self.trial.image_size,
            bf16=self.config.precision == "bf16",
            rank=self.runtime.rank,
            world_size=self.runtime.world_size,
        )
        counts = evaluate_knn(task, config).counts
        encoder.train(training)
        return {"knn/top1": counts.top1, "knn/top5": counts.top5}

    def _tell(self, kind: str, **values: Any) -> None:
        if not self.runtime.is_first:
            return
        event = {"kind": kind, "stage": "pretrain", "time": round(time.time(), 3)} | values
        self.events.append(event)
        self.listener.tell(event)
        if kind == "epoch" or time.monotonic() - self.flushed > FLUSH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self.events:
            self.folder.add_events(self.events)
        self.events, self.flushed = [], time.monotonic()

    # -- checkpoints --

    def _request(self, saved: float) -> int:
        """What rank 0 wants done after this step."""
        if not self.runtime.is_first:
            return CONTINUE
        if self.listener.stop_requested():
            return STOP
        return CHECKPOINT if time.monotonic() - saved > self.runtime.checkpoint_seconds else CONTINUE

    def _save(self) -> None:
        if not self.runtime.is_first:
            return
        self._flush()
        self.folder.save_checkpoint(checkpoint.save(self.method, self.optimizer, self.state))

    def _resume(self) -> None:
        content = self.folder.checkpoint()
        if content is None:
            return
        self.state = checkpoint.load(content, self.method, self.optimizer, self.runtime.device)
        self.state.attempts += 1
        log.info("resumed at step %d of %d", self.state.step, self.total_steps)


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
