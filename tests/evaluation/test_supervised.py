"""The supervised loop resumes from any step, bit for bit."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ssl_sweep.evaluation.finetune import FINETUNE, FinetuneConfig, evaluate_finetune
from ssl_sweep.evaluation.linear import LinearConfig, evaluate_linear
from ssl_sweep.evaluation.task import Score, Task
from ssl_sweep.methods.snapshot import Snapshot
from torch import Tensor

MakeTask = Callable[..., Task]
STEPS, TOTAL = 10, 20

EVALUATIONS: dict[str, Callable[[Task], Score]] = {
    "linear": lambda task: evaluate_linear(task, LinearConfig(epochs=2, batch_size=32)),
    "linear, features stored": lambda task: evaluate_linear(
        task, LinearConfig(epochs=2, batch_size=32, augment=False, normalize_features=True, warmup_epochs=1)
    ),
    "linear, several heads": lambda task: evaluate_linear(
        task,
        LinearConfig(
            epochs=2, batch_size=28, lr=(0.1, 1.0), features=("pooled", "cls+mean"), normalize_features=True
        ),
    ),
    "finetune": lambda task: evaluate_finetune(task, FinetuneConfig(epochs=2, batch_size=32)),
    "finetune, all that is drawn": lambda task: evaluate_finetune(
        task,
        FinetuneConfig(
            epochs=2, batch_size=32, optimizer="adamw", lr=5e-3, layer_decay=0.65, drop_path=0.1, mixup=0.8, cutmix=1.0,
            label_smoothing=0.1, randaugment=True, erasing=0.25, warmup_epochs=1,
        ),
    ),
    "finetune as Lightly's": lambda task: evaluate_finetune(
        task,
        FINETUNE.protocol("finetune/lightly-vit@1").model_copy(update={"epochs": 2, "batch_size": 32}),
    ),
}  # fmt: skip


class EveryStep:
    """Keeps all states; starts from one of them."""

    def __init__(self, start: bytes | None = None):
        self.start = start
        self.states: list[bytes] = []

    def load(self) -> bytes | None:
        return self.start

    def due(self) -> bool:
        return True

    def save(self, step: int, snapshot: Callable[[], Snapshot]) -> None:
        self.states.append(snapshot().to_bytes())


def assert_same(one: Any, other: Any) -> None:
    """Equal values in equal structures, tensors to the last bit."""
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one == other


def opened(state: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(state), weights_only=True)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_a_resumed_training_is_the_undisturbed_one(name: str, task: MakeTask) -> None:
    whole = EveryStep()
    score = EVALUATIONS[name](task(checkpoints=whole))
    assert EVALUATIONS[name](task()) == score  # to keep a checkpoint changes nothing
    assert [opened(state)["step"] for state in whole.states] == list(range(1, TOTAL))
    for step in (3, STEPS, 16):  # within an epoch, at its end, in the last one
        told: list[int] = []
        rest = EveryStep(whole.states[step - 1])
        again = task(checkpoints=rest, after_epoch=lambda epoch, _epochs, _metrics, told=told: told.append(epoch))
        assert EVALUATIONS[name](again) == score
        assert told == [epoch for epoch in (1, 2) if epoch * STEPS > step]
        for before, after in zip(whole.states[step:], rest.states, strict=True):
            assert_same(opened(before), opened(after))


def test_a_checkpoint_holds_nothing_but_tensors_and_numbers(task: MakeTask) -> None:
    kept = EveryStep()
    EVALUATIONS["finetune"](task(checkpoints=kept))
    state = opened(kept.states[-1])
    assert state.keys() == {"model", "optimizer", "step", "epochs"}
    assert len(state["epochs"]) == 1
