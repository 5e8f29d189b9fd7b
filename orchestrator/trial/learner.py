"""What learns in a pretraining: the method with its optimizer on this worker, and one step of them."""

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ...methods import build_method
from ...methods.base import Batch, Method, Progress, StepOutput, TrainingSet, View
from ...methods.encoder import Encoder, build_encoder
from ...methods.freezing import freeze
from ...methods.optimizer import build_optimizer, clip_gradients, set_rates
from ...methods.parts.sync_batchnorm import convert_sync_batchnorm
from ...methods.snapshot import Snapshot
from ..spec.models import TrialSpec
from .checkpoint import Saved, State, snapshot
from .runtime import Runtime

Forward = Callable[[Batch, Progress], StepOutput]


def new_encoder(trial: TrialSpec) -> Encoder:
    """The backbone with the initial weights of the trial's seed."""
    torch.manual_seed(trial.seed)
    return build_encoder(trial.backbone, trial.image_size)


class Learner:
    """A trial's method and its optimizer, while its settings stay the same."""

    def __init__(self, trial: TrialSpec, data: TrainingSet, runtime: Runtime, saved: Saved | None = None):
        """Begin as the trial's seed does, or go on from `saved`.

        Args:
            trial: with the settings that hold from here on.
            data: of the training images.
            runtime: this worker.
            saved: of the same training, whatever its rates were.
        """
        self.config, self.runtime = trial.pretrain, runtime
        self.method: Method[Any] = build_method(trial.method, new_encoder(trial), data)
        if runtime.world_size > 1 and self.config.sync_batchnorm:
            convert_sync_batchnorm(self.method, runtime.device)
        rates = self.config.rates if trial.method.trains else None
        if rates:
            freeze(self.method, rates)
        runtime.place(self.method).train()
        self.parallel: DistributedDataParallel | None = None
        if trial.method.trains:
            self.optimizer = build_optimizer(self.method, self.config.optimizer, self.config.batch_size, rates)
            if saved is not None:
                saved.load_into(self.method, self.optimizer)
            self._forward = self._on_all_workers()

    def _on_all_workers(self) -> Forward:
        if self.runtime.compile:
            compile_backbones(self.method)
        if self.runtime.world_size > 1:
            devices = [self.runtime.device] if self.runtime.device.type == "cuda" else None
            # With synchronised statistics all ranks hold equal buffers; otherwise rank 0's are everyone's.
            self.parallel = DistributedDataParallel(
                self.method,
                device_ids=devices,
                broadcast_buffers=not self.config.sync_batchnorm,
                gradient_as_bucket_view=True,
            )
        return self.parallel or self.method

    def step(self, batch: Batch, progress: Progress) -> tuple[StepOutput, float]:
        """One step of the optimizer; returns the batch's loss with the logs of its last part, and the rate."""
        config = self.config.optimizer
        lr = set_rates(self.optimizer, config, self.config.schedule, self.config.batch_size, progress)
        self.optimizer.zero_grad(set_to_none=True)
        parts = parts_of(batch, self.config.accumulate)
        losses: list[Tensor] = []
        logs: dict[str, Tensor | float] = {}
        for i, part in enumerate(parts):
            with self._synchronised(i == len(parts) - 1):
                with torch.autocast(self.runtime.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
                    loss, logs = self._forward(part, progress._replace(part=i, parts=len(parts)))
                (loss / len(parts)).backward()
            losses.append(loss.detach())
        output = StepOutput(torch.stack(losses).mean(), logs)
        self.method.before_optimizer_step(progress)
        clip_gradients(self.method, config)
        self.optimizer.step()
        self.method.after_optimizer_step(progress)
        return output, lr

    def snapshot(self, state: State) -> Snapshot:
        """What a checkpoint holds; `state`: how far training has come."""
        return snapshot(self.method, self.optimizer, state)

    def _synchronised(self, now: bool) -> contextlib.AbstractContextManager[None]:
        """Ranks exchange gradients once a step, in its last backward pass."""
        return contextlib.nullcontext() if now or self.parallel is None else self.parallel.no_sync()


def compile_backbones(method: nn.Module) -> None:
    """The student's and the teacher's. Heads and losses are few kernels, and the step's number would compile them anew."""
    for module in method.modules():
        if isinstance(module, Encoder):
            module.compile_blocks()


def parts_of(batch: Batch, count: int) -> list[Batch]:
    """The batch cut into `count` equal parts."""

    def cut(views: list[View]) -> list[list[View]]:
        pieces = [zip(view.image.chunk(count), view.box.chunk(count), strict=True) for view in views]
        return [[View(*piece) for piece in part] for part in zip(*pieces, strict=True)] or [[] for _ in range(count)]

    if count == 1:
        return [batch]
    columns = (
        cut(batch.global_views),
        cut(batch.local_views),
        batch.labels.chunk(count),
        batch.samples.chunk(count),
    )
    return [Batch(*part) for part in zip(*columns, strict=True)]
